"""Recording of ticks and bars: those on disk, those not yet there, and the open bars across restarts.

Every `flush_s` the new ticks are appended to the write-ahead log. At a checkpoint (every `checkpoint_s`, after so many
bytes, at a feed's end and at stop) the log's ticks and the bars closed since go to the archive, the open bars and last
ticks to `state.json`, and a new log begins. A start loads the state and applies the log's ticks once more: `kill -9`
loses at most the ticks of the last `flush_s`, and of bars no more than these ticks.

Ticks and bars come in on the event loop; one thread writes.

A symbol's history is of one market. Where a real gateway takes a symbol over from a simulated one, the rows recorded
before are read no more; where a simulated one serves a symbol that a real one has served, it is not recorded.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from redfire.market.v1 import market_pb2 as pb

from services.market.convert import parse_ticks
from services.market.recording.tick_store import Segment, TickStore
from services.market.settings import MarketSettings
from services.market.ticks.frames import split
from services.quant.bars import Bar, BarBuilder

_log = logging.getLogger(__name__)

R = TypeVar("R")
Ticks = Sequence[pb.Tick]
_FLUSH_BYTES = 2 << 20


@dataclass(slots=True)
class RecordedPosition:
    """Position up to which a symbol is recorded."""

    sequence: int = 0
    newest_ns: int = 0
    known_until_ns: int = 0
    """A replay that begins again is not recorded up to here: it is in the archive already."""
    gateway: str = ""
    """Gateway of the last tick."""


class Recorder:
    """Records what the hub publishes."""

    def __init__(
        self,
        store: TickStore,
        settings: MarketSettings,
        bars: BarBuilder,
        last_frames: Callable[[], dict[str, bytes]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._open_bars = bars
        self._last_frames = last_frames
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="market-history")
        self._segment = Segment(1)
        self._closing: Segment | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._recorded: dict[str, RecordedPosition] = {}
        self._checkpointed_at = time.monotonic()
        self._kick = asyncio.Event()
        self._capacity = asyncio.Event()
        self._busy = asyncio.Lock()
        self._real_gateways: frozenset[str] = frozenset()
        # By symbol that a real gateway served: from when on what was recorded counts.
        self._real_from: dict[str, int] = {}
        self._takeovers: dict[str, int] = {}
        """Those of `_real_from` that are not on disk yet."""
        self.dropped_ticks = 0

    def record(self, frames: Sequence[bytes], ticks: Ticks) -> None:
        """Take a batch of ticks (event loop)."""
        recorded, known = self._recorded, False
        for tick in ticks:
            symbol, sequence, time_ns = tick.symbol, tick.sequence, tick.time_ns
            position = recorded.get(symbol)
            if position is None:
                position = recorded[symbol] = RecordedPosition()
            elif sequence != position.sequence + 1 and time_ns <= position.newest_ns:
                position.known_until_ns = position.newest_ns
            position.sequence = sequence
            if tick.gateway != position.gateway:
                self.move(symbol, tick.gateway)
            if time_ns > position.newest_ns:
                position.newest_ns = time_ns
            elif time_ns <= position.known_until_ns:
                known = True
        if known or self._real_from:
            frames = [
                frame
                for frame, tick in zip(frames, ticks, strict=True)
                if tick.time_ns > recorded[tick.symbol].known_until_ns
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
        if bar.symbol in self._real_from and self._is_simulated(self._recorded[bar.symbol].gateway):
            return
        self._segment.bars.append(bar)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated; until they are known, all markets count as one."""
        self._real_gateways = frozenset(names)
        for symbol, position in self._recorded.items():
            if position.gateway in self._real_gateways and symbol not in self._real_from:
                self._begin_real(symbol, 0)

    def move(self, symbol: str, gateway: str) -> None:
        """Another gateway serves the symbol from now on (event loop)."""
        position = self._recorded.get(symbol)
        if position is None:
            return
        before, position.gateway = position.gateway, gateway
        if gateway not in self._real_gateways or symbol in self._real_from:
            return
        if before and before not in self._real_gateways:
            _log.info(
                "%s is served by %s now: rows recorded from %s are no part of its history", symbol, gateway, before
            )
            self._begin_real(symbol, position.newest_ns + 1)
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
        return symbol in self._recorded

    def unarchived(self) -> list[Segment]:
        """The rows that are not in the archive yet, oldest first, as they are now: later rows do not show in it."""
        parts = [part for part in (self._closing, self._segment) if part is not None]
        segments = [Segment(part.checkpoint, list(part.batches), list(part.bars)) for part in parts]
        segments[-1].batches += self._pending
        return segments

    @property
    def held_bytes(self) -> int:
        """Ticks in memory that are not in the archive yet."""
        closing = self._closing.bytes if self._closing is not None else 0
        return self._pending_bytes + self._segment.bytes + closing

    async def wait_for_capacity(self) -> None:
        """Wait until the disk has caught up, for a feed that can wait."""
        while self.held_bytes > self._settings.history_backlog_mb << 19:
            self._capacity.clear()
            self._kick.set()
            await self._capacity.wait()

    async def restore(self, take: Callable[[Sequence[bytes], Ticks], None]) -> None:
        """Go on where the last run stopped: open bars, and the last ticks through `take`, the log's in order."""
        state, batches = await self._write(self._store.load)
        self._real_from = await self._write(self._store.ticks.superseded)
        self._segment.checkpoint = state.get("checkpoint", 0) + 1
        self._open_bars.load(state.get("bars", {}))
        frames = [base64.b64decode(text) for text in state.get("last_frames", {}).values()]
        last = parse_ticks(b"".join(frames))
        for tick in last:
            self._recorded[tick.symbol] = RecordedPosition(tick.sequence, tick.time_ns, gateway=tick.gateway)
        take(frames, last)
        for batch in batches:
            ticks = parse_ticks(batch)
            self._open_bars.on_ticks(ticks)
            for tick in ticks:
                position = self._recorded.setdefault(tick.symbol, RecordedPosition())
                position.sequence, position.newest_ns = tick.sequence, max(tick.time_ns, position.newest_ns)
                position.gateway = tick.gateway
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
            self._capacity.set()

    async def flush(self) -> None:
        """Append the new ticks to the write-ahead log, after takeovers of real gateways are noted."""
        async with self._busy:
            await self._note_takeovers()
            batch = self._take_pending()
            if batch:
                await self._write(self._store.append, batch)

    async def checkpoint(self) -> None:
        """Move everything to the archive. When that fails, nothing is lost: the next one tries again."""
        async with self._busy:
            await self._note_takeovers()
            # No await from here to the call of _write: segment and state are of the same moment.
            batch = self._take_pending()
            closing = self._closing = self._segment
            self._segment = Segment(closing.checkpoint + 1)
            frames = {symbol: base64.b64encode(data).decode() for symbol, data in self._last_frames().items()}
            state = {"checkpoint": closing.checkpoint, "bars": self._open_bars.dump(), "last_frames": frames}
            self._checkpointed_at = time.monotonic()
            job = asyncio.ensure_future(self._write(self._store.archive, closing, batch, state))
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
        await self._write(self._store.compact)

    async def close(self) -> None:
        """Make the last checkpoint and close the files."""
        self._store.stop_pausing()
        await self.checkpoint()
        self._store.close()
        self._writer.shutdown()

    async def _note_takeovers(self) -> None:
        if takeovers := dict(self._takeovers):
            await self._write(self._store.supersede, takeovers)
            for symbol in takeovers:
                del self._takeovers[symbol]

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
