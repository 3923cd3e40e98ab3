"""History: what was recorded of ticks and bars, on disk and not yet there, and the open bars across restarts.

Every `flush_s` the new ticks are appended to the journal. At a checkpoint (every `checkpoint_s`, after so many bytes,
at a feed's end and at stop) the journal's ticks and the bars closed since go to the archive, the open bars and last
ticks to `state.json`, and a new journal begins. A start loads the state and takes the journal's ticks once more:
`kill -9` loses at most the ticks of the last `flush_s`, and of bars no more than these ticks.

Ticks and bars come in on the event loop; one thread writes, other threads read.

A symbol's history is of one market. Where a real gateway takes a symbol over from a simulated one, what was recorded
before is read no more; where a simulated one serves a symbol that a real one has served, it is not recorded.
"""

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

from redfire.market.v1 import market_pb2 as pb

from services.market.bars.bars import Bar, Bars, Interval
from services.market.convert import LATEST_NS, parse_ticks, tick_from_row
from services.market.local_clock import LocalClock
from services.market.recording import tick_wal
from services.market.recording.tick_columns import tick_columns
from services.market.settings import MarketSettings
from services.market.ticks.frames import split
from services.quant.archive import layout
from services.quant.archive.archive import Archive, MovedError
from services.quant.archive.layout import BAR_COLUMNS

_log = logging.getLogger(__name__)

R = TypeVar("R")
Ticks = Sequence[pb.Tick]
_FLUSH_BYTES = 2 << 20
_LONGEST_HOLIDAY_DAYS = 15
"""A night session belongs to the trading day after the holiday."""


@dataclass(slots=True)
class Mark:
    """How far a symbol is recorded."""

    sequence: int = 0
    newest_ns: int = 0
    known_until_ns: int = 0
    """A replay that begins again is not recorded up to here: it is in the archive already."""
    gateway: str = ""
    """Of the last tick."""


@dataclass(slots=True)
class Segment:
    """What is not in the archive yet: batches of ticks, closed bars, and the checkpoint that will cover them."""

    checkpoint: int
    batches: list[bytes] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    bytes: int = 0


class History:
    """Records what the hub publishes, and reads it again."""

    def __init__(
        self,
        folder: Path,
        settings: MarketSettings,
        clock: LocalClock,
        bars: Bars,
        last_frames: Callable[[], dict[str, bytes]],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._open_bars = bars
        self._last_frames = last_frames
        self._ticks = layout.ticks(folder)
        self._bars = layout.bars(folder)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="market-history")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="market-query")
        self._journal: tick_wal.Journal | None = None
        self._segment = Segment(1)
        self._closing: Segment | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._marks: dict[str, Mark] = {}
        self._checkpointed_at = time.monotonic()
        self._kick = asyncio.Event()
        self._room = asyncio.Event()
        self._busy = asyncio.Lock()
        self._touched: tuple[list[tuple[str, int]], ...] = ([], [])
        self._stopping = False
        self._real_gateways: frozenset[str] = frozenset()
        # By symbol that a real gateway served: from when on what was recorded counts.
        self._real_from: dict[str, int] = {}
        self.dropped_ticks = 0

    def record(self, frames: Sequence[bytes], ticks: Ticks) -> None:
        """Take a batch of ticks (event loop)."""
        marks, known = self._marks, False
        for tick in ticks:
            symbol, sequence, time_ns = tick.symbol, tick.sequence, tick.time_ns
            mark = marks.get(symbol)
            if mark is None:
                mark = marks[symbol] = Mark()
            elif sequence != mark.sequence + 1 and time_ns <= mark.newest_ns:
                mark.known_until_ns = mark.newest_ns
            mark.sequence = sequence
            if tick.gateway != mark.gateway:
                self.move(symbol, tick.gateway)
            if time_ns > mark.newest_ns:
                mark.newest_ns = time_ns
            elif time_ns <= mark.known_until_ns:
                known = True
        if known or self._real_from:
            frames = [
                frame
                for frame, tick in zip(frames, ticks, strict=True)
                if tick.time_ns > marks[tick.symbol].known_until_ns
                and not (tick.symbol in self._real_from and self._is_simulated(tick.gateway))
            ]
        if not frames:
            return
        if self.held_bytes > self._settings.history_backlog_mb << 20:
            self.dropped_ticks += len(frames)
            return
        batch = b"".join(frames)
        self._pending.append(batch)
        self._pending_bytes += len(batch)
        if self._pending_bytes > _FLUSH_BYTES:
            self._kick.set()

    def record_bar(self, bar: Bar) -> None:
        """Take a closed bar (event loop)."""
        if bar.symbol in self._real_from and self._is_simulated(self._marks[bar.symbol].gateway):
            return
        self._segment.bars.append(bar)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Which gateways are not simulated; until it is known, no market is told from another."""
        self._real_gateways = frozenset(names)
        for symbol, mark in self._marks.items():
            if mark.gateway in self._real_gateways and symbol not in self._real_from:
                self._begin_real(symbol, 0)

    def move(self, symbol: str, gateway: str) -> None:
        """Another gateway serves the symbol from now on (event loop)."""
        mark = self._marks.get(symbol)
        if mark is None:
            return
        before, mark.gateway = mark.gateway, gateway
        if gateway not in self._real_gateways or symbol in self._real_from:
            return
        if before and before not in self._real_gateways:
            _log.info("%s is %s's now: what %s told of it is no part of its history", symbol, gateway, before)
            self._begin_real(symbol, mark.newest_ns + 1)
        else:
            self._begin_real(symbol, 0)

    def _is_simulated(self, gateway: str) -> bool:
        return bool(self._real_gateways) and gateway not in self._real_gateways

    def _begin_real(self, symbol: str, from_ns: int) -> None:
        self._real_from[symbol] = from_ns
        for archive in (self._ticks, self._bars):
            self._writer.submit(archive.supersede, symbol, from_ns)

    @property
    def held_bytes(self) -> int:
        """Ticks in memory that are not in the archive yet."""
        closing = self._closing.bytes if self._closing is not None else 0
        return self._pending_bytes + self._segment.bytes + closing

    async def wait_for_room(self) -> None:
        """For a feed that can wait: until the disk has caught up."""
        while self.held_bytes > self._settings.history_backlog_mb << 19:
            self._room.clear()
            self._kick.set()
            await self._room.wait()

    async def restore(self, take: Callable[[Sequence[bytes], Ticks], None]) -> None:
        """Go on where the last run stopped: open bars, and the last ticks through `take`, the journal's in order."""
        state, batches = await self._write(self._load)
        self._real_from = await self._write(self._ticks.superseded)
        self._segment.checkpoint = state.get("checkpoint", 0) + 1
        self._open_bars.load(state.get("bars", {}))
        frames = [base64.b64decode(text) for text in state.get("last_frames", {}).values()]
        last = parse_ticks(b"".join(frames))
        for tick in last:
            self._marks[tick.symbol] = Mark(tick.sequence, tick.time_ns, gateway=tick.gateway)
        take(frames, last)
        for batch in batches:
            ticks = parse_ticks(batch)
            for tick in ticks:
                self._open_bars.on_tick(tick)
                mark = self._marks.setdefault(tick.symbol, Mark())
                mark.sequence, mark.newest_ns = tick.sequence, max(tick.time_ns, mark.newest_ns)
                mark.gateway = tick.gateway
            take(split(batch), ticks)
            self._segment.batches.append(batch)
            self._segment.bytes += len(batch)

    async def run(self) -> None:
        """Flush and checkpoint until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._settings.flush_s):
                    await self._kick.wait()
            except TimeoutError:
                pass
            self._kick.clear()
            await self.flush()
            full = self._segment.bytes > self._settings.checkpoint_mb << 20
            due = time.monotonic() - self._checkpointed_at > self._settings.checkpoint_s
            if full or (due and (self._segment.batches or self._segment.bars)):
                await self.checkpoint()
            self._room.set()

    async def flush(self) -> None:
        """Append what is new to the journal."""
        async with self._busy:
            batch = self._take_pending()
            if batch:
                await self._write(self._append, batch)

    async def checkpoint(self) -> None:
        """Move everything to the archive. When that fails, nothing is lost: the next one tries again."""
        async with self._busy:
            # No await from here to the call of _write: segment and state are of the same moment.
            batch = self._take_pending()
            closing = self._closing = self._segment
            self._segment = Segment(closing.checkpoint + 1)
            frames = {symbol: base64.b64encode(data).decode() for symbol, data in self._last_frames().items()}
            state = {"checkpoint": closing.checkpoint, "bars": self._open_bars.dump(), "last_frames": frames}
            self._checkpointed_at = time.monotonic()
            job = asyncio.ensure_future(self._write(self._archive, closing, batch, state))
            try:
                await asyncio.shield(job)
            except asyncio.CancelledError:
                await job  # the thread goes on, so its outcome counts
                raise
            except Exception:
                newer = self._segment
                closing.batches += newer.batches
                closing.bars += newer.bars
                closing.bytes += newer.bytes
                self._segment = closing
                raise
            finally:
                self._closing = None
        await self._write(self._compact)

    async def close(self) -> None:
        """The last checkpoint."""
        self._stopping = True
        await self.checkpoint()
        if self._journal is not None:
            self._journal.close()
        self._writer.shutdown()
        self._readers.shutdown(cancel_futures=True)

    async def list_ticks(
        self, symbol: str, start_ns: int | None, end_ns: int | None, after: tuple[int, int] | None, limit: int
    ) -> list[pb.Tick]:
        """At most `limit` ticks from `start_ns` on and before `end_ns`, oldest first, after a (time, sequence)."""
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        low = max(low, after[0]) if after else low
        since = max(low, self._real_from.get(symbol, 0))

        def read(segments: list[Segment], until: int) -> list[pb.Tick]:
            ticks = (tick for segment in segments for batch in segment.batches for tick in parse_ticks(batch))
            fresh = sorted((t for t in ticks if t.symbol == symbol and since <= t.time_ns < high), key=_tick_order)
            found = merge(self._archived_ticks(symbol, low, high, until), fresh, key=_tick_order)
            return list(islice((tick for tick in found if after is None or _tick_order(tick) > after), limit))

        return await self._read(read)

    async def list_bars(
        self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None, after: int | None, limit: int
    ) -> list[Bar]:
        """At most `limit` closed bars that start from `start_ns` on and before `end_ns`, oldest first."""
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        low = max(low, after + 1) if after is not None else low
        since = max(low, self._real_from.get(symbol, 0))

        def read(segments: list[Segment], until: int) -> list[Bar]:
            days = self._days(self._bars, symbol, low, high)
            archived = (bar for day in days for bar in self._archived_bars(symbol, interval, day, low, high, until))
            found = merge(archived, _fresh_bars(segments, symbol, interval, since, high), key=_bar_order)
            # The same bar again is a replay's that was run twice: the later one counts.
            return list(islice((list(same)[-1] for _, same in groupby(found, key=_bar_order)), limit))

        return await self._read(read)

    async def bars_before(self, symbol: str, interval: Interval, end_ns: int | None, count: int) -> list[Bar]:
        """The last `count` closed bars that start before `end_ns`, oldest first."""
        high = LATEST_NS if end_ns is None else end_ns
        since = self._real_from.get(symbol, 0)

        def read(segments: list[Segment], until: int) -> list[Bar]:
            found: dict[int, Bar] = {}
            for day in reversed(self._days(self._bars, symbol, 0, high)):
                found.update((bar.start_ns, bar) for bar in self._archived_bars(symbol, interval, day, 0, high, until))
                if len(found) >= count:
                    break
            found.update((bar.start_ns, bar) for bar in _fresh_bars(segments, symbol, interval, since, high))
            return [found[start_ns] for start_ns in sorted(found)[-count:]] if count else []

        return await self._read(read)

    async def knows(self, symbol: str) -> bool:
        """Whether there is anything of this symbol."""
        if symbol in self._marks:
            return True

        def read() -> bool:
            return bool(self._bars.days(symbol) or self._ticks.days(symbol))

        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    def _take_pending(self) -> bytes:
        batch = b"".join(self._pending)
        self._pending = []
        self._pending_bytes = 0
        if batch:
            self._segment.batches.append(batch)
            self._segment.bytes += len(batch)
        return batch

    async def _write(self, function: Callable[..., R], *arguments: Any) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    async def _read(self, read: Callable[[list[Segment], int], list[R]]) -> list[R]:
        for _ in range(8):
            # A copy of the moment: what comes meanwhile goes into other lists.
            parts = [part for part in (self._closing, self._segment) if part is not None]
            until = parts[0].checkpoint - 1
            segments = [Segment(part.checkpoint, list(part.batches), list(part.bars)) for part in parts]
            segments[-1].batches += self._pending
            try:
                return await asyncio.get_running_loop().run_in_executor(self._readers, read, segments, until)
            except MovedError:
                continue
        raise MovedError

    # What follows runs in the writer thread.

    def _load(self) -> tuple[dict[str, Any], list[bytes]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "state.json"
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        name = _journal_name(state.get("checkpoint", 0) + 1)
        batches = list(tick_wal.read(self._folder / name))
        for other in self._folder.glob("journal-*"):
            if other.name != name:
                other.unlink()
        self._journal = tick_wal.Journal(self._folder / name)
        return state, batches

    def _append(self, batch: bytes) -> None:
        if self._journal is None:
            raise RuntimeError("restore() comes first")
        self._journal.append(batch)

    def _archive(self, closing: Segment, batch: bytes, state: dict[str, Any]) -> None:
        if batch:
            self._append(batch)
        ticks = tick_columns(closing.batches, self._clock.trading_day, self._pause)
        bars: dict[tuple[str, int], list[Bar]] = {}
        for bar in closing.bars:
            bars.setdefault((bar.symbol, bar.trading_day), []).append(bar)
        for (symbol, day), columns in ticks.items():
            self._ticks.write(symbol, day, closing.checkpoint, columns)
        for (symbol, day), rows in bars.items():
            columns = {name: [getattr(bar, name) for bar in rows] for name in BAR_COLUMNS}
            columns["checkpoint"] = [closing.checkpoint] * len(rows)
            self._bars.write(symbol, day, closing.checkpoint, columns)
        unfinished = self._folder / "state.unfinished"
        with unfinished.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        following = tick_wal.Journal(self._folder / _journal_name(closing.checkpoint + 1))
        unfinished.replace(self._folder / "state.json")
        assert self._journal is not None
        self._journal.close()
        if self._journal.path != following.path:
            self._journal.path.unlink()
        self._journal = following
        self._touched = (list(ticks), list(bars))

    def _compact(self) -> None:
        for archive, partitions in zip((self._ticks, self._bars), self._touched, strict=True):
            for symbol, day in partitions:
                archive.compact(symbol, day, self._settings.compact_files)

    def _pause(self) -> None:
        """Let the event loop's thread run, unless everything waits for the writer thread."""
        if not self._stopping:
            time.sleep(0.0001)

    # What follows runs in query threads.

    def _days(self, archive: Archive, symbol: str, low_ns: int, high_ns: int) -> list[int]:
        """Trading days that may have rows of this time, oldest first."""
        holiday_ns = _LONGEST_HOLIDAY_DAYS * Interval.DAY.length_ns
        first = self._clock.date_number(low_ns - Interval.DAY.length_ns)  # days in UTC are behind
        last = self._clock.date_number(high_ns + holiday_ns) if high_ns < LATEST_NS else 99_999_999
        return [day for day in archive.days(symbol) if first <= day <= last]

    def _archived_ticks(self, symbol: str, low_ns: int, high_ns: int, until: int) -> Iterator[pb.Tick]:
        for day in self._days(self._ticks, symbol, low_ns, high_ns):
            for row in self._ticks.rows(symbol, day, until, low_ns, high_ns, self._real_from.get(symbol, 0)):
                yield tick_from_row(symbol, row)

    def _archived_bars(
        self, symbol: str, interval: Interval, day: int, low_ns: int, high_ns: int, until: int
    ) -> Iterator[Bar]:
        for row in self._bars.rows(symbol, day, until, low_ns, high_ns, self._real_from.get(symbol, 0)):
            if row.pop("interval") == interval:
                del row["checkpoint"]
                yield Bar(symbol=symbol, interval=interval, trading_day=day, **row)


def _fresh_bars(segments: Iterable[Segment], symbol: str, interval: Interval, low_ns: int, high_ns: int) -> list[Bar]:
    bars = (bar for segment in segments for bar in segment.bars)
    wanted = (bar for bar in bars if bar.symbol == symbol and bar.interval == interval)
    return sorted((bar for bar in wanted if low_ns <= bar.start_ns < high_ns), key=_bar_order)


def _tick_order(tick: pb.Tick) -> tuple[int, int]:
    return tick.time_ns, tick.sequence


def _bar_order(bar: Bar) -> int:
    return bar.start_ns


def _journal_name(checkpoint: int) -> str:
    return f"journal-{checkpoint:08d}"
