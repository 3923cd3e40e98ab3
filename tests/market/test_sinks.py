"""Sinks of the hub: one that raises hinders neither delivery nor the others, and each market's ticks come apart."""

import logging
from functools import partial
from typing import Any

import pytest

from services.market import metrics
from services.quant.bars import Bar, BarBuilder, LocalClock
from services.quant.ticks.tick_batch import TickBatch
from tests.market.hub_readers import OTHER, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, tick
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
