"""Recording of ticks and bars: those on disk, those not yet there, and the open bars across restarts.

Every `flush_s` what the engine's stream said since goes to the write-ahead log. At a checkpoint (every `checkpoint_s`,
after so many bytes, at a feed's end and at stop) the log goes on in a new file, and beside, the ticks so far and the
bars closed since go to the archive, then the open bars and last ticks to `state.json`. A start loads the state and
applies the log's later records once more: `kill -9` loses at most the ticks of the last `flush_s`, and of bars no more
than these ticks. Of the log's older files so much is kept that streams can resume after a restart.

Everything comes in on the event loop. One thread logs, another one archives, so that neither waits for the other.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from redfire.engine.v1 import engine_pb2

from services.market import metrics
from services.market.recording.epoch import Epoch, Started
from services.market.recording.log_queue import LogQueue
from services.market.recording.restoring import Replay, Restored
from services.market.recording.takeovers import Takeovers
from services.market.recording.tick_store import Checkpoint, TickStore
from services.market.recording.tick_wal import Record
from services.market.recording.unarchived import Segment
from services.market.settings import MarketSettings
from services.market.ticks.position import Position
from services.quant.bars import Bar, BarBuilder, Interval, LocalClock
from services.quant.ticks.tick_batch import Run, TickBatch

_log = logging.getLogger(__name__)

R = TypeVar("R")
_FLUSH_BYTES = 2 << 20
_PART_BYTES = 512 << 10
"""Bytes of the log that are read for another replica at once."""
_SLICE_S = 0.001
"""Time that dumping open bars takes at once."""
_RETAIN_S = 3600.0
_RETRY_S = 5.0
"""Time between checkpoints while the disk takes none."""


class Recorder:
    """Records what the engine's stream says."""

    def __init__(
        self,
        store: TickStore,
        settings: MarketSettings,
        clock: LocalClock,
        bars: BarBuilder,
        last_frames: Callable[[], Mapping[str, bytes]],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._settings = settings
        self._limit = settings.history_backlog_mb << 20
        self._clock = clock
        self._open_bars = bars
        self._last_frames = last_frames
        self._now_ns = now_ns
        self._logger = ThreadPoolExecutor(1, thread_name_prefix="market-log")
        self._archiver = ThreadPoolExecutor(1, thread_name_prefix="market-archive")
        self._queue = LogQueue(store)
        self._epoch = Epoch()
        self._segment = Segment(1)
        self._log_number = 1
        self._closed: Checkpoint | None = None
        """The checkpoint that is to be archived."""
        self._dumping: Iterator[None] = iter(())
        """The dump of the open bars for it, symbol by symbol."""
        self._undumped: set[str] = set()
        """Symbols whose open bars are still to be dumped."""
        self._checkpointed_at = time.monotonic()
        self._kick = asyncio.Event()
        self._capacity = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._archiving = asyncio.Lock()
        self.takeovers = Takeovers(self._kick.set)
        self._failures: dict[str, str] = {}
        self.dropped_ticks = 0

    @property
    def failure(self) -> str:
        """The reason for which the log or the archive cannot be written or compacted now; empty when they can."""
        return next(iter(self._failures.values()), "")

    @property
    def position(self) -> Position:
        """The position that recording has reached; after `restore`, that of the last tick on disk."""
        return Position(self._epoch.name, self._epoch.position)

    def begin_epoch(self, started: Started) -> None:
        """The stream begins here: in a new epoch, or on in the present one."""
        if self._epoch.goes_on(started):
            if started.position == self._epoch.position:
                return
            self._epoch.position = started.position
        else:
            for _ in self._dumping:  # what is dumped is all of one epoch
                pass
            self._epoch = self._epoch.next(started)
        logged = self._epoch.started()
        logged.sequences.update(started.sequences)
        self._queue.add_control(engine_pb2.StreamTicksResponse(started=logged), self._epoch.position)

    def record(self, batch: TickBatch) -> None:
        """Take a batch of ticks; `reach` says where in the epoch that is (event loop)."""
        runs, count = batch.runs(), len(batch)
        self.takeovers.follow(runs)
        frames = batch.frames() if batch.control else [batch.data]
        if self.takeovers.any:
            runs = self.takeovers.recorded(runs)
            frames = [frame for run in runs for frame in run.frames]
            count = len(frames)
        if not count:
            return
        if self.held_bytes > self._limit:
            self._drop(count)
            return
        self._keep(runs, count, self._epoch)
        self._queue.add_ticks(frames)
        if self._queue.pending_bytes > _FLUSH_BYTES:
            self._kick.set()

    def _keep(self, runs: Sequence[Run], count: int, epoch: Epoch) -> None:
        self._segment.add(runs, epoch.number, self._clock)
        epoch.recorded += count

    def _drop(self, count: int) -> None:
        if not self.dropped_ticks:
            _log.error("the disk does not keep up: ticks are published, but not recorded")
        self.dropped_ticks += count
        metrics.unrecorded.inc(count)

    def reach(self, position: int) -> None:
        """The ticks up to this position of the epoch are recorded."""
        self._epoch.position = self._queue.position = position

    def record_watermarks(self, watermarks_ns: Mapping[str, int]) -> None:
        """Take what a heartbeat said of the exchanges' time: bars that were closed by it are closed again by it."""
        if self.held_bytes > self._limit:
            return
        heartbeat = engine_pb2.StreamTicksResponse.Heartbeat(watermarks_ns=watermarks_ns)
        self._queue.add_control(engine_pb2.StreamTicksResponse(heartbeat=heartbeat), self._epoch.position)

    def record_bar(self, bar: Bar) -> None:
        """Take a closed bar (event loop)."""
        if not self.takeovers.records_bars(bar.symbol):
            return
        # What is not in the dump that goes with the closed segment belongs to that segment.
        segment = self._closed.segment if self._closed and bar.symbol in self._undumped else self._segment
        segment.bars.append(bar)

    def unarchived(self) -> list[Segment]:
        """The segments that are not in the archive yet, oldest first. Rows are only added to them."""
        return [self._closed.segment, self._segment] if self._closed is not None else [self._segment]

    @property
    def held_bytes(self) -> int:
        """About what ticks in memory take that are not in the archive yet."""
        return self._segment.size + (self._closed.segment.size if self._closed is not None else 0)

    async def wait_for_capacity(self) -> None:
        """Wait until the disk has caught up, for a feed that can wait."""
        while self.held_bytes > self._limit >> 1:
            self._capacity.clear()
            self._kick.set()
            await self._capacity.wait()

    async def restore(self, restored: Restored) -> None:
        """Go on where the last run stopped: open bars, the ticks that streams may resume from, and the position."""
        state, logs = await self._run(self._logger, self._store.load)
        self.takeovers.restore(await self._run(self._logger, self._store.superseded))
        self._segment.checkpoint = state.get("checkpoint", 0) + 1
        replay = Replay(restored, self._open_bars, self._restore_ticks, state)
        for log in [log for log in logs if log.archived]:
            replay.apply_archived(await self._run(self._logger, list, log.records()))
        self.takeovers.follow(replay.apply_state().runs())
        for log in [log for log in logs if not log.archived]:
            replay.apply(await self._run(self._logger, list, log.records()), log.number)
        self._epoch = replay.epoch
        if self._epoch.name:
            restored.begin_epoch(self._epoch.started())
        self._queue.position = self._epoch.position
        self._log_number = await self._run(self._logger, self._store.open)

    def _restore_ticks(self, batch: TickBatch, epoch: Epoch) -> None:
        runs = batch.runs()
        self.takeovers.follow(runs)
        self._keep(runs, len(batch), epoch)

    async def run(self) -> None:
        """Flush until cancelled, and checkpoint beside."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._retain())
            beside: asyncio.Task[None] | None = None
            while True:
                try:
                    async with asyncio.timeout(self._settings.flush_s):
                        await self._kick.wait()
                except TimeoutError:
                    pass
                self._kick.clear()
                with contextlib.suppress(OSError):  # it is logged, and tried again
                    await self.flush()
                if self._is_due() and (beside is None or beside.done()):
                    beside = group.create_task(self._checkpoint_beside())

    def _is_due(self) -> bool:
        since_s = time.monotonic() - self._checkpointed_at
        if self._closed is not None and since_s < _RETRY_S:  # one that failed
            return False
        full = self._segment.size > min(self._settings.checkpoint_mb << 20, self._limit >> 2)
        has_rows = bool(self._segment.ticks or self._segment.bars or self._closed)
        return full or (has_rows and since_s > self._settings.checkpoint_s)

    async def _checkpoint_beside(self) -> None:
        try:
            await self.checkpoint(apart=True)
            await self.compact(apart=True)
        except OSError:
            pass  # it is logged, and tried again
        except Exception:
            _log.exception("history cannot be archived")

    async def flush(self) -> None:
        """Append what is new to the write-ahead log, after takeovers of real gateways are noted.

        Raises: OSError when the disk does not take it; it waits, and the next one tries again.
        """
        async with self._flushing:
            with self._noting_failure("the log of ticks"):
                if takeovers := self.takeovers.unnoted:
                    await self._run(self._logger, self._store.supersede, takeovers)
                    self.takeovers.note(takeovers)
                self._queue.close_run()
                await self._run(self._logger, self._queue.write)

    async def read_log(self, max_bytes: int) -> AsyncGenerator[list[Record], None]:
        """Yield the log as far as it is kept, in parts, oldest records first: what is new by now is in it, too."""
        with contextlib.suppress(OSError):  # it is logged; what the disk did not take is not in it
            await self.flush()
        records = self._store.read_logs(max_bytes)
        while part := await self._run(self._logger, _part, records):
            yield part

    async def checkpoint(self, *, apart: bool = False) -> None:
        """Move everything to the archive. When that fails, nothing is lost: the next one tries again.

        `apart`: in a process of its own.

        Raises: OSError when the disk does not take it.
        """
        async with self._archiving:
            self._checkpointed_at = time.monotonic()
            if self._closed is not None:  # one that failed
                await self._archive(self._closed, apart)
            await self._archive(await self._close_segment(), apart)

    async def compact(self, *, apart: bool = False) -> None:
        """Make one file of the many small ones of partitions of the last checkpoint. Raises: OSError."""
        with self._noting_failure("small files of ticks", "compacted", "they stay as they are"):
            await self._run(self._archiver, self._store.compact, apart)

    async def remove_old(self) -> None:
        """Remove ticks and bars that are older than they are to be kept. Raises: OSError."""
        settings = self._settings
        for kind, days in (("ticks", settings.retention_days), ("bars", settings.bar_retention_days)):
            if days:
                before_ns = self._now_ns() - days * Interval.DAY.length_ns
                before_day = self._clock.date_number(before_ns)
                removed = await self._run(self._archiver, self._store.remove_old, kind, before_day, before_ns)
                if removed:
                    _log.info("%d files of %s from before %d were removed", removed, kind, before_day)

    async def _retain(self) -> None:
        while True:
            try:
                await self.remove_old()
            except OSError as error:
                _log.warning("old history cannot be removed: %s", error)
            await asyncio.sleep(_RETAIN_S)

    async def end_feed(self, position: int, gateway: str = "") -> None:
        """A gateway's replay has ended: archive it, and say what of it is stored."""
        ended = engine_pb2.StreamTicksResponse.FeedEnded(position=position, gateway_name=gateway)
        self._queue.add_control(engine_pb2.StreamTicksResponse(feed_ended=ended), position)
        try:
            await self.checkpoint()
        except OSError as error:
            _log.error("the feed has ended, and is not archived yet: %s", error)
        stored = self._epoch.recorded if self._queue.is_empty else 0
        level = logging.INFO if stored == position else logging.WARNING
        _log.log(level, "the feed has ended: %d ticks delivered, %d stored", position, stored)

    async def close(self, *, archives: bool = True) -> None:
        """Make the last checkpoint and close the files; without it the log has all that is not archived."""
        self._store.stop_pausing()
        try:
            await self.flush()  # a checkpoint that is under way is waited for
            if archives:
                await self.checkpoint()
        finally:
            self._archiver.shutdown()
            self._logger.shutdown()
            self._store.close()

    async def abandon(self) -> None:
        """Close the files as they are: another process goes on, from what is on disk."""
        self._store.interrupt()
        for executor in (self._archiver, self._logger):
            await asyncio.to_thread(executor.shutdown)
        self._store.close()

    async def _close_segment(self) -> Checkpoint:
        """Begin a new segment and file of the log; dump the open bars slice by slice, so that ticks go on."""
        self._log_number += 1
        started = engine_pb2.StreamTicksResponse(started=self._epoch.started())
        self._queue.rotate(self._log_number, started, self._epoch.position)
        closed = Checkpoint(
            self._segment,
            self._log_number,
            self._epoch.dump(),
            last_frames=dict(self._last_frames()),
            watermarks_ns=self._open_bars.watermarks_ns,
        )
        self._segment = Segment(closed.segment.checkpoint + 1)
        self._closed = closed
        self._undumped = {bars.symbol for bars in self._open_bars}
        self._dumping = self._dump(closed)
        try:
            until = time.monotonic() + _SLICE_S
            for _ in self._dumping:
                if time.monotonic() > until:
                    await asyncio.sleep(0)
                    until = time.monotonic() + _SLICE_S
        finally:
            for _ in self._dumping:  # half a dump is worth nothing
                pass
        return closed

    def _dump(self, closed: Checkpoint) -> Iterator[None]:
        for bars in list(self._open_bars):
            closed.bars[bars.symbol] = bars.dump()
            self._undumped.discard(bars.symbol)
            self._queue.close_run()
            if self._queue.records > 1:
                closed.marks[bars.symbol] = self._queue.records
            yield

    async def _archive(self, closed: Checkpoint, apart: bool) -> None:
        await self.flush()  # the state names the new file of the log, so it must be there
        with self._noting_failure("the archive of ticks"):
            await self._run(self._archiver, self._store.archive, closed, apart)
        self._closed = None
        self._capacity.set()

    @contextlib.contextmanager
    def _noting_failure(
        self, what: str, done: str = "written", meanwhile: str = "what is new waits in memory"
    ) -> Iterator[None]:
        """Say once that something cannot be done to the log or the archive, and once that it can again."""
        try:
            yield
        except OSError as error:
            metrics.history_failures.inc()
            if what not in self._failures:
                _log.error("%s cannot be %s: %s; %s", what, done, error, meanwhile)
            self._failures[what] = f"{what}: {error}"
            raise
        if self._failures.pop(what, None):
            _log.warning("%s can be %s again", what, done)

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[..., R], *arguments: Any) -> R:
        """Run in a thread, to its end: what it did counts, also when this is cancelled meanwhile."""
        job = asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if executor is self._archiver:
                # The last checkpoint does what the archiving process has not done, and waits for nobody's turn.
                self._store.interrupt()
            await asyncio.gather(job, return_exceptions=True)
            raise


def _part(records: Iterator[Record]) -> list[Record]:
    part, size = list[Record](), 0
    for record in records:
        part.append(record)
        size += len(record.message)
        if size >= _PART_BYTES:
            break
    return part
