"""Bars are a function of ticks, watermarks and epochs in their order, and they add up, whatever the feed does."""

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import LONGER, Bar, Interval
from tests.market.ticks import at, tick
from tests.quant.bars.made import CLOCK, Made

SECOND_NS = 1_000_000_000
SYMBOLS = {"rb2405.SHFE": "CTP", "IF2612.CFFEX": "CTP", "BTCUSDT.BINANCE": "OTHER"}
FRIDAY = date(2026, 11, 20)
TIMES = ("09:29:00", "09:30:00", "10:14:58", "11:29:58", "13:30:00", "14:59:57", "16:59:50", "21:00:00", "22:59:58")
NO_PRICES = (0.0, 1.7976931348623157e308, float("nan"), float("inf"), -1.0)


@dataclass(frozen=True)
class Watermark:
    """A gateway's time."""

    gateway: str
    time_ns: int


@dataclass(frozen=True)
class Epoch:
    """The feed begins anew."""

    name: str


Event = pb.Tick | Watermark | Epoch


@st.composite
def events(draw: st.DrawFn, epochs: bool = False) -> list[Event]:
    """Ticks of three symbols, mostly in order, with pauses, days, late ones, missing prices, gaps and watermarks."""
    made: list[Event] = []
    now_ns, epoch = at(f"{FRIDAY} {draw(st.sampled_from(TIMES))}"), 0
    sequences = dict.fromkeys(SYMBOLS, 0)
    volumes: dict[tuple[str, int], float] = defaultdict(float)
    for _ in range(draw(st.integers(1, 60))):
        step = draw(st.integers(0, 11))
        if step == 0:
            now_ns += draw(st.integers(1, 30)) * 60 * SECOND_NS
        elif step == 1:
            day = date.fromisoformat(f"{CLOCK.date_number(now_ns)}") + timedelta(draw(st.integers(0, 3)))
            now_ns = max(now_ns, at(f"{day} {draw(st.sampled_from(TIMES))}"))
        elif step == 2:
            made.append(
                Watermark(draw(st.sampled_from(["CTP", "OTHER"])), now_ns - draw(st.integers(0, 3)) * SECOND_NS)
            )
        elif step == 3 and epochs:
            epoch += 1
            made.append(Epoch(f"e{epoch}"))
            sequences = {symbol: last + 1000 for symbol, last in sequences.items()}
            now_ns -= draw(st.sampled_from([0, 0, 3600, 90_000])) * SECOND_NS
            if draw(st.booleans()):
                volumes.clear()
        else:
            now_ns += draw(st.integers(0, 40)) * SECOND_NS // 2
            symbol = draw(st.sampled_from(sorted(SYMBOLS)))
            day = CLOCK.trading_day(symbol, now_ns)
            traded = float(draw(st.sampled_from([0, 0, 1, 2, 5])))
            volumes[symbol, day] += traded
            sequences[symbol] += draw(st.sampled_from([1, 1, 1, 1, 7]))
            one = tick(
                sequences[symbol],
                symbol,
                time_ns=now_ns,
                gateway=SYMBOLS[symbol],
                last_price=float(draw(st.integers(90, 110))),
                last_quantity=traded,
                volume=volumes[symbol, day],
                turnover=volumes[symbol, day] * 100,
                trading_day=draw(st.sampled_from([day, day, day, 0, 20261332])),
            )
            match draw(st.integers(0, 9)):
                case 0:
                    one.last_price = draw(st.sampled_from(NO_PRICES))
                case 1:  # late: of an earlier time, with less volume
                    one.time_ns -= draw(st.integers(1, 400)) * SECOND_NS
                    one.volume = max(one.volume - draw(st.integers(1, 9)), 0.0)
                case 2:
                    one.volume = draw(st.sampled_from([float("nan"), 1.7976931348623157e308]))
            made.append(one)
    return made


def apply(made: Made, sequence: list[Event]) -> None:
    """Apply events, ticks that follow each other as one batch."""
    batch: list[pb.Tick] = []
    for event in sequence:
        if isinstance(event, pb.Tick):
            batch.append(event)
            continue
        made.bars.on_ticks(batch)
        batch = []
        if isinstance(event, Watermark):
            made.bars.on_watermark(event.gateway, event.time_ns)
        else:
            made.bars.begin_epoch(event.name)
    made.bars.on_ticks(batch)


def by_symbol(bars: list[Bar]) -> dict[str, list[Bar]]:
    found: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        found[bar.symbol].append(bar)
    return found


@settings(deadline=None, max_examples=80)
@given(events(epochs=True), st.data())
def test_a_stream_in_other_batches_over_restarts_and_field_by_field_gives_the_same_bars(
    sequence: list[Event], data: st.DataObject
) -> None:
    whole, fields = Made(), Made()
    apply(whole, sequence)
    whole.bars.close_all()
    rebuilt: list[Bar] = []
    state: dict[str, dict[str, object]] = {}
    epoch, rest = "", sequence
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        part = Made()
        part.bars.load(json.loads(json.dumps(state)))
        part.bars.begin_epoch(epoch)  # a feed that goes on says its epoch again
        assert part.bars.dump() == state
        apply(part, rest[:cut])
        rebuilt += part.closed
        state, epoch, rest = part.bars.dump(), part.bars.epoch, rest[cut:]
    last = Made()
    last.bars.load(state)
    last.bars.close_all()
    assert by_symbol(rebuilt + last.closed) == by_symbol(whole.closed)
    for event in sequence:
        if isinstance(event, pb.Tick):
            fields.bars.on_tick_fields(
                event.symbol,
                event.gateway,
                event.sequence,
                event.time_ns,
                event.last_price,
                event.last_quantity,
                event.volume,
                event.turnover,
                event.open_interest,
                event.open_price,
                event.high_price,
                event.low_price,
                event.trading_day,
            )
        else:
            apply(fields, [event])
    fields.bars.close_all()
    assert by_symbol(fields.closed) == by_symbol(whole.closed)


@settings(deadline=None, max_examples=80)
@given(events())
def test_minutes_add_up_to_the_day_and_longer_bars_are_folded_minutes(sequence: list[Event]) -> None:
    made = Made()
    apply(made, sequence)
    made.bars.close_all()
    for bars in by_symbol(made.closed).values():
        minutes = [bar for bar in bars if bar.interval == Interval.MINUTE]
        starts = [bar.start_ns for bar in minutes]
        assert starts == sorted(set(starts))
        assert all(bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high for bar in bars)
        assert all(90 <= bar.low <= bar.high <= 110 for bar in bars)
        volumes: dict[int, float] = defaultdict(float)
        for bar in minutes:
            volumes[bar.trading_day] += bar.volume
        # A day that traded after its bar had closed has another one, with all of it.
        days = {bar.trading_day: bar.volume for bar in bars if bar.interval == Interval.DAY}
        assert days == {day: volume for day, volume in volumes.items() if day in days}
        assert all(volume == 0 for day, volume in volumes.items() if day not in days)
        for interval in LONGER:
            folded: dict[tuple[int, int], Bar] = {}
            for minute in minutes:
                start_ns = CLOCK.bucket_start(minute.start_ns, interval.length_ns)
                key = minute.trading_day, start_ns
                if key in folded:
                    folded[key].fold(minute)
                else:
                    folded[key] = minute.longer(interval, start_ns)
            longer = [bar for bar in bars if bar.interval == interval]
            assert [replace(bar, incomplete=False) for bar in longer] == [
                replace(bar, incomplete=False) for bar in folded.values()
            ]


@settings(deadline=None, max_examples=60)
@given(events(), st.integers(0, 60))
def test_a_watermark_more_changes_no_tick_that_is_in_time(sequence: list[Event], place: int) -> None:
    """Bars of a feed without late ticks do not depend on who closes them, a watermark or the next tick."""
    in_time: list[Event] = []
    newest: dict[str, int] = defaultdict(int)
    for event in sequence:
        if isinstance(event, pb.Tick) and event.time_ns >= newest[event.gateway]:
            newest[event.gateway] = event.time_ns
            in_time.append(event)
    watermarked: list[Event] = []
    for event in in_time:
        if isinstance(event, pb.Tick):
            watermarked += [Watermark(event.gateway, event.time_ns - (place % 3) * SECOND_NS), event]
    plain, closed = Made(), Made()
    apply(plain, in_time)
    apply(closed, watermarked)
    for made in (plain, closed):
        made.bars.close_all()
    minutes = [by_symbol(made.minutes) for made in (plain, closed)]
    assert {symbol: [replace(bar, incomplete=False) for bar in bars] for symbol, bars in minutes[0].items()} == {
        symbol: [replace(bar, incomplete=False) for bar in bars] for symbol, bars in minutes[1].items()
    }
