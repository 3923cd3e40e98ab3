"""The hub: the last tick and the recent past of every symbol, and the fan-out of each batch to its subscribers.

What a batch costs: one compiled scan, some Python for each of its symbols, and one selection of bytes per *set* of
subscribed symbols: the batch's own where that has all of them. What a subscriber costs: one append per batch, one join
and one write for all that came while its last write was in flight. Nothing is parsed or encoded, no task is made, and
everything runs on the event loop's thread between two awaits, so that registering and publishing never interleave.

Sequences are of one epoch, a run of the engine's feed: within it they grow by one, so that what is missing has a
number. A new epoch begins all rings anew, and every stream is told.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from services.market import metrics
from services.market.control_messages import TickControlMessages
from services.market.ticks.chunk import NO_SEQUENCES, Chunk, Watermarks
from services.market.ticks.open_streams import OpenStreams
from services.market.ticks.position import Position
from services.market.ticks.resumes import Resume, Resumes
from services.market.ticks.routes import Group, Route, Routes
from services.market.ticks.sinks import Sinks
from services.market.ticks.subscriber import FEED_ENDED, Subscriber
from services.market.ticks.tick_ring import MARK_BYTES, UNKNOWN
from services.market.ticks.wakes import Wakes
from services.quant.ticks.tick_batch import Run, TickBatch
from services.quant.ticks.variant import variant

_log = logging.getLogger(__name__)


class Hub:
    """Takes batches from upstream and gives them to subscribers, then to the listeners of `on_published`.

    `position` is the place in the feed behind the last batch. Listeners of `on_moved` are called for a symbol that
    another gateway serves from now on, before its first tick. One that raises hinders nobody.
    """

    def __init__(self, control: TickControlMessages, ring_bytes: int, *, is_counted: bool = True) -> None:
        """`is_counted`: metrics count its ticks; not those of a second hub of the same feed."""
        self._is_counted = is_counted
        self.paced = False
        self.position = Position()
        self._scan = variant().scanner().scan
        self._sinks = Sinks()
        self.failures = self._sinks.failures
        self._control = control
        self._routes = Routes(ring_bytes)
        self._resumes = Resumes(self._routes, control)
        self._streams = OpenStreams()
        self._tick_streams: dict[Subscriber, None] = {}
        self._capacity = asyncio.Event()
        self._drained = ""
        self._stale: frozenset[str] = frozenset()
        self._wakes = Wakes()

    def on_published(self, listener: Callable[[TickBatch], None]) -> None:
        """Register a listener of published batches."""
        self._sinks.on_published(listener)

    def on_moved(self, listener: Callable[[str, str], None]) -> None:
        """Register a listener of symbols that another gateway serves from now on: symbol, name of the gateway."""
        self._sinks.on_moved(listener)

    def on_watermarks(self, listener: Callable[[Mapping[str, int]], None]) -> None:
        """Register a listener of the exchanges' time, in its place between the batches.

        By gateway, nanoseconds since 1970: no later tick of it is of an earlier time, but for late ones.
        """
        self._sinks.on_watermarks(listener)

    @property
    def feed_ended(self) -> bool:
        """True when a replay came to its end: nothing more comes of this epoch."""
        return self._routes.feed_ended

    def find_frame(self, symbol: str) -> bytes:
        """The symbol's last tick as it came, also one of an earlier epoch; empty when none was seen."""
        route = self._routes.by_symbol.get(symbol)
        return route.ring.frame if route is not None else b""

    def last_sequence(self, symbol: str) -> int:
        """The sequence of the symbol's last tick, or of one before when none of the epoch was seen."""
        route = self._routes.by_symbol.get(symbol)
        return route.ring.sequence if route is not None else 0

    def find_stream(self, stream_id: str) -> Subscriber | None:
        """The running stream of this id."""
        return self._streams.by_id.get(stream_id)

    @property
    def stream_count(self) -> int:
        """Number of open streams."""
        return len(self._streams.by_id)

    @property
    def late(self) -> bool:
        """True while conflated streams get theirs late."""
        return self._routes.conflation.late

    @property
    def ring_bytes(self) -> int:
        """Memory that the rings take."""
        return self._routes.memory.bytes

    def streams_of(self, user_id: str) -> int:
        """Number of streams that a user has open."""
        return self._streams.of_user(user_id)

    def publish(self, batch: TickBatch) -> None:
        """Fan a batch out. It is not kept.

        A jump of a symbol's sequence is sent to its lossless subscribers as a gap; a tick seen before is dropped.
        """
        epoch, number = self.position
        self.position = Position(epoch, number + len(batch))
        if self._follows(batch.runs()):
            self._deliver(batch)
        else:
            self._publish_in_parts(batch)

    def _follows(self, runs: Sequence[Run]) -> bool:
        """Return true when every tick is the one behind its symbol's last, of the same gateway."""
        find, several = self._routes.find, len(runs) > 1
        reached: dict[str, tuple[int, str]] = {}
        for symbol, gateway, _, first, last, _, _ in runs:
            ring = find(symbol).ring
            known, before = ring.sequence, ring.gateway
            if several:
                known, before = reached.get(symbol) or (known, before)
                reached[symbol] = last, gateway or before
            if first != known + 1 and known != UNKNOWN:
                return False
            if gateway != before and gateway and before:
                return False
        return True

    def _publish_in_parts(self, batch: TickBatch) -> None:
        """Publish a batch that begins anew somewhere: what is before a gap or another gateway goes first."""
        kept: list[bytes] = []
        reached: dict[str, tuple[int, str]] = {}

        def deliver() -> None:
            if kept:
                self._deliver(self._scan(b"".join(kept)))
            kept.clear()
            reached.clear()

        for frame in batch.frames():
            (run,) = self._scan(frame).runs()
            route = self._routes.find(run.symbol)
            known, gateway = reached.get(run.symbol) or (route.ring.sequence, route.ring.gateway)
            if run.first_sequence <= known:
                if self._is_counted:
                    metrics.duplicates.inc()
                continue
            if run.first_sequence != known + 1 and known != UNKNOWN:
                deliver()
                self._lose(route, run.first_sequence - 1)
            if run.gateway != gateway and run.gateway and gateway:
                deliver()
                self._move(route, run.gateway)
            kept.append(frame)
            reached[run.symbol] = run.last_sequence, run.gateway or gateway
        deliver()

    def _deliver(self, batch: TickBatch) -> None:
        """Give ticks that follow to rings, subscribers and sinks."""
        routes = self._routes
        by_symbol, block, put = routes.by_symbol, routes.memory.block, routes.conflation.put
        watermark_of, marks = routes.watermarks_ns.get, 0
        touched: dict[Group, None] = {}
        sequences: dict[str, int] = {}
        for symbol, gateway, _, first, last, times_ns, frames in batch.runs():
            route = by_symbol[symbol]
            ring, frame = route.ring, frames[-1]
            recent = ring.recent
            if gateway:
                ring.gateway = gateway
            watermark_ns = watermark_of(ring.gateway, 0)
            if watermark_ns != ring.marked_ns and ring.needs_mark(watermark_ns, times_ns[0], len(frames)):
                ring.mark(first, watermark_ns)
                marks += 1
            ring.sequence = ring.frame_sequence = sequences[symbol] = last
            ring.frame = frame
            if len(frames) == 1:
                recent.append(frame)
                block.append(recent)
            else:
                recent.extend(frames)
                block.extend([recent] * len(frames))
            for group in route.groups:
                touched[group] = None
            put(symbol, frame, last)
        if touched:
            # Ticks that wait for nobody end a stream that is too slow for them, whatever feed runs beside them.
            live = routes.live_symbols.intersection(sequences) if self.paced else sequences.keys()
            for group in touched:
                group.offer(batch, sequences, bounded=not group.symbols.isdisjoint(live))
            self._wakes.wake(touched)
        routes.memory.count(len(batch.data) - len(batch.control) + marks * MARK_BYTES, len(batch))
        if self._resumes.waiting:
            self._resumes.advance()
        if self._is_counted:
            metrics.ticks.count += len(batch)
        self._sinks.publish(batch)

    def pass_time(self, watermarks_ns: Mapping[str, int]) -> None:
        """Give the exchanges' time to the listeners of `on_watermarks`, then to the streams that take it."""
        self._routes.watermarks_ns.update(watermarks_ns)
        self._sinks.pass_time(watermarks_ns)
        if watermarks_ns and self._streams.timed:
            watermarks = Watermarks(self._control.watermarks(watermarks_ns), gateways=frozenset(watermarks_ns))
            for stream in self._streams.timed:
                stream.offer_watermarks(watermarks)

    def move(self, symbol: str, gateway: str) -> None:
        """A gateway serves a symbol: ticks of another one are forgotten."""
        route = self._routes.by_symbol.get(symbol)
        if route is not None and gateway and route.ring.gateway and route.ring.gateway != gateway:
            self._move(route, gateway)

    def restore_epoch(self, position: Position, first_sequence: int) -> None:
        """Begin with the epoch of an earlier run of ours, as far as it had come; again when it had come further."""
        if position.epoch != self._routes.epoch:
            self._routes.begin_epoch(position.epoch, first_sequence)
        self.position = position

    def restore_time(self, watermarks_ns: Mapping[str, int]) -> None:
        """Load the exchanges' time, in its place between the ticks of `restore`."""
        self._routes.watermarks_ns.update(watermarks_ns)

    def restore(self, batch: TickBatch) -> None:
        """Load ticks of an earlier run in their order, before anybody subscribes: last ticks and rings, nothing else.

        Those of an earlier epoch than the restored one become last ticks only.
        """
        routes, marks = self._routes, 0
        for run in batch.runs():
            ring = routes.find(run.symbol).ring
            for sequence, frame in enumerate(run.frames, run.first_sequence):
                if routes.epoch is None or sequence < routes.first_sequence:
                    if ring.frame_sequence == UNKNOWN:
                        ring.frame, ring.gateway = frame, run.gateway
                    continue
                if sequence <= ring.sequence:
                    continue
                if sequence != ring.sequence + 1 or (ring.gateway and run.gateway != ring.gateway):
                    ring.clear()
                watermark_ns = routes.watermarks_ns.get(run.gateway, 0)
                if watermark_ns != ring.marked_ns and ring.needs_mark(watermark_ns, run.times_ns[0], len(run.frames)):
                    ring.mark(sequence, watermark_ns)
                    marks += 1
                ring.sequence = ring.frame_sequence = sequence
                ring.frame, ring.gateway = frame, run.gateway
                ring.recent.append(frame)
                routes.memory.block.append(ring.recent)
        routes.memory.count(len(batch.data) - len(batch.control) + marks * MARK_BYTES, len(batch))

    def last_frames(self) -> dict[str, bytes]:
        """Each symbol's last tick as it came, whatever epoch it is of."""
        return {symbol: route.ring.frame for symbol, route in self._routes.by_symbol.items() if route.ring.frame}

    def register(self, subscriber: Subscriber) -> None:
        """Open a stream that another publisher feeds and ends; it counts and holds back a paced feed as others."""
        self._streams.add(subscriber)
        if self._drained:
            subscriber.end(self._drained)

    def add(self, subscriber: Subscriber, resume_after: Mapping[str, int] = NO_SEQUENCES, epoch: str = "") -> None:
        """Open a stream: its snapshot (or what was missed) first, then everything that is published from now on.

        A resume in an epoch that is not known yet waits until upstream says what the present one is.
        """
        self._streams.add(subscriber)
        self._tick_streams[subscriber] = None
        after = {symbol: max(resume_after[symbol], 0) for symbol in subscriber.symbols if symbol in resume_after}
        self._resumes.open(subscriber, Resume(epoch, after))
        if not self._routes.connected or not self._stale.isdisjoint(subscriber.symbols):
            subscriber.offer_state(self._state_of(subscriber))
        if self._drained:
            subscriber.end(self._drained)
        elif self._routes.has_ended(subscriber.symbols):
            subscriber.end(FEED_ENDED)

    def change(self, subscriber: Subscriber, added: Iterable[str], removed: Iterable[str]) -> None:
        """Change what a stream carries; symbols that it carries already are left as they are."""
        self._resumes.change(subscriber, added, removed)

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a stream whose reader left."""
        if self._streams.remove(subscriber):
            self._tick_streams.pop(subscriber, None)
            self._resumes.close(subscriber)
            self._capacity.set()

    def begin_feed(
        self,
        position: Position,
        *,
        first_sequence: int = 0,
        sequences: Mapping[str, int] = NO_SEQUENCES,
        paced: bool = False,
    ) -> None:
        """Go on with the feed behind this place, in its epoch, whose sequences begin with `first_sequence`.

        `sequences` are those that symbols had come to at this place, or nothing where it is the one that was asked for:
        what of them did not come here is lost, and streams are told at once.
        """
        routes, said = self._routes, self._routes.epoch
        self.paced, routes.feed_ended = paced, False
        if position.epoch != said:
            _log.info("the feed's epoch is %s", position.epoch)
            routes.begin_epoch(position.epoch, first_sequence)
            self._resumes.begin_epoch(position.epoch, self._tick_streams)
        elif not routes.first_sequence:
            routes.learn_first_sequence(first_sequence)
        self.position, routes.confirmed = position, True
        for symbol, sequence in sequences.items():
            route = routes.find(symbol)
            if route.ring.sequence < sequence:
                self._lose(route, sequence)
        self._resumes.release(said)
        self._resumes.advance()

    def set_live(self, symbols: Iterable[str]) -> None:
        """Note the symbols of gateways that replay no recording: these go on when a replay has ended."""
        self._routes.live_symbols = frozenset(symbols)

    def is_live(self, symbols: frozenset[str]) -> bool:
        """Test whether some of these symbols go on when a replay has ended."""
        return not symbols.isdisjoint(self._routes.live_symbols)

    def end_feed(self) -> None:
        """A replay came to its end: tick streams that carry no live symbol end once they delivered all they have."""
        self._routes.feed_ended = True
        self._resumes.end()
        for stream in self._tick_streams:
            if self._routes.has_ended(stream.symbols):
                stream.end(FEED_ENDED)

    def end_streams(self, reason: str) -> None:
        """End every stream once it delivered all it has."""
        for stream in self._streams.by_id.values():
            stream.end(reason)

    def drain(self, reason: str) -> None:
        """End every stream, and those to come as soon as they have their snapshot."""
        self._drained = reason
        self.end_streams(reason)

    def offer_state(self, *, connected: bool | None = None, stale_symbols: Collection[str] | None = None) -> None:
        """Tell streams whether the feed is connected, or which symbols are silent for too long; None: as it was."""
        before, stale_before = self._routes.connected, self._stale
        self._routes.connected = before if connected is None else connected
        self._stale = stale_before if stale_symbols is None else frozenset(stale_symbols)
        changed = stale_before ^ self._stale
        for subscriber in self._tick_streams:
            if before != self._routes.connected or not changed.isdisjoint(subscriber.symbols):
                subscriber.offer_state(self._state_of(subscriber))

    def on_capacity(self) -> None:
        """Wake the paced feed: a full subscriber has capacity again."""
        self._capacity.set()

    def paces(self, symbols: Iterable[str]) -> bool:
        """Return whether ticks of one of these symbols wait for readers: of a replay that does, never of live ones."""
        return self.paced and not self._routes.live_symbols.issuperset(symbols)

    async def wait_for_capacity(self, stall_s: float) -> None:
        """Wait until no lossless subscriber of the paced feed is full.

        One that took nothing for `stall_s` meanwhile is ended.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            full = [one for one in self._streams.lossless if one.full and self.paces(one.symbols)]
            if not full:
                return
            self._capacity.clear()
            left_s = max(since, min(stream.taken_at for stream in full)) + stall_s - loop.time()
            if left_s <= 0:
                for stream in full:
                    if max(since, stream.taken_at) + stall_s <= loop.time():
                        _log.warning("stream %s took nothing for %g s: ended", stream.stream_id, stall_s)
                        stream.overrun()
                continue
            try:
                async with asyncio.timeout(left_s):
                    await self._capacity.wait()
            except TimeoutError:
                continue

    def _lose(self, route: Route, last: int) -> None:
        """The ticks up to `last` are lost."""
        ring = route.ring
        if ring.sequence != UNKNOWN:
            if self._is_counted:
                metrics.gaps.inc()
            message = self._control.gap(ring.symbol, ring.sequence + 1, last)
            chunk = Chunk(message, sequences={ring.symbol: last})
            for group in route.groups:
                group.offer_control(chunk)
        ring.skip(last)

    def _move(self, route: Route, gateway: str) -> None:
        """Note the gateway of a symbol; if it is another one than before, what is known is of another market."""
        before, route.ring.gateway = route.ring.gateway, gateway
        if before:
            _log.info("%s serves %s from now on", gateway, route.ring.symbol)
            route.ring.forget()
            self._sinks.move(route.ring.symbol, gateway)

    def _state_of(self, subscriber: Subscriber) -> bytes:
        return self._control.feed_state(self._routes.connected, sorted(self._stale & subscriber.symbols))
