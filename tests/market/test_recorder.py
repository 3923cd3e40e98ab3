"""The log of ticks: full disks, kills while it is archived, folders of before, positions, what is stored of a feed."""

import asyncio
import base64
import json
import logging
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.errors import StartError
from services.market.control_messages import TickControlMessages
from services.market.recording import archive_work
from services.market.recording import recorder as recorder_module
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber
from services.quant.archive import layout
from services.quant.archive.layout import TICK_COLUMNS
from services.quant.bars import Interval
from tests.market.hub_readers import Reader
from tests.market.recorder import RecordedMarket, recorder, ticks
from tests.market.ticks import SYMBOL, batch, tick


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes the bytes of a file up to this size, and none behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def log_of(folder: Path) -> Path:
    return max(folder.glob("wal-*"))


async def test_what_a_full_disk_took_half_of_is_whole_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = ticks(60)
    async with recorder(tmp_path, kill=True) as one:
        one.begin_epoch("a")
        one.publish(*sent[:20])
        await one.recorder.flush()
        size = log_of(tmp_path).stat().st_size
        for first in (20, 30):
            one.publish(*sent[first : first + 10])
            with files_of_at_most(size + 300), pytest.raises(OSError, match="too large"):
                await one.recorder.flush()
        assert "too large" in one.recorder.failure
        assert log_of(tmp_path).stat().st_size == size
        assert await one.all_ticks() == sent[:40]
        one.publish(*sent[40:])
        await one.recorder.flush()
        assert not one.recorder.failure
    said = [record.message for record in caplog.records if "the log of ticks" in record.message]
    assert ["again" in line for line in said] == [False, True]
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent
        assert two.recorder.position == Position("a", 60)


async def test_a_full_disk_is_tried_again_until_it_takes_everything(tmp_path: Path) -> None:
    sent = ticks(30)
    async with recorder(tmp_path, flush_s=0.01, checkpoint_s=0.01) as one:
        task = asyncio.create_task(one.recorder.run())
        with files_of_at_most(1):
            one.publish(*sent)
            while not one.recorder.failure:
                await asyncio.sleep(0)
            assert await one.all_ticks() == sent
        while one.recorder.failure:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent


async def test_a_kill_while_it_archives_loses_nothing_that_was_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = ticks(500)
    go_on = threading.Event()
    async with recorder(tmp_path / "a", kill=True) as one:
        one.begin_epoch("a")
        one.publish(*sent[:200])
        archive = one.store.archive
        monkeypatch.setattr(one.store, "archive", lambda *args: (go_on.wait(), archive(*args)))
        checkpoint = asyncio.create_task(one.recorder.checkpoint())
        one.publish(*sent[200:400])
        async with asyncio.timeout(20):
            await one.recorder.flush()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        one.publish(*sent[400:])
        assert await one.all_ticks() == sent
        go_on.set()
        await checkpoint
        assert await one.all_ticks() == sent
    async with recorder(tmp_path / "b") as two:
        assert await two.all_ticks() == sent[:400]
        assert two.recorder.position == Position("a", 400)
        two.bars.close_all()
        bars = await two.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert [bar.volume for bar in bars] == [119, 120, 120, 41]


@pytest.mark.slow
@pytest.mark.parametrize("stop_comes", ["while it works", "while it is started"])
async def test_a_stop_waits_for_no_process_that_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_comes: str
) -> None:
    sent = ticks(500)
    starting, go_on, stopped = threading.Event(), threading.Event(), threading.Event()
    start = subprocess.Popen

    def start_and_stop(*args: Any, **kwargs: Any) -> Any:
        starting.set()
        go_on.wait()
        process = start(*args, **kwargs)
        process.send_signal(signal.SIGSTOP)  # it ends by no other way than a kill
        stopped.set()
        return process

    monkeypatch.setattr(archive_work.subprocess, "Popen", start_and_stop)
    async with recorder(tmp_path) as one:
        one.begin_epoch("a")
        one.publish(*sent)
        checkpoint = asyncio.create_task(one.recorder.checkpoint(apart=True))
        await asyncio.to_thread(starting.wait)
        if stop_comes == "while it works":
            go_on.set()
            await asyncio.to_thread(stopped.wait)
        checkpoint.cancel()
        await asyncio.sleep(0)  # it is cancelled
        go_on.set()
        async with asyncio.timeout(60):
            await asyncio.wait([checkpoint])
        assert await one.all_ticks() == sent
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == sent


@pytest.mark.slow
async def test_a_follower_that_leaves_ends_no_process_that_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    dump = pickle.dump

    def wait_and_dump(*args: Any) -> None:
        started.set()
        go_on.wait()
        dump(*args)

    monkeypatch.setattr(archive_work.pickle, "dump", wait_and_dump)
    async with recorder(tmp_path) as one:
        one.begin_epoch("a")
        sent = ticks(500)
        one.publish(*sent)
        checkpoint = asyncio.create_task(one.recorder.checkpoint(apart=True))
        await asyncio.to_thread(started.wait)
        log = asyncio.create_task(anext(one.recorder.read_log(1 << 20)))
        await asyncio.sleep(0)
        log.cancel()
        await asyncio.wait([log])
        go_on.set()
        await checkpoint
        assert await one.all_ticks() == sent


async def test_bars_go_on_exactly_after_a_kill_though_ticks_came_while_they_were_dumped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_SLICE_S", 0)
    symbols = [f"rb{number}.SHFE" for number in range(2601, 2613)]
    sent = [tick(number, symbol, volume=number * 2.0) for number in range(1, 300) for symbol in symbols]

    async def closed(market: RecordedMarket) -> list[list[object]]:
        return [await market.history.list_bars(one, Interval.MINUTE, None, None, None, 100) for one in symbols]

    async with recorder(tmp_path / "whole") as whole:
        whole.begin_epoch("a")
        whole.publish(*sent)
        whole.bars.close_all()
        expected = await closed(whole)
    async with recorder(tmp_path / "killed", kill=True) as one:
        one.begin_epoch("a")
        rest = iter(sent)
        one.publish(*(next(rest) for _ in range(1000)))
        checkpoint = asyncio.create_task(one.recorder.checkpoint())
        while not checkpoint.done():
            one.publish(*(tick for _, tick in zip(range(7), rest, strict=False)))
            await asyncio.sleep(0)
        assert not checkpoint.exception()
        await one.recorder.flush()
    async with recorder(tmp_path / "killed") as two:
        two.publish(*rest)
        two.bars.close_all()
        assert await closed(two) == expected


async def test_a_restart_has_the_ticks_that_streams_resume_from_and_the_position(tmp_path: Path) -> None:
    sent = ticks(1000)
    async with recorder(tmp_path) as one:
        one.begin_epoch("a")
        for first in range(0, 1000, 100):
            one.publish(*sent[first : first + 100])
            await one.recorder.checkpoint()
    async with recorder(tmp_path) as two:
        assert two.recorder.position == two.hub.position == Position("a", 1000)
        two.begin_epoch("a", position=1000)
        subscriber = LosslessSubscriber("1", "alice", frozenset({SYMBOL}), TickControlMessages(), 1e6, 4096)
        two.hub.add(subscriber, {SYMBOL: 400}, "a")
        reader = Reader(subscriber)
        while reader.ticks()[-1:] != [1000]:
            await reader.next()
        assert reader.ticks() == list(range(401, 1001))
        assert not reader.gaps()


async def test_the_log_that_is_kept_is_bounded(tmp_path: Path) -> None:
    async with recorder(tmp_path, log_keep_mb=1) as one:
        one.begin_epoch("a")
        for first in range(1, 20_001, 2000):
            one.publish(*ticks(2000, first=first))
            await one.recorder.checkpoint()
    assert sum(path.stat().st_size for path in tmp_path.glob("wal-*")) < 1 << 20
    async with recorder(tmp_path) as two:
        kept = [one for one in two.restored if isinstance(one, pb.Tick)]
        assert kept[-1].sequence == 20_000 and 4000 < len(kept) < 20_000


async def test_a_folder_of_the_version_before_opens(tmp_path: Path) -> None:
    sent = ticks(30)
    columns = {name: [getattr(one, name) for one in sent[:20]] for name in TICK_COLUMNS}
    layout.ticks(tmp_path).write(SYMBOL, 20261120, 1, columns)
    messages = (batch(*sent[20:25]), batch(*sent[25:]), b"torn")
    records = [struct.pack("<II", len(message), zlib.crc32(message)) + message for message in messages]
    (tmp_path / "journal-00000002").write_bytes(b"".join(records)[:-2])
    last = base64.b64encode(batch(sent[19])).decode()
    state = {"checkpoint": 1, "bars": {SYMBOL: {"volume": 20.0}}, "last_frames": {SYMBOL: last}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    for _ in range(2):
        async with recorder(tmp_path) as one:
            assert await one.all_ticks() == sent
            assert one.recorder.position == Position("", 0)
    assert not list(tmp_path.glob("journal-*"))


async def test_a_folder_is_one_processs(tmp_path: Path) -> None:
    async with recorder(tmp_path) as one:
        one.publish(*ticks(3))
        with pytest.raises(StartError, match="in use by process"):
            await RecordedMarket(tmp_path).restore()
        assert await one.all_ticks() == ticks(3)
    async with recorder(tmp_path) as two:
        assert await two.all_ticks() == ticks(3)


async def test_a_feeds_end_says_what_was_delivered_and_what_is_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with recorder(tmp_path, kill=True) as one:
        one.begin_epoch("a")
        one.publish(*ticks(400))
        await one.recorder.flush()
    async with recorder(tmp_path) as two:
        two.begin_epoch("a", position=400)
        two.publish(*ticks(200, first=401))
        await two.recorder.end_feed(600)
        assert "600 ticks delivered, 600 stored" in caplog.text
        two.begin_epoch("b", position=10)  # ten were lost before it came
        two.publish(*ticks(5))
        await two.recorder.end_feed(15)
        assert "15 ticks delivered, 5 stored" in caplog.text
        assert caplog.records[-1].levelno == logging.WARNING


async def test_a_feed_that_waits_for_the_archive_keeps_the_loop_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder(tmp_path, history_backlog_mb=1, flush_s=60.0) as market:
        archive, may_archive = market.store.archive, threading.Event()

        def slow(*arguments: Any) -> None:
            assert may_archive.wait(120)
            archive(*arguments)

        monkeypatch.setattr(market.store, "archive", slow)
        market.begin_epoch("e1")
        for first in range(1, 10_000, 500):
            market.publish(*[tick(n) for n in range(first, first + 500)])
        flushes = 0
        flush = market.recorder.flush

        async def counted() -> None:
            nonlocal flushes
            flushes += 1
            await flush()

        monkeypatch.setattr(market.recorder, "flush", counted)
        running = asyncio.create_task(market.recorder.run())
        waiting = asyncio.create_task(market.recorder.wait_for_capacity())
        for _ in range(300):
            await asyncio.sleep(0)
            await asyncio.to_thread(lambda: None)
        assert not waiting.done()
        may_archive.set()
        await asyncio.wait_for(waiting, 120)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert flushes < 10
