"""Recording of ticks and bars: those on disk, those not yet there, and the open bars across restarts.

Every `flush_s` what the engine's stream said since goes to the write-ahead log. At a checkpoint (every `checkpoint_s`,
after so many bytes, at a feed's end and at stop) the log goes on in a new file, and beside, the ticks so far and the
bars closed since go to the archive, then the open bars and last ticks to `state.json`. A start loads the state and
applies the log's later records once more: `kill -9` loses at most the ticks of the last `flush_s`, and of bars no more
than these ticks. Of the log's older files so much is kept that streams can resume after a restart.

Everything comes in on the event loop. One thread logs, another one archives, so that neither waits for the other.

A symbol's history is of one market. Where a real gateway takes a symbol over from a simulated one, the rows recorded
before are read no more; where a simulated one serves a symbol that a real one has served, it is not recorded.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from redfire.engine.v1 import engine_pb2

from services.market import metrics
from services.market.recording.epoch import Epoch, Started
from services.market.recording.log_queue import LogQueue
from services.market.recording.restoring import Replay, Restored
from services.market.recording.tick_store import Checkpoint, TickStore
from services.market.recording.unarchived import Segment
from services.market.settings import MarketSettings
from services.market.ticks.position import Position
from services.quant.bars import Bar, BarBuilder, LocalClock
from services.quant.ticks.tick_batch import Run, TickBatch

_log = logging.getLogger(__name__)

R = TypeVar("R")
_FLUSH_BYTES = 2 << 20
_SLICE_S = 0.001
"""Time that dumping open bars takes at once."""
_RETRY_S = 5.0
"""Time between checkpoints while the disk takes none."""


@dataclass(slots=True)
class Served:
    """A symbol's last tick: its gateway, and the latest time so far."""

    gateway: str = ""
    newest_ns: int = 0


class Recorder:
    """Records what the engine's stream says."""

    def __init__(
        self,
        store: TickStore,
        settings: MarketSettings,
        clock: LocalClock,
        bars: BarBuilder,
        last_frames: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._limit = settings.history_backlog_mb << 20
        self._clock = clock
        self._open_bars = bars
        self._last_frames = last_frames
        self._logger = ThreadPoolExecutor(1, thread_name_prefix="market-log")
        self._archiver = ThreadPoolExecutor(1, thread_name_prefix="market-archive")
        self._queue = LogQueue(store)
        self._epoch = Epoch()
        self._segment = Segment(1)
        self._log_number = 1
        self._closed: Checkpoint | None = None
        """What is to be archived."""
        self._dumping: Iterator[None] = iter(())
        """The dump of the open bars for it, symbol by symbol."""
        self._undumped: set[str] = set()
        """Symbols whose open bars are still to be dumped."""
        self._served: dict[str, Served] = {}
        self._checkpointed_at = time.monotonic()
        self._kick = asyncio.Event()
        self._capacity = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._archiving = asyncio.Lock()
        self._real_gateways: frozenset[str] = frozenset()
        # By symbol that a real gateway served: from when on what was recorded counts.
        self._real_from: dict[str, int] = {}
        self._takeovers: dict[str, int] = {}
        """Those of `_real_from` that are not on disk yet."""
        self._failures: dict[str, str] = {}
        self.dropped_ticks = 0

    @property
    def failure(self) -> str:
        """Why the log or the archive cannot be written at present; empty when they can."""
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
        self._queue.add_control(engine_pb2.StreamTicksResponse(started=self._epoch.started()), self._epoch.position)

    def record(self, batch: TickBatch) -> None:
        """Take a batch of ticks; `reach` says where in the epoch that is (event loop)."""
        served, runs, count = self._served, batch.runs(), len(batch)
        for run in runs:
            last = served.get(run.symbol)
            if last is None:
                last = served[run.symbol] = Served()
            if run.gateway != last.gateway:
                self.move(run.symbol, run.gateway)
            last.newest_ns = max(last.newest_ns, max(run.times_ns))
        frames = batch.frames() if batch.control else [batch.data]
        if self._real_from:
            runs = [run for run in runs if run.symbol not in self._real_from or not self._is_simulated(run.gateway)]
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

    def _keep(self, runs: Iterable[Run], count: int, epoch: Epoch) -> None:
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
        if bar.symbol in self._real_from and self._is_simulated(self._served[bar.symbol].gateway):
            return
        # What is not in the dump that goes with the closed segment belongs to that segment.
        segment = self._closed.segment if self._closed and bar.symbol in self._undumped else self._segment
        segment.bars.append(bar)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated; until they are known, all markets count as one."""
        self._real_gateways = frozenset(names)
        for symbol, last in self._served.items():
            if last.gateway in self._real_gateways and symbol not in self._real_from:
                self._begin_real(symbol, 0)

    def move(self, symbol: str, gateway: str) -> None:
        """Another gateway serves the symbol from now on (event loop)."""
        last = self._served.get(symbol)
        if last is None:
            return
        before, last.gateway = last.gateway, gateway
        if gateway not in self._real_gateways or symbol in self._real_from:
            return
        if before and before not in self._real_gateways:
            _log.info(
                "%s is served by %s now: rows recorded from %s are no part of its history", symbol, gateway, before
            )
            self._begin_real(symbol, last.newest_ns + 1)
        else:
            self._begin_real(symbol, 0)

    def _is_simulated(self, gateway: str) -> bool:
        return bool(self._real_gateways) and gateway not in self._real_gateways

    def _begin_real(self, symbol: str, from_ns: int) -> None:
        self._real_from[symbol] = self._takeovers[symbol] = from_ns
        self._kick.set()

    def valid_from_ns(self, symbol: str) -> int:
        """The moment from which on recorded rows of a symbol count; 0 for all of them."""
        return self._real_from.get(symbol, 0)

    def has_seen(self, symbol: str) -> bool:
        """Return true when the last tick of this symbol is known."""
        return symbol in self._served

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
        self._real_from = await self._run(self._logger, self._store.ticks.superseded)
        self._segment.checkpoint = state.get("checkpoint", 0) + 1
        replay = Replay(restored, self._open_bars, self._restore_ticks, state)
        for log in [log for log in logs if log.archived]:
            replay.apply_archived(await self._run(self._logger, list, log.records()))
        self._restore_served(replay.apply_state())
        for log in [log for log in logs if not log.archived]:
            replay.apply(await self._run(self._logger, list, log.records()), log.number)
        self._epoch = replay.epoch
        if self._epoch.name:
            restored.begin_epoch(self._epoch.started())
        self._queue.position = self._epoch.position
        self._log_number = await self._run(self._logger, self._store.open)

    def _restore_ticks(self, batch: TickBatch, epoch: Epoch) -> None:
        self._restore_served(batch)
        self._keep(batch.runs(), len(batch), epoch)

    def _restore_served(self, batch: TickBatch) -> None:
        for run in batch.runs():
            last = self._served.setdefault(run.symbol, Served())
            last.gateway, last.newest_ns = run.gateway, max(last.newest_ns, max(run.times_ns))

    async def run(self) -> None:
        """Flush until cancelled, and checkpoint beside."""
        async with asyncio.TaskGroup() as group:
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
        if self.failure and since_s < _RETRY_S:
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
                if takeovers := dict(self._takeovers):
                    await self._run(self._logger, self._store.supersede, takeovers)
                    for symbol in takeovers:
                        del self._takeovers[symbol]
                self._queue.close_run()
                await self._run(self._logger, self._queue.write)

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
        with self._noting_failure("the archive of ticks"):
            await self._run(self._archiver, self._store.compact, apart)

    async def end_feed(self, position: int) -> None:
        """A replay has ended: archive it, and say what of it is stored."""
        ended = engine_pb2.StreamTicksResponse.FeedEnded(position=position)
        self._queue.add_control(engine_pb2.StreamTicksResponse(feed_ended=ended), position)
        try:
            await self.checkpoint()
        except OSError as error:
            _log.error("the feed has ended, and is not archived yet: %s", error)
        stored = self._epoch.recorded if self._queue.is_empty else 0
        level = logging.INFO if stored == position else logging.WARNING
        _log.log(level, "the feed has ended: %d ticks delivered, %d stored", position, stored)

    async def close(self) -> None:
        """Make the last checkpoint and close the files."""
        self._store.stop_pausing()
        try:
            await self.checkpoint()
        finally:
            self._archiver.shutdown()
            self._logger.shutdown()
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
    def _noting_failure(self, what: str) -> Iterator[None]:
        """Say once that the disk does not take the log or the archive, and once that it does again."""
        try:
            yield
        except OSError as error:
            metrics.history_failures.inc()
            if what not in self._failures:
                _log.error("%s cannot be written: %s; what is new waits in memory", what, error)
            self._failures[what] = f"{what}: {error}"
            raise
        if self._failures.pop(what, None):
            _log.warning("%s can be written again", what)

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[..., R], *arguments: Any) -> R:
        """Run in a thread, to its end: what it did counts, also when this is cancelled meanwhile."""
        job = asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise
