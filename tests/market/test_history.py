"""History: what is recorded is read again, before and after restarts, kills and compactions."""

import asyncio
import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import Interval
from tests.market.hub_readers import last_tick
from tests.market.recorder import recorder, ticks
from tests.market.ticks import SYMBOL, at, recorded, tick

DAY_NS = 86_400_000_000_000


async def test_ticks_come_back_as_they_were_from_memory_journal_and_archive(tmp_path: Path) -> None:
    sent = ticks(1000)
    async with recorder(tmp_path) as one:
        one.publish(*sent[:400])
        await one.recorder.checkpoint()
        one.publish(*sent[400:700])
        await one.recorder.flush()
        one.publish(*sent[700:])
        assert await one.all_ticks(page=99) == sent
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent
        assert last_tick(two.hub) == sent[-1]


async def test_a_tick_is_the_same_before_and_after_it_is_archived(tmp_path: Path) -> None:
    """The archive keeps no gateway: making bars of a page that it ends in would take the rest for another's."""
    sent = ticks(100)
    async with recorder(tmp_path) as one:
        one.publish(*[tick_of_sim(row) for row in sent[:50]])
        await one.recorder.checkpoint()
        one.publish(*[tick_of_sim(row) for row in sent[50:]])
        assert await one.all_ticks() == sent


def tick_of_sim(row: pb.Tick) -> pb.Tick:
    of_sim = pb.Tick(gateway="SIM")
    of_sim.MergeFrom(row)
    return of_sim


_READER = """
import asyncio, sys
from pathlib import Path
from services.market.recording.history import History
from services.quant.archive import layout
from services.quant.bars import LocalClock
folder = Path(sys.argv[1])
history = History(None, layout.ticks(folder), layout.bars(folder), LocalClock("Asia/Shanghai"))
before = "pyarrow" in sys.modules
asyncio.run(history.prepare())
history.close()
print(before, "pyarrow.parquet" in sys.modules)
"""


async def test_what_reads_an_archive_is_imported_before_the_first_query_where_there_is_one(tmp_path: Path) -> None:
    async with recorder(tmp_path / "full") as one:
        one.publish(*ticks(10))
        await one.recorder.checkpoint()
    for folder, imported in (("full", b"True"), ("empty", b"False")):
        command = (sys.executable, "-c", _READER, str(tmp_path / folder))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert output.split() == [b"False", imported]


async def test_a_range_has_its_start_and_not_its_end(tmp_path: Path) -> None:
    sent = ticks(100)
    async with recorder(tmp_path) as one:
        one.publish(*sent[:50])
        await one.recorder.checkpoint()
        one.publish(*sent[50:])
        rows = await one.history.list_ticks(SYMBOL, sent[10].time_ns, sent[60].time_ns, None, 1000)
        assert [row.tick for row in rows] == sent[10:60]
        assert await one.history.list_ticks("ZZ9999.SHFE", None, None, None, 10) == []


async def test_a_kill_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    sent = ticks(600)
    async with recorder(tmp_path, kill=True) as one:
        one.publish(*sent[:200])
        await one.recorder.checkpoint()
        one.publish(*sent[200:400])
        await one.recorder.flush()
        one.publish(*sent[400:])
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent[:400]
        two.publish(*sent[400:])
        await two.recorder.checkpoint()
        assert await two.all_ticks() == sent
        bars = await two.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert [bar.volume for bar in bars] == [119.0, *[120.0] * 4]


async def test_a_torn_journal_gives_what_is_whole_and_goes_on(tmp_path: Path) -> None:
    sent = ticks(30)
    async with recorder(tmp_path, kill=True) as one:
        for start in (0, 10, 20):
            one.publish(*sent[start : start + 10])
            await one.recorder.flush()
    (path,) = tmp_path.glob("wal-*")
    path.write_bytes(path.read_bytes()[:-7])
    async with recorder(tmp_path, kill=True) as two:
        assert await two.all_ticks() == sent[:20]
        two.publish(*ticks(5, first=40))
        await two.recorder.flush()
    async with recorder(tmp_path) as three:
        assert await three.all_ticks() == sent[:20] + ticks(5, first=40)


async def test_a_kill_between_archive_and_state_doubles_nothing(tmp_path: Path) -> None:
    sent = ticks(300)
    async with recorder(tmp_path / "a", kill=True) as one:
        one.publish(*sent)
        await one.recorder.flush()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        await one.recorder.checkpoint()
    shutil.copytree(tmp_path / "a" / "ticks", tmp_path / "b" / "ticks")
    shutil.copytree(tmp_path / "a" / "bars", tmp_path / "b" / "bars")
    async with recorder(tmp_path / "b") as two:
        assert await two.all_ticks() == sent
        await two.recorder.checkpoint()
        assert await two.all_ticks() == sent
        assert len(await two.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)) == 2


async def test_many_small_files_become_one_while_they_are_read(tmp_path: Path) -> None:
    sent = ticks(400)
    async with recorder(tmp_path, compact_files=4) as one:
        for start in range(0, 400, 20):
            one.publish(*sent[start : start + 20])
            await one.recorder.checkpoint()
            compaction = asyncio.create_task(one.recorder.compact())
            assert await one.all_ticks(page=64) == sent[: start + 20]
            await compaction
        assert len(list(tmp_path.glob("ticks/symbol=*/day=*/*.parquet"))) <= 5
        assert await one.all_ticks() == sent


async def test_a_day_becomes_one_file_when_the_next_one_has_begun(tmp_path: Path) -> None:
    days = [20261120, 20261123]
    sent = [
        tick(n + 1, time_ns=at("2026-11-20 10:00:00") + n // 5 * 3 * DAY_NS + n, trading_day=days[n // 5])
        for n in range(10)
    ]
    async with recorder(tmp_path) as one:
        for position, sent_tick in enumerate(sent):
            one.publish(sent_tick)
            await one.recorder.checkpoint()
            await one.recorder.compact()
            files = [len(list(tmp_path.glob(f"ticks/symbol=*/day={day}/*.parquet"))) for day in days]
            assert files == ([position + 1, 0] if position < 5 else [1, position - 4])
        assert await one.all_ticks() == sent


async def test_a_failed_checkpoint_loses_nothing(tmp_path: Path) -> None:
    sent = ticks(50)
    blocked = tmp_path / "ticks"
    async with recorder(tmp_path) as one:
        one.publish(*sent[:30])
        blocked.write_text("")  # in place of the folder
        with pytest.raises(OSError, match="Not a directory"):
            await one.recorder.checkpoint()
        assert "Not a directory" in one.recorder.failure
        blocked.unlink()
        one.publish(*sent[30:])
        assert await one.all_ticks() == sent
        await one.recorder.checkpoint()
        assert not one.recorder.failure
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent


@pytest.mark.slow
async def test_ticks_and_bars_are_archived_and_compacted_by_a_process_of_its_own(tmp_path: Path) -> None:
    symbols = [f"rb{number}.SHFE" for number in range(2601, 2611)]
    blocked = tmp_path / "ticks"
    async with recorder(tmp_path, compact_files=2) as one:
        for first in range(0, 12, 3):
            one.publish(*(tick(first + n + 1, symbol) for n in range(3) for symbol in symbols))
            if not first:
                blocked.write_text("")
                with pytest.raises(OSError, match="Not a directory"):
                    await one.recorder.checkpoint(apart=True)
                blocked.unlink()
            await one.recorder.checkpoint(apart=True)
            await one.recorder.compact(apart=True)
        assert len(list(tmp_path.glob(f"ticks/symbol={symbols[7]}/day=*/*.parquet"))) <= 2
        rows = await one.history.list_ticks(symbols[7], None, None, None, 100)
        assert [row.tick for row in rows] == [tick(n + 1, symbols[7]) for n in range(12)]


async def test_memory_is_bounded_when_the_disk_does_not_keep_up(tmp_path: Path) -> None:
    async with recorder(tmp_path, history_backlog_mb=1) as one:
        for first in range(1, 40_000, 1000):
            one.publish(*ticks(1000, first=first))
        assert one.recorder.held_bytes < 2 << 20
        assert one.recorder.dropped_ticks > 0


async def test_a_replay_run_twice_is_recorded_once(tmp_path: Path) -> None:
    sent = ticks(300)
    async with recorder(tmp_path) as one:
        one.begin_epoch("a", 1)
        one.publish(*sent[:200])
    async with recorder(tmp_path) as two:
        two.begin_epoch("b", 1 << 40)
        again = ticks(300)
        for one_tick in again:
            one_tick.sequence += 1 << 40
        two.publish(*again)
        two.bars.close_all()
        assert [t.time_ns for t in await two.all_ticks()] == [t.time_ns for t in sent]
        bars = await two.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert [bar.volume for bar in bars] == [119, 120, 61]
        last = await two.history.bars_before(SYMBOL, Interval.MINUTE, None, 2)
        assert last == bars[-2:]


async def test_bars_of_many_days_are_listed_oldest_first_and_from_the_end(tmp_path: Path) -> None:
    async with recorder(tmp_path) as one:
        start = at("2026-11-02 10:00:00")
        for day in range(5):
            one.publish(
                *(
                    tick(day * 3 + n + 1, time_ns=start + day * DAY_NS + n * 60_000_000_000, trading_day=20261102 + day)
                    for n in range(3)
                )
            )
            await one.recorder.checkpoint()
        one.bars.close_all()
        days = await one.history.list_bars(SYMBOL, Interval.DAY, None, None, None, 100)
        assert [bar.trading_day for bar in days] == [20261102 + n for n in range(5)]
        minutes = await one.history.list_bars(SYMBOL, Interval.MINUTE, start + DAY_NS, start + 3 * DAY_NS, None, 100)
        assert len(minutes) == 6
        before = await one.history.bars_before(SYMBOL, Interval.MINUTE, start + 3 * DAY_NS, 4)
        assert before == minutes[-4:]
        rest = await one.history.list_bars(SYMBOL, Interval.DAY, None, None, (20261103, days[1].start_ns), 2)
        assert rest == days[2:4]


@pytest.mark.slow
async def test_recorded_days_are_kept_to_the_last_tick(tmp_path: Path) -> None:
    sent = list(recorded())[:40_000]
    async with recorder(tmp_path) as one:
        for start in range(0, len(sent), 500):
            one.publish(*sent[start : start + 500])
            if start % 10_000 == 0:
                await one.recorder.checkpoint()
    async with recorder(tmp_path) as two:
        assert await two.all_ticks(page=1000) == sent


async def test_a_real_gateways_history_has_nothing_that_the_simulated_market_sent(tmp_path: Path) -> None:
    def minutes(first: int, gateway: str) -> list[pb.Tick]:
        """A tick every twenty seconds for six minutes."""
        return [
            tick(first + n, time_ns=at("2026-11-20 09:30:00") + (first + n) * 20_000_000_000, gateway=gateway)
            for n in range(18)
        ]

    async with recorder(tmp_path) as one:
        one.recorder.takeovers.learn_real_gateways(["CTP"])
        one.publish(*minutes(1, "SIM"))
        await one.recorder.checkpoint()
        one.publish(*minutes(19, "SIM"))
        assert {row.gateway for row in await one.all_ticks()} <= {"", "SIM"}
        one.publish(*minutes(38, "CTP"))
        first_real = at("2026-11-20 09:30:00") + 38 * 20_000_000_000
        for _ in range(2):  # in memory, then on disk
            assert [row.time_ns for row in await one.all_ticks()] == [row.time_ns for row in minutes(38, "CTP")]
            bars = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
            assert bars and all(bar.start_ns + Interval.MINUTE.length_ns > first_real for bar in bars)
            assert await one.history.bars_before(SYMBOL, Interval.MINUTE, None, 100) == bars
            await one.recorder.checkpoint()
        # What backtests read is the same.
        table = one.store.ticks.table(SYMBOL, 20261120, ["sequence"])
        assert sorted(table.column("sequence").to_pylist()) == list(range(38, 56))
    async with recorder(tmp_path) as two:
        two.recorder.takeovers.learn_real_gateways(["CTP"])
        assert len(await two.all_ticks()) == 18
        # The real gateway is gone, the simulated market serves the symbol again: that is no part of its history.
        two.publish(*minutes(57, "SIM"))
        two.publish(*minutes(76, "CTP"))
        expected = [row.time_ns for row in (*minutes(38, "CTP"), *minutes(76, "CTP"))]
        assert [row.time_ns for row in await two.all_ticks()] == expected
        two.bars.close_all()
        bars = await two.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 1000)
        simulated = range(
            at("2026-11-20 09:30:00") + 57 * 20_000_000_000, at("2026-11-20 09:30:00") + 75 * 20_000_000_000
        )
        assert not [bar for bar in bars if bar.start_ns in simulated and bar.start_ns + 60_000_000_000 in simulated]


async def test_a_takeover_that_the_disk_refused_to_note_is_noted_once_it_takes_it(tmp_path: Path) -> None:
    blocked = tmp_path / "ticks-superseded"
    async with recorder(tmp_path) as one:
        one.recorder.takeovers.learn_real_gateways(["CTP"])
        one.publish(tick(1, gateway="SIM"))
        await one.recorder.checkpoint()
        blocked.write_text("")  # in place of the folder
        one.publish(tick(3, gateway="CTP"))
        with contextlib.suppress(OSError):
            await one.recorder.flush()
        blocked.unlink()
    async with recorder(tmp_path) as two:
        two.recorder.takeovers.learn_real_gateways(["CTP"])
        assert [row.sequence for row in await two.all_ticks()] == [3]


async def test_old_days_are_removed_and_bars_imports_and_what_was_written_lately_stay(tmp_path: Path) -> None:
    async with recorder(tmp_path, retention_days=3) as one:
        start = at("2026-11-02 10:00:00")
        sent = [tick(day + 1, time_ns=start + day * DAY_NS, trading_day=20261102 + day) for day in range(6)]
        one.publish(*sent)
        one.bars.close_all()
        await one.recorder.checkpoint()
        one.store.ticks.add(SYMBOL, 20261103, {"time_ns": [sent[1].time_ns + 1], "sequence": [1], "trading_day": [1]})
        partitions = sorted(tmp_path.glob("ticks/symbol=*/day=*/0*.parquet"))
        for path in partitions[1:]:
            os.utime(path, (1, 1))
        one.now_ns = start + 6 * DAY_NS
        await one.recorder.remove_old()
        days = {path: sorted(tmp_path.glob(f"ticks/symbol=*/day=*/{path}*")) for path in ("0", "imported")}
        assert [path.parent.name for path in days["0"]] == [f"day=2026110{day}" for day in (2, 5, 6, 7)]
        assert [path.parent.name for path in days["imported"]] == ["day=20261103"]
        bars = await one.history.list_bars(SYMBOL, Interval.DAY, None, None, None, 100)
        assert len(bars) == 6
