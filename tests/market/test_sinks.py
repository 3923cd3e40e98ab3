"""Sinks of the hub: one that raises hinders neither delivery nor the others, and each market's ticks come apart."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.market import metrics
from services.quant.bars import Bar, BarBuilder, LocalClock
from services.quant.calendar.days import MINUTE_NS
from services.quant.ticks.tick_batch import TickBatch
from services.quant.ticks.variant import variant
from tests.market.hub_readers import OTHER, lossless, new_hub, publish
from tests.market.recorder import recorder
from tests.market.ticks import SYMBOL, batch, tick
from tests.waiting import until


async def test_a_sink_that_raises_hinders_nobody_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    hub = new_hub()
    seen: list[int] = []

    def broken(*arguments: Any) -> None:
        raise ValueError("month must be in 1..12")

    for register in (hub.on_published, hub.on_moved, hub.on_watermarks):
        register(broken)
    hub.on_published(lambda batch: seen.extend(batch.values("sequence")))
    hub.on_moved(lambda symbol, gateway: seen.append(-1))
    hub.on_watermarks(lambda watermarks_ns: seen.append(-2))
    failures = metrics.sink_failures.labels(broken.__qualname__)
    before = failures._value.get()
    reader = lossless(hub).start()
    with caplog.at_level(logging.ERROR):
        for n in (1, 2, 3):
            publish(hub, tick(n, gateway="SIM"))
        hub.pass_time({"SIM": 1})
        publish(hub, tick(4, gateway="CTP"))
    await until(lambda: reader.ticks() == [1, 2, 3, 4])
    assert seen == [1, 2, 3, -2, -1, 4]
    assert failures._value.get() == before + 6
    assert len([record for record in caplog.records if SYMBOL in record.getMessage()]) == 1
    await reader.stop()


async def test_a_batch_in_which_a_symbol_moves_is_given_in_two_parts_with_the_move_between() -> None:
    hub = new_hub()
    seen: list[Any] = []

    def listener(batch: TickBatch) -> None:
        seen.append(list(zip(batch.symbols, batch.values("sequence"), strict=True)))

    hub.on_published(listener)
    hub.on_moved(lambda *move: seen.append(move))
    first = [tick(1, gateway="SIM"), tick(1, OTHER, gateway="SIM"), tick(1, gateway="SIM")]
    publish(hub, *first, tick(2, gateway="CTP"), tick(2, OTHER, gateway="SIM"))
    assert seen == [[(SYMBOL, 1), (OTHER, 1)], (SYMBOL, "CTP"), [(SYMBOL, 2), (OTHER, 2)]]


async def test_a_tick_that_bars_cannot_take_costs_no_other_symbol_a_tick() -> None:
    hub, bars = new_hub(), BarBuilder(LocalClock("Asia/Shanghai"))
    closed: list[tuple[str, float]] = []

    def listener(bar: Bar) -> None:
        if bar.symbol == OTHER:
            raise ValueError(bar.symbol)
        closed.append((bar.symbol, bar.volume))

    failures = metrics.sink_failures.labels("bars")
    before = failures._value.get()
    bars.on_closed(listener)
    bars.on_failed(partial(hub.failures.report, "bars"))
    hub.on_published(bars.on_batch)
    publish(hub, *[tick(n, symbol) for n in range(1, 300) for symbol in (OTHER, SYMBOL)])
    assert [volume for symbol, volume in closed if symbol == SYMBOL] == [119, 120]
    assert failures._value.get() > before


async def test_a_sink_loses_of_a_batch_only_the_ticks_that_it_cannot_take() -> None:
    hub = new_hub()
    seen: list[tuple[str, int]] = []
    others: list[int] = []

    def fussy(batch: TickBatch) -> None:
        taken = list(zip(batch.symbols, batch.values("sequence"), strict=True))
        if {(SYMBOL, 3), (OTHER, 7)}.intersection(taken):
            raise ValueError("month must be in 1..12")
        seen.extend(taken)

    failures = metrics.sink_failures.labels(fussy.__qualname__)
    before = failures._value.get()
    hub.on_published(fussy)
    hub.on_published(lambda batch: others.append(len(batch)))
    publish(hub, *[tick(n, symbol) for n in range(1, 12) for symbol in (OTHER, SYMBOL)])
    expected = [(symbol, n) for n in range(1, 12) for symbol in (OTHER, SYMBOL)]
    assert seen == [one for one in expected if one not in ((SYMBOL, 3), (OTHER, 7))]
    assert others == [22]
    assert failures._value.get() == before + 2


async def test_ticks_whose_day_no_calendar_tells_cost_no_others_their_record_and_nothing_is_recorded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trading_day = LocalClock.trading_day

    def broken(clock: LocalClock, symbol: str, time_ns: int) -> int:
        if symbol == OTHER:
            raise KeyError(symbol)
        return trading_day(clock, symbol, time_ns)

    monkeypatch.setattr(LocalClock, "trading_day", broken)
    failures = metrics.sink_failures.labels("Recorder.record")
    before = failures._value.get()
    async with recorder(tmp_path) as one:
        one.bars.on_failed(partial(one.hub.failures.report, "bars"))
        one.begin_epoch("a")
        one.publish(*[made for n in range(1, 9) for made in (tick(n), tick(n, OTHER, trading_day=0))])
        assert [found.sequence for found in await one.all_ticks()] == list(range(1, 9))
        assert failures._value.get() == before + 8
        assert not [bars.symbol for bars in one.bars if bars.symbol == OTHER and bars.minute]


def test_a_listener_of_bars_that_raises_costs_the_others_no_bar_and_gives_them_none_twice() -> None:
    bars = BarBuilder(LocalClock("Asia/Shanghai"))
    first: list[int] = []
    last: list[int] = []
    failed: list[str] = []

    def broken(bar: Bar) -> None:
        raise ValueError(bar.symbol)

    for listener in (lambda bar: first.append(bar.start_ns), broken, lambda bar: last.append(bar.start_ns)):
        bars.on_closed(listener)
    bars.on_failed(failed.append)
    bars.on_batch(variant().scanner().scan(batch(*[tick(n) for n in range(1, 300)])))
    assert len(first) == len(set(first)) == 2
    assert last == first
    assert failed == [SYMBOL, SYMBOL]


def test_a_symbol_for_which_time_cannot_pass_keeps_no_other_symbols_bars_open(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = BarBuilder(LocalClock("Asia/Shanghai"))
    closed: list[str] = []
    failed: list[str] = []
    bars.on_closed(lambda bar: closed.append(bar.symbol))
    bars.on_failed(failed.append)
    bars.on_batch(variant().scanner().scan(batch(*[tick(1, symbol) for symbol in (OTHER, SYMBOL)])))
    bar_time = LocalClock.bar_time

    def broken(clock: LocalClock, symbol: str, time_ns: int) -> tuple[int, int]:
        if symbol == OTHER:
            raise KeyError(symbol)
        return bar_time(clock, symbol, time_ns)

    monkeypatch.setattr(LocalClock, "bar_time", broken)
    for minute in (1, 2):
        bars.on_watermark("", tick(1).time_ns + minute * MINUTE_NS)
    assert closed == [SYMBOL]
    assert failed == [OTHER, OTHER]
