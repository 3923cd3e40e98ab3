"""Findings on data before a run: gaps inside sessions, runs without volume, jumps, days locked at their limit."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Bars, Dataset, Finding, Floats, Ticks, Times
from services.quant.backtest.data.interval_detection import length_ns
from services.quant.backtest.data.sessions import missing_slots
from services.quant.backtest.data.times import DAY_NS, SECOND_NS, show
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.pluralize import pluralize
from services.quant.calendar import Calendar
from services.quant.calendar.columns import trading_day_column

LONGEST_HOLIDAY_DAYS = 15
"""Daily bars that are further apart are missing some."""
_JUMP = 0.105
"""Daily limits are mostly 10 % or less: more than that between two rows is an error, or another contract."""
_QUIET_ROWS = 10
_SILENT_MINUTES = 3
_MINUTE_NS = 60 * SECOND_NS
_FLAT_BARS = 5
_NAMED = 3


def inspect(data: Dataset, zone: ZoneInfo) -> tuple[Finding, ...]:
    """Return the findings, each with its count; empty where there are none."""
    if not len(data):
        return ()
    local = to_local(data.time_ns, zone)
    findings = [*_order(data, local)]
    if findings:  # what follows compares neighbours
        return tuple(findings)
    days = trading_day_column(Calendar.load(), data.symbol, data.time_ns)
    if isinstance(data, Ticks):
        return (*_silence(local, days), *_tick_values(data, days, zone))
    intraday = length_ns(data.interval) < DAY_NS
    if not intraday:
        days = local // DAY_NS
    findings += _gaps(local, length_ns(data.interval), days) if intraday else _long_gaps(local, data.interval)
    del local
    return (*findings, *_bar_values(data, days, zone))


def _order(data: Dataset, local: Times) -> Iterator[Finding]:
    steps = np.diff(local)
    if late := int((steps < 0).sum()):
        yield Finding("disorder", late, f"{pluralize(late, 'row is', 'rows are')} older than the one before.")
    if isinstance(data, Bars) and (again := int((steps == 0).sum())):
        yield Finding("duplicate", again, f"{pluralize(again, 'duplicate bar')}.")


def _gaps(local: Times, length: int, days: Times) -> Iterator[Finding]:
    starts, counts = missing_slots(local, length, days)
    if len(starts):
        total = int(counts.sum())
        yield Finding(
            "gap",
            total,
            f"{pluralize(total, 'bar is', 'bars are')} missing inside sessions, in "
            f"{pluralize(len(starts), 'place', 'places')} ({_places(starts, counts)}).",
        )


def _silence(local: Times, days: Times) -> Iterator[Finding]:
    minutes, first = np.unique(local // _MINUTE_NS, return_index=True)
    starts, counts = missing_slots(minutes * _MINUTE_NS, _MINUTE_NS, days[first])
    long = counts >= _SILENT_MINUTES
    starts, counts = starts[long], counts[long]
    if len(starts):
        total = int(counts.sum())
        yield Finding(
            "gap",
            total,
            f"{pluralize(total, 'minute', 'minutes')} of sessions without a tick, in "
            f"{pluralize(len(starts), 'place', 'places')} ({_places(starts, counts)}).",
        )


def _long_gaps(local: Times, interval: str) -> Iterator[Finding]:
    longest = LONGEST_HOLIDAY_DAYS * DAY_NS + length_ns(interval)
    at = np.flatnonzero(np.diff(local) > longest)
    if len(at):
        shown = ", ".join(f"{_clock(int(local[i]))} to {_clock(int(local[i + 1]))}" for i in at[:_NAMED])
        yield Finding(
            "gap",
            len(at),
            f"{pluralize(len(at), 'time', 'times')} more than {LONGEST_HOLIDAY_DAYS} days are missing "
            f"({shown}{_more(len(at))}).",
        )


def _bar_values(bars: Bars, days: Times, zone: ZoneInfo) -> Iterator[Finding]:
    beyond = (bars.open > bars.high) | (bars.close > bars.high) | (bars.open < bars.low) | (bars.close < bars.low)
    outside = np.flatnonzero(beyond)
    if len(outside):
        yield Finding(
            "inconsistent",
            len(outside),
            f"{pluralize(len(outside), 'bar opens or closes', 'bars open or close')} outside of high and low "
            f"(first {show(int(bars.time_ns[outside[0]]), zone)}).",
        )
    yield from _quiet(bars, zone)
    yield from _jumps(bars.time_ns, bars.open[1:] / bars.close[:-1] - 1, bars.close / bars.open - 1, zone)
    yield from _flat_days(bars, days)


def _tick_values(ticks: Ticks, days: Times, zone: ZoneInfo) -> Iterator[Finding]:
    price = ticks.columns.get("last_price")
    if price is not None:
        usable = price > 0
        if (without := int((~usable).sum())) > 0:
            yield Finding("zero_price", without, f"{pluralize(without, 'tick has', 'ticks have')} no last price.")
        kept = price[usable]
        yield from _jumps(ticks.time_ns[usable], kept[1:] / kept[:-1] - 1, np.zeros(0), zone)
    volume = ticks.columns.get("volume")
    if volume is not None:
        fell = np.flatnonzero((np.diff(volume) < 0) & (np.diff(days) == 0))
        if len(fell):
            yield Finding(
                "volume",
                len(fell),
                f"{pluralize(len(fell), 'time', 'times')} the day's volume falls within the day "
                f"(first {show(int(ticks.time_ns[fell[0] + 1]), zone)}): "
                "it is not cumulative, or ticks are out of order.",
            )


def _quiet(bars: Bars, zone: ZoneInfo) -> Iterator[Finding]:
    quiet = bars.volume == 0
    if not quiet.any():
        return
    if quiet.all():
        if not any(finding.kind == "no_volume" for finding in bars.findings):
            yield Finding("zero_volume", len(bars), "No bar has any volume.")
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    long = lengths >= _QUIET_ROWS
    if long.any():
        total, longest = int(lengths[long].sum()), int(lengths.argmax())
        yield Finding(
            "zero_volume",
            total,
            f"{pluralize(total, 'bar', 'bars')} without volume in {pluralize(int(long.sum()), 'run', 'runs')} of "
            f"{_QUIET_ROWS} or more (longest {int(lengths[longest])} from "
            f"{show(int(bars.time_ns[starts[longest]]), zone)}).",
        )


def _jumps(time_ns: Times, between: Floats, within: Floats, zone: ZoneInfo) -> Iterator[Finding]:
    """Changes from a row to the next one, and inside of a row."""
    sizes = np.zeros(len(time_ns))
    sizes[1:] = between
    del between
    if len(within):
        np.copyto(sizes, within, where=np.abs(within) > np.abs(sizes))
    del within
    at = np.flatnonzero(np.abs(sizes) > _JUMP)
    if len(at):
        largest = at[np.abs(sizes[at]).argmax()]
        yield Finding(
            "jump",
            len(at),
            f"{pluralize(len(at), 'price is', 'prices are')} more than {_JUMP:.1%} from the one before (largest "
            f"{sizes[largest]:+.1%} at {show(int(time_ns[largest]), zone)}): "
            "a wrong price, a change of contract, or a wild day.",
        )


def _flat_days(bars: Bars, days: Times) -> Iterator[Finding]:
    first = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    flat = np.maximum.reduceat(bars.high, first) == np.minimum.reduceat(bars.low, first)
    if length_ns(bars.interval) < DAY_NS:
        flat &= np.diff(first, append=len(days)) >= _FLAT_BARS
    at = first[flat]
    if len(at):
        shown = ", ".join(str(np.datetime64(int(days[i]), "D")) for i in at[:_NAMED])
        yield Finding(
            "limit_day",
            len(at),
            f"{pluralize(len(at), 'day has', 'days have')} one price only ({shown}{_more(len(at))}): "
            "locked at the limit, where orders are not filled in reality.",
        )


def _places(starts: Times, counts: Times) -> str:
    largest = np.argsort(-counts, kind="stable")[:_NAMED]
    shown = ", ".join(f"{int(counts[i])} from {_clock(int(starts[i]))}" for i in sorted(largest))
    return f"{'most: ' if len(starts) > _NAMED else ''}{shown}"


def _clock(local_ns: int) -> str:
    text = str(np.datetime64(local_ns, "ns").astype("datetime64[m]")).replace("T", " ")
    return text.removesuffix(" 00:00")


def _more(count: int) -> str:
    return ", …" if count > _NAMED else ""
