"""Diagnostics: sentences on why a backtest made no trades, and on oddities of one that did, from its state at the end.

Nothing is recorded while it lasts. What the strategy holds (vnpy's ArrayManager and BarGenerator, wherever in its
attributes) and what the core and its fill model hold is enough.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import numpy as np

from services.quant.backtest.data.dataset import Bars, Ticks
from services.quant.backtest.data.zone_offsets import local_us
from services.quant.backtest.engine.overrides import overridden
from services.quant.backtest.engine.run import Run
from services.quant.backtest.execution.fill_model import AT_MARKET, is_native
from services.quant.backtest.pluralize import pluralize
from services.quant.backtest.result import Day, last_line

_SHOWN = 3
_VISITED = 500
_WAITING = 5000
_DEEP = 3
_ROWS = ("vnpy.trader.object", "vnpy.trader.constant", "services.quant.sdk.events", "datetime")
"""Modules whose objects lead nowhere, and of which strategies keep many."""
_DAY = timedelta(days=1)
_MINUTE_US = 60_000_000
_PLAIN = (str, bytes, int, float, complex, type(None), np.ndarray, np.generic, type)


def diagnose(run: Run, strategy: Any, days: Sequence[Day]) -> tuple[str, ...]:
    """The sentences on a run that is over; `strategy` None when its __init__ raised."""
    sentences = _error(run)
    user = strategy.strategy if is_native(strategy) else strategy
    held = list(_held(user, {id(run.core), id(run.replay), id(run.core.source)}))
    windows = _windows(run, held)
    if len(run.fills):
        sentences += _no_market(run) + windows + _refusals(run)
        if run.job.start is not None:
            sentences += run.core.source.shortfalls(run.core.start)
        return (*sentences, *_account(days))
    if not run.core.sent_count:
        reasons = _unhandled_rows(run, strategy) + windows + _arrays(held)
        if strategy is not None:
            reasons += run.core.source.shortfalls(run.core.start)
        rows = pluralize(run.high - run.low, "bar" if run.replay.is_bars else "tick")
        if not run.error:
            why = "see below what may be why" if reasons else "its conditions for a signal were never met"
            sentences.append(f"There are no trades: in {rows} the strategy sent no order; {why}.")
        return (*sentences, *reasons)
    return (*sentences, *_unfilled(run), *_refusals(run), *windows)


def _error(run: Run) -> list[str]:
    if not run.error:
        return []
    line = last_line(run.error)
    row = run.core.row
    where = "before the first row" if row is None else f"at {_time(row.datetime)}"
    return [f"The strategy raised {line} {where}: the run ended there, what follows it is missing."]


# What the strategy holds.


def _held(strategy: Any, others: set[int]) -> Iterator[tuple[str, Any]]:
    """(name, object) of all ArrayManagers and BarGenerators that the strategy's attributes lead to."""
    from vnpy.trader.utility import ArrayManager, BarGenerator

    seen = set(others)
    waiting: deque[tuple[str, Any, int]] = deque([("", strategy, 0)])
    while waiting and len(seen) < _VISITED + len(others):
        name, value, depth = waiting.popleft()
        # By type: an object of the user's may answer for its attributes whatever it likes.
        kind = type(value)
        if issubclass(kind, _PLAIN) or kind.__module__ in _ROWS or id(value) in seen:
            continue
        seen.add(id(value))
        if issubclass(kind, ArrayManager | BarGenerator):
            yield name, value
            continue
        if depth == _DEEP or len(waiting) > _WAITING:
            continue
        if kind is dict:
            inner = [(f"{name}[{key!r}]", one) for key, one in islice(value.items(), _VISITED)]
        elif issubclass(kind, list | tuple):
            inner = [(f"{name}[{index}]", one) for index, one in enumerate(value[:_VISITED])]
        else:
            dot = f"{name}." if name else ""
            inner = [(dot + key, one) for key, one in list(_attributes(value).items())]
        waiting += [(label, one, depth + 1) for label, one in inner]


def _attributes(value: Any) -> dict[str, Any]:
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _arrays(held: list[tuple[str, Any]]) -> list[str]:
    from vnpy.trader.utility import ArrayManager

    arrays: dict[tuple[int, int], list[str]] = {}
    for name, array in held:
        if isinstance(array, ArrayManager) and not array.inited:
            arrays.setdefault((int(array.size), int(array.count)), []).append(name)
    return [
        f"{_names(names)} never left the warm-up: {'it needs' if len(names) == 1 else 'each needs'} {size:,} bars and "
        f"got {count or 'none'} (strategies wait for its inited before they act)."
        for (size, count), names in arrays.items()
    ]


def _windows(run: Run, held: list[tuple[str, Any]]) -> list[str]:
    """BarGenerators whose window was opened and never closed."""
    from vnpy.trader.utility import BarGenerator

    sentences: list[str] = []
    for name, generator in held:
        if isinstance(generator, BarGenerator):
            try:
                why = _window(run, generator)
            except (AttributeError, TypeError, ValueError):
                continue  # a subclass that is something else
            if why:
                sentences.append(f"The window of {name} never completes: {why}.")
    return sentences


def _window(run: Run, generator: Any) -> str:
    first, last = (run.replay.rows(row, row + 1)[0].datetime for row in (run.low, run.high - 1))
    kind = generator.interval.name
    window = int(generator.window)
    data = "ticks" if not run.replay.is_bars else f"{run.replay.interval} bars"
    if kind == "DAILY":
        bar = generator.daily_bar
        if bar is None or bar.datetime > first:
            return ""
        end = generator.daily_end
        return f"it closes a day with a bar stamped {end:%H:%M}, of which these {data} have none since the first"
    open_bar = generator.window_bar
    if kind == "HOUR":
        open_bar = open_bar or generator.hour_bar
        if open_bar is None or open_bar.datetime > first:
            return ""
        return f"it takes {pluralize(window, 'hour')}, which these {data} never filled"
    if open_bar is None or not window or first < open_bar.datetime > last - _DAY:
        return ""
    local = local_us(run.replay.data.time_ns[run.low : run.high], run.replay.zone)[0]
    minutes = np.flatnonzero(np.bincount(local // _MINUTE_US % 60))
    if run.replay.is_bars and ((minutes + 1) % window).all():
        ends = _numbers([minute for minute in range(60) if not (minute + 1) % window])
        return (
            f"vnpy's BarGenerator closes a {window}-minute bar with a bar of minute {ends}, and the {data} are stamped "
            f"at {_numbers(minutes.tolist())}; it needs 1m bars (or ticks)"
        )
    if open_bar.datetime > first:
        return ""
    return f"it takes {pluralize(window, 'minute')}, and the end of one was not reached in these {data}"


def _unhandled_rows(run: Run, strategy: Any) -> list[str]:
    """A strategy that does nothing with the kind of rows there are."""
    if strategy is None:
        return []
    is_bars = run.replay.is_bars
    if is_native(strategy):
        if not strategy.handles_ticks and not strategy.handles_bars:
            return ["It has neither on_tick nor on_bar: it never looks at the market."]
        if not is_bars and not strategy.handles_ticks and not int(strategy.strategy.bar_seconds):
            return ["Its bar_seconds is 0: of ticks no bars are made for its on_bar."]
        return []
    if is_bars and not overridden(strategy, "on_bar"):
        return ["It does nothing in on_bar, and the data are bars: it needs ticks."]
    if not is_bars and not overridden(strategy, "on_tick"):
        return ["It does nothing in on_tick, and the data are ticks: it needs bars."]
    return []


# What its orders met.


def _unfilled(run: Run) -> list[str]:
    core = run.core
    resting = [*core.limits.values(), *core.stops.values()]
    refused = getattr(core.fill_model, "refused", 0)
    cancelled = max(core.sent_count - len(resting) - refused, 0)
    parts = [
        (cancelled, "cancelled before the market reached them", "cancelled before the market reached it"),
        (refused, "refused", "refused"),
        (len(resting), "still open at the end", "still open at the end"),
    ]
    shown = [f"{number:,} {one if number == 1 else many}" for number, many, one in parts if number]
    was = "was" if core.sent_count == 1 else "were"
    sentences = [f"There are no trades: {pluralize(core.sent_count, 'order')} {was} sent, {', '.join(shown)}."]
    sentences += _no_market(run)
    sentences += [_resting(run, ticket) for ticket in resting[:_SHOWN]]
    if len(resting) > _SHOWN:
        sentences.append(f"{len(resting) - _SHOWN:,} more are open in the same way.")
    return sentences


def _no_market(run: Run) -> list[str]:
    data = run.replay.data
    if isinstance(data, Ticks):
        sides = ("bid_price_1", "ask_price_1", *(("bid_volume_1", "ask_volume_1") if run.job.fill == "sim" else ()))
        missing = [
            name for name in sides if name not in data.columns or not data.columns[name][run.low : run.high].any()
        ]
        return [f"The ticks have no {_listed(missing)}: limit orders cannot be filled."] if missing else []
    if run.job.fill == "sim" and not data.volume[run.low : run.high].any():
        return ["The bars have no volume, of which fill sim lets orders have a tenth: nothing can be filled."]
    return []


def _resting(run: Run, ticket: Any) -> str:
    replay, low, high = run.replay, run.low, run.high
    side = "buy" if ticket.is_long else "sell"
    kind = "stop" if ticket.is_stop else "limit"
    market = abs(ticket.price) >= AT_MARKET
    text = f"{side} {ticket.volume:g} " + ("at the market" if market else f"at {ticket.price:.10g} ({kind})")
    since = "the start"
    if ticket.sent is not None:
        since = _time(ticket.sent.datetime)
        low = replay.between(ticket.sent.datetime + timedelta(microseconds=1), run.core.end)[0]
    if low >= high:
        return f"Open: {text}, sent with the last row: none was left to fill it."
    text = f"Open since {since}: {text}"
    if market:
        return f"{text}; there was nobody to trade with."
    data = replay.data
    if isinstance(data, Bars):
        bottom, top = float(data.low[low:high].min()), float(data.high[low:high].max())
    else:
        prices = data.columns.get("last_price", np.zeros(len(data)))[low:high]
        prices = prices[prices > 0]
        bottom, top = (float(prices.min()), float(prices.max())) if len(prices) else (0.0, 0.0)
        for name, worst, beyond in (("limit_up", np.max, 1), ("limit_down", np.min, -1)):
            limits = data.columns.get(name, np.zeros(1))
            limits = limits[low:high][limits[low:high] > 0] if len(limits) > 1 else limits[:0]
            if len(limits) and (ticket.price - float(worst(limits))) * beyond > 0:
                return f"{text}, which is outside the day's price limits ({name} {float(worst(limits)):.10g})."
    return f"{text}; prices since then were {bottom:.10g} to {top:.10g}."


def _refusals(run: Run) -> list[str]:
    model = run.core.fill_model
    refused = getattr(model, "refused", 0)
    if not refused:
        return []
    kinds = Counter(reason.split(" ", 1)[0] for reason in model.reasons.values())
    examples: dict[str, str] = {}
    for reason in model.reasons.values():
        kind, _, detail = reason.partition(" ")
        examples.setdefault(kind, detail)
    shown = "; ".join(f"{number:,} × {kind} (the first: {examples[kind]})" for kind, number in kinds.most_common())
    of = f" Of the first {len(model.reasons):,}" if refused > len(model.reasons) else ""
    was = "was" if refused == 1 else "were"
    return [f"{pluralize(refused, 'order')} of {run.core.limit_count:,} {was} refused.{of or ' Reasons'}: {shown}."]


def _account(days: Sequence[Day]) -> list[str]:
    ruin = next((day for day in days if day.balance <= 0), None)
    sentences = []
    if ruin is not None:
        sentences.append(
            f"The balance is {ruin.balance:,.2f} on {ruin.date}: no account could have gone on from there; statistics "
            "that are ratios say nothing."
        )
    if not any(day.turnover for day in days):
        sentences.append("All trades have the volume 0.")
    return sentences


# Words.


def _names(names: list[str]) -> str:
    return _listed(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _numbers(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:4], "…", shown[-1]])


def _time(time: Any) -> str:
    text: str = time.isoformat(sep=" ", timespec="milliseconds" if time.microsecond else "seconds")
    return text[: text.rfind("+")] if "+" in text else text
