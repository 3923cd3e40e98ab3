"""Epochs in history: within a symbol and trading day, a later one replaces earlier ones in the time that it covers."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.quant.bars import Interval
from tests.market.recorder import RecordedMarket, recorder
from tests.market.ticks import SYMBOL, at, tick

DAYS = (20261119, 20261120)
STEP_NS = 500_000_000
Row = tuple[int, int]
"""A trading day, and the half seconds since its opening."""


def time_of(row: Row) -> int:
    return at(f"2026-11-{row[0] - 20261100} 09:30:00") + row[1] * STEP_NS


def replay(market: RecordedMarket, number: int, rows: list[Row]) -> None:
    """Publish an epoch with these rows; their prices tell it from others."""
    first = number << 40
    market.begin_epoch(f"epoch {number}", first)
    market.publish(
        *(
            tick(first + index, time_ns=time_of(row), trading_day=row[0], last_price=float(number))
            for index, row in enumerate(rows)
        )
    )


async def stored(market: RecordedMarket) -> list[tuple[int, int]]:
    return [(one.time_ns, int(one.last_price)) for one in await market.all_ticks(page=50)]


def expected(epochs: list[list[Row]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for number, rows in enumerate(epochs, start=1):
        for day in DAYS:
            times = [time_of(row) for row in rows if row[0] == day]
            if times:
                start = time_of((day, 0))
                kept = [
                    one
                    for one in kept
                    if not (min(times) <= one[0] <= max(times) and start <= one[0] < start + 40_000_000_000_000)
                ]
                kept += [(time, number) for time in times]
    return sorted(kept)


async def test_a_replay_that_stopped_is_completed_by_the_next(tmp_path: Path) -> None:
    rows = [(DAYS[1], step) for step in range(300)]
    async with recorder(tmp_path) as one:
        replay(one, 1, rows[:200])
        await one.recorder.checkpoint()
        replay(one, 2, rows)
        one.bars.close_all()
        for _ in range(2):  # in memory, then on disk
            assert await stored(one) == [(time_of(row), 2) for row in rows]
            bars = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
            assert [bar.start_ns for bar in bars] == [time_of((DAYS[1], step)) for step in (0, 120, 240)]
            await one.recorder.checkpoint()


async def test_an_earlier_recording_after_a_later_one_is_recorded(tmp_path: Path) -> None:
    later, earlier = ([(day, step) for step in range(100)] for day in reversed(DAYS))
    async with recorder(tmp_path) as one:
        replay(one, 1, later)
        replay(one, 2, earlier)
        assert await stored(one) == expected([later, earlier])
        assert len(await stored(one)) == 200
    async with recorder(tmp_path) as two:
        assert len(await stored(two)) == 200


epochs = st.lists(
    st.tuples(st.sampled_from(DAYS), st.sets(st.integers(0, 60), min_size=1, max_size=12)), min_size=1, max_size=3
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(st.tuples(epochs, st.sampled_from(["", "checkpoint", "compact", "restart"])), max_size=6))
def test_memory_archive_and_compacted_files_show_the_same(script, tmp_path_factory) -> None:
    import asyncio

    async def run() -> None:
        folder = tmp_path_factory.mktemp("epochs")
        sent: list[list[Row]] = []
        market = RecordedMarket(folder, compact_files=2)
        await market.restore()
        for parts, then in script:
            rows = sorted({(day, step) for day, steps in parts for step in steps})
            sent.append(rows)
            replay(market, len(sent), rows)
            assert await stored(market) == expected(sent)
            if then:
                await market.recorder.checkpoint()
            if then == "compact":
                await market.recorder.compact()
            if then == "restart":
                await market.close()
                market = RecordedMarket(folder, compact_files=2)
                await market.restore()
            assert await stored(market) == expected(sent)
        await market.recorder.checkpoint()
        tables = [market.store.ticks.table(SYMBOL, day, ["time_ns", "last_price"]) for day in DAYS]
        rows_on_disk = [row for table in tables if table is not None for row in table.to_pylist()]
        assert sorted((row["time_ns"], int(row["last_price"])) for row in rows_on_disk) == expected(sent)
        await market.close()

    asyncio.run(run())
