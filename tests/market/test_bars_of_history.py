"""Bars as the stream gave them, as history lists them, and as a restart makes them of the log: all the same."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.quant.archive import layout
from services.quant.bars import Bar, Interval
from tests.examples import examples
from tests.market.recorder import RecordedMarket, recorder
from tests.market.ticks import SYMBOL, at, tick
from tests.quant.bars.feeds import SYMBOLS, Epoch, Event, Watermark, events
from tests.quant.bars.made import clock_times, quote

Key = tuple[str, Interval, int, int]


def key_of(bar: Bar) -> Key:
    return bar.symbol, bar.interval, bar.trading_day, bar.start_ns


def differing(bars: Mapping[Key, Bar], streamed: Mapping[Key, Bar]) -> dict[Key, tuple[Bar | None, Bar | None]]:
    keys = bars.keys() | streamed.keys()
    return {key: (bars.get(key), streamed.get(key)) for key in keys if bars.get(key) != streamed.get(key)}


def publish(market: RecordedMarket, event: Event) -> None:
    if isinstance(event, Epoch):
        market.begin_epoch(event.name)
    elif isinstance(event, Watermark):
        market.hub.pass_time({event.gateway: event.time_ns})
    else:
        market.publish(event)


async def listed(market: RecordedMarket) -> dict[Key, Bar]:
    return {
        key_of(bar): bar
        for symbol in SYMBOLS
        for interval in Interval
        for bar in await market.history.list_bars(symbol, interval, None, None, None, 1000)
    }


async def run(folder: Path, sequence: list[Event], data: st.DataObject) -> None:
    streamed: dict[Key, Bar] = {}
    left, position, epoch = list(sequence), 0, "e0"
    while left:
        killed, count = data.draw(st.booleans()), data.draw(st.integers(1, len(left)))
        rebuilt: dict[Key, list[Bar]] = defaultdict(list)
        market = RecordedMarket(folder, compact_files=2)
        market.bars.on_closed(lambda bar: rebuilt[key_of(bar)].append(bar))
        await market.restore()
        assert not differing({key: bars[-1] for key, bars in rebuilt.items()}, {key: streamed[key] for key in rebuilt})
        market.bars.on_closed(lambda bar: streamed.__setitem__(key_of(bar), bar))
        market.begin_epoch(epoch, position=position)
        for event in left[:count]:
            publish(market, event)
            if data.draw(st.integers(0, 9)) == 0:
                await market.recorder.checkpoint()
        assert not differing(await listed(market), streamed)
        left, position, epoch = left[count:], market.hub.position.number, market.bars.epoch
        await market.recorder.flush()
        if killed:
            market.store.close()  # as the kernel does
        else:
            await market.recorder.close()
        market.history.close()
    async with recorder(folder) as market:
        assert not differing(await listed(market), streamed)


@pytest.mark.slow
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink one takes minutes, and what differs is said
)
@given(events(epochs=True), st.data())
def test_bars_of_the_stream_of_history_and_of_a_restart_are_the_same(
    sequence: list[Event], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), sequence, data))


async def test_the_time_that_a_gateway_had_before_its_first_tick_counts_after_a_restart(tmp_path: Path) -> None:
    late = [("10:12:50", 0, 1), ("10:12:55", 3, 2), ("10:14:59", 4, 3), ("10:30:01", 9, 4)]
    closed: list[list[Bar]] = [[], []]
    async with recorder(tmp_path, kill=True) as market:
        market.bars.on_closed(closed[0].append)
        market.begin_epoch("e1")
        market.hub.pass_time({"CTP": at("2026-11-20 10:14:00")})
        await market.recorder.checkpoint()
        market.publish(*(quote(time, 10, volume, number, gateway="CTP") for time, volume, number in late))
        await market.recorder.flush()
        market.history.close()
    market = RecordedMarket(tmp_path)
    market.bars.on_closed(closed[1].append)
    await market.restore()
    await market.close()
    assert closed[1] == closed[0]
    minutes = [bar for bar in closed[0] if bar.interval is Interval.MINUTE]
    assert [(clock_times([bar]), bar.volume) for bar in minutes] == [(["10:14"], 4)]


async def test_an_incomplete_bar_is_listed_as_one_from_memory_and_from_disk(tmp_path: Path) -> None:
    ticks = [quote("09:30:00", 10, 5, 1), quote("09:31:00", 10, 9, 9), quote("09:32:00", 10, 10, 10)]
    async with recorder(tmp_path, compact_files=2) as market:
        market.publish(*ticks)
        for _ in range(2):
            bars = await market.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 10)
            assert [(bar.volume, bar.incomplete) for bar in bars] == [(5, True), (4, True)]
            await market.recorder.checkpoint()


async def test_bars_of_files_without_the_mark_are_whole_and_are_compacted_with_others(tmp_path: Path) -> None:
    columns = {name: [float(number)] for number, name in enumerate(layout.BAR_COLUMNS)}
    columns |= {"interval": [1], "start_ns": [tick(1).time_ns // 60_000_000_000 * 60_000_000_000 - 60_000_000_000]}
    layout.bars(tmp_path).write(SYMBOL, 20261120, 0, {**columns, "checkpoint": [0]})
    async with recorder(tmp_path) as market:
        for count in range(4):
            market.publish(quote(f"09:3{count + 1}:00", 10, 5 + count, 1 + 9 * count))
            await market.recorder.checkpoint()
        for compacted in (False, True):
            bars = await market.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 10)
            assert [bar.incomplete for bar in bars] == [False, True, True, True]
            assert market.store.bars.compact(SYMBOL, 20261120, 2) != compacted
