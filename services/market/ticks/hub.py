"""The hub: the last tick and the recent past of every symbol, and the fan-out of each batch to its subscribers.

What a tick costs: one split, one parse (of the whole batch), and one append per *set* of subscribed symbols. What a
subscriber costs: one append per batch, one join and one write per flush. Nothing is encoded, no task is made, and
everything runs on the event loop's thread between two awaits, so that registering and publishing never interleave.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic

from services.market import metrics
from services.market.control_messages import TickControlMessages
from services.market.ticks.subscriber import (
    FEED_ENDED,
    Backlog,
    Chunk,
    ConflatedSubscriber,
    LosslessSubscriber,
    Subscriber,
)
from services.market.ticks.tick_ring import T, TickRing

_log = logging.getLogger(__name__)

NEW_EPOCH = 1 << 20
"""Sequences of two runs of the engine are at least this far apart, and those of one run hardly ever."""

MANY_STREAMS = 8
WRITE_S = 60e-6
"""The cost of a message for the loop, about (measured)."""
LONGEST_PAUSE_S = 0.002


class Group:
    """The lossless subscribers of one set of symbols: they share what is joined for them."""

    __slots__ = ("frames", "sequences", "subscribers", "symbols")

    def __init__(self, symbols: frozenset[str]) -> None:
        self.symbols = symbols
        self.subscribers: list[LosslessSubscriber] = []
        self.frames: list[bytes] = []
        self.sequences: dict[str, int] = {}

    def flush(self, bounded: bool) -> None:
        """Hand the batch's frames to every subscriber."""
        frames = self.frames
        if not frames:
            return
        chunk = Chunk(frames[0] if len(frames) == 1 else b"".join(frames), len(frames), self.sequences)
        self.frames = []
        self.sequences = {}
        for subscriber in self.subscribers:
            subscriber.offer(chunk, bounded=bounded, wake=False)

    def offer_control(self, message: bytes, bounded: bool) -> None:
        """Queue a control message for every subscriber, in its place between the ticks."""
        self.flush(bounded)
        chunk = Chunk(message)
        for subscriber in self.subscribers:
            subscriber.offer(chunk)


class Route(Generic[T]):
    """A symbol's ring and its subscribers."""

    __slots__ = ("conflated", "groups", "ring")

    def __init__(self, symbol: str, ring_frames: int) -> None:
        self.ring: TickRing[T] = TickRing(symbol, ring_frames)
        self.groups: list[Group] = []
        self.conflated: dict[ConflatedSubscriber, None] = {}


class Hub(Generic[T]):
    """Takes batches from upstream and gives them to subscribers, then to the listeners of `on_published`.

    Listeners of `on_moved` are called for a symbol that another gateway serves from now on. The engine leaves out a
    sequence there, so that it need not be looked for at each tick.
    """

    def __init__(self, control: TickControlMessages, ring_frames: int) -> None:
        self.paced = False
        self.recorded = False
        """True for a replay: then ticks of an earlier run of ours are no beginning of its streams."""
        self.feed_ended = False
        self._published_listeners: list[Callable[[Sequence[bytes], Sequence[T]], None]] = []
        self._moved_listeners: list[Callable[[str, str], None]] = []
        self._control = control
        self._ring_frames = ring_frames
        self._routes: dict[str, Route[T]] = {}
        self._groups: dict[frozenset[str], Group] = {}
        self._streams: dict[str, Subscriber] = {}
        self._capacity = asyncio.Event()
        self._drained = ""
        self._unwoken: dict[Group, None] = {}
        self._woken_at = 0.0
        self._wake_timer: asyncio.TimerHandle | None = None

    def on_published(self, listener: Callable[[Sequence[bytes], Sequence[T]], None]) -> None:
        """Register a listener of published batches: frames, and the same parsed."""
        self._published_listeners.append(listener)

    def on_moved(self, listener: Callable[[str, str], None]) -> None:
        """Register a listener of symbols that another gateway serves from now on: symbol, name of the gateway."""
        self._moved_listeners.append(listener)

    def find_tick(self, symbol: str) -> T | None:
        """The symbol's last tick, or None when none was seen."""
        route = self._routes.get(symbol)
        return route.ring.tick if route is not None else None

    def find_stream(self, stream_id: str) -> Subscriber | None:
        """The running stream of this id."""
        return self._streams.get(stream_id)

    @property
    def stream_count(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def streams_of(self, user_id: str) -> int:
        """Number of streams that a user has open."""
        return sum(1 for stream in self._streams.values() if stream.user_id == user_id)

    def publish(self, frames: Sequence[bytes], ticks: Sequence[T]) -> None:
        """Fan a batch out. `ticks` are the frames parsed, in the same order.

        A jump of a symbol's sequence is sent to its lossless subscribers as a gap; a tick seen before is dropped.
        """
        routes = self._routes
        bounded = not self.paced
        touched: dict[Group, None] = {}
        changed: dict[str, Route[T]] = {}
        fresh: list[tuple[bytes, T]] | None = None
        for index, (frame, tick) in enumerate(zip(frames, ticks, strict=True)):
            symbol = tick.symbol
            sequence = tick.sequence
            route = routes.get(symbol)
            if route is None:
                route = self._open(symbol)
            ring = route.ring
            if sequence != ring.sequence + 1 and ring.sequence and not self._accept_jump(route, sequence, tick):
                if fresh is None:
                    fresh = list(zip(frames[:index], ticks[:index], strict=True))
                continue
            ring.put(frame, tick, sequence)
            for group in route.groups:
                group.frames.append(frame)
                group.sequences[symbol] = sequence
                touched[group] = None
            if route.conflated:
                changed[symbol] = route
            if fresh is not None:
                fresh.append((frame, tick))
        for group in touched:
            group.flush(bounded)
        self._wake_soon(touched)
        for symbol, route in changed.items():
            latest = (route.ring.frame, route.ring.sequence)
            for subscriber in route.conflated:
                subscriber.offer(symbol, latest)
        if fresh is not None:
            frames, ticks = [frame for frame, _ in fresh], [tick for _, tick in fresh]
        metrics.ticks.inc(len(frames))
        for listener in self._published_listeners:
            listener(frames, ticks)

    def move(self, symbol: str, gateway: str) -> None:
        """A gateway serves a symbol: ticks of another one are forgotten."""
        route = self._routes.get(symbol)
        tick = route.ring.tick if route is not None else None
        if route is not None and tick is not None and gateway and tick.gateway and tick.gateway != gateway:
            self._move(route, gateway)

    def restore(self, frames: Sequence[bytes], ticks: Sequence[T]) -> None:
        """Load ticks of an earlier run, before anybody subscribes: last ticks and rings, nothing else."""
        for frame, tick in zip(frames, ticks, strict=True):
            route = self._routes.get(tick.symbol) or self._open(tick.symbol)
            if tick.sequence > route.ring.sequence:
                route.ring.put(frame, tick, tick.sequence)
                route.ring.restored = True

    def last_frames(self) -> dict[str, bytes]:
        """Each symbol's last tick as it came."""
        return {symbol: route.ring.frame for symbol, route in self._routes.items() if route.ring.frame}

    def register(self, subscriber: Subscriber) -> None:
        """Open a stream that another publisher feeds: it counts, ends and holds back a paced feed like the others."""
        self._streams[subscriber.stream_id] = subscriber
        self._end_at_once(subscriber)

    def add(self, subscriber: Subscriber, resume_after: Mapping[str, int]) -> None:
        """Open a stream: its snapshot (or what was missed) first, then everything that is published from now on."""
        self._streams[subscriber.stream_id] = subscriber
        subscriber.offer_control(self._control.started(subscriber.stream_id))
        for symbol in sorted(subscriber.symbols):
            self._catch_up(subscriber, symbol, resume_after.get(symbol))
        self._route(subscriber)
        self._end_at_once(subscriber)

    def change(self, subscriber: Subscriber, added: Iterable[str], removed: Iterable[str]) -> None:
        """Change what a stream carries; symbols that it carries already are left as they are."""
        new = sorted(set(added) - subscriber.symbols)
        gone = set(removed) & subscriber.symbols
        self._unroute(subscriber)
        subscriber.symbols = (subscriber.symbols - gone).union(new)
        if isinstance(subscriber, ConflatedSubscriber):
            for symbol in gone:
                subscriber.forget(symbol)
        for symbol in new:
            self._catch_up(subscriber, symbol, None)
        self._route(subscriber)
        subscriber.wake()

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a stream whose reader left."""
        if self._streams.pop(subscriber.stream_id, None) is not None:
            self._unroute(subscriber)
            self._capacity.set()

    def begin_feed(self, *, paced: bool, realtime: bool) -> None:
        """Begin a feed of this kind."""
        self.paced, self.recorded, self.feed_ended = paced, not realtime, False

    def end_feed(self) -> None:
        """A replay came to its end: every stream ends once it delivered all it has."""
        self.feed_ended = True
        self.end_streams(FEED_ENDED)

    def end_streams(self, reason: str) -> None:
        """End every stream once it delivered all it has."""
        for stream in self._streams.values():
            stream.end(reason)

    def drain(self, reason: str) -> None:
        """End every stream, and those to come as soon as they have their snapshot."""
        self._drained = reason
        self.end_streams(reason)

    def on_capacity(self) -> None:
        """Wake the paced feed: a full subscriber has capacity again."""
        self._capacity.set()

    async def wait_for_capacity(self, stall_s: float) -> None:
        """Wait until no lossless subscriber is full; one that took nothing for `stall_s` meanwhile is ended."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            lossless = (stream for stream in self._streams.values() if isinstance(stream, LosslessSubscriber))
            full = [stream for stream in lossless if stream.full]
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

    def _move(self, route: Route[T], gateway: str) -> None:
        _log.info("another gateway serves %s from now on", route.ring.symbol)
        route.ring.forget()
        for listener in self._moved_listeners:
            listener(route.ring.symbol, gateway)

    def _wake_soon(self, groups: dict[Group, None]) -> None:
        """Wake the groups' writers: at once, or so rarely that many streams' writes leave the loop time."""
        self._unwoken.update(groups)
        if self._wake_timer is not None:
            return
        streams = len(self._streams)
        if streams >= MANY_STREAMS:
            loop = asyncio.get_running_loop()
            wait_s = self._woken_at + min(streams * WRITE_S, LONGEST_PAUSE_S) - loop.time()
            if wait_s > 0:
                self._wake_timer = loop.call_later(wait_s, self._wake)
                return
        self._wake()

    def _wake(self) -> None:
        self._wake_timer = None
        self._woken_at = asyncio.get_running_loop().time()
        for group in self._unwoken:
            for subscriber in group.subscribers:
                subscriber.wake()
        self._unwoken.clear()

    def _end_at_once(self, subscriber: Subscriber) -> None:
        if self._drained:
            subscriber.end(self._drained)
        elif self.feed_ended:
            subscriber.end(FEED_ENDED)

    def _open(self, symbol: str) -> Route[T]:
        route = self._routes[symbol] = Route(symbol, self._ring_frames)
        route.groups.extend(group for group in self._groups.values() if symbol in group.symbols)
        for stream in self._streams.values():
            if isinstance(stream, ConflatedSubscriber) and symbol in stream.symbols:
                route.conflated[stream] = None
        return route

    def _accept_jump(self, route: Route[T], sequence: int, tick: T) -> bool:
        """Accept a tick out of turn or not: a gap is sent, a step back needs a new run of the engine."""
        last_tick = route.ring.tick
        if last_tick is not None and last_tick.gateway != tick.gateway:
            self._move(route, tick.gateway)
        symbol, last = route.ring.symbol, route.ring.sequence
        restored, route.ring.restored = route.ring.restored, False
        if restored and self.recorded:
            return True
        if sequence > last:
            metrics.gaps.inc()
            message = self._control.gap(symbol, last + 1, sequence - 1)
            for group in route.groups:
                group.offer_control(message, bounded=not self.paced)
            return True
        if last - sequence < NEW_EPOCH:
            metrics.duplicates.inc()
            return False
        _log.warning("sequences of %s went back from %d to %d", symbol, last, sequence)
        return True

    def _catch_up(self, subscriber: Subscriber, symbol: str, after: int | None) -> None:
        """Give the snapshot or, resumed after a sequence, what was missed since."""
        route = self._routes.get(symbol)
        if route is None or not route.ring.frame or (route.ring.restored and self.recorded):
            return
        ring = route.ring
        if isinstance(subscriber, LosslessSubscriber):
            if after is None or after > ring.sequence:
                subscriber.offer(Chunk(ring.frame, 1, {symbol: ring.sequence}), bounded=False)
            else:
                # An end before its turn comes must not forget where it was to resume.
                subscriber.sent[symbol] = after
                if after < ring.sequence:
                    subscriber.resume(Backlog(ring, after, self._control.gap))
        elif isinstance(subscriber, ConflatedSubscriber) and after != ring.sequence:
            subscriber.offer(symbol, (ring.frame, ring.sequence))

    def _route(self, subscriber: Subscriber) -> None:
        if isinstance(subscriber, ConflatedSubscriber):
            for symbol in subscriber.symbols:
                if symbol in self._routes:
                    self._routes[symbol].conflated[subscriber] = None
        elif isinstance(subscriber, LosslessSubscriber):
            group = self._groups.get(subscriber.symbols)
            if group is None:
                group = self._groups[subscriber.symbols] = Group(subscriber.symbols)
                for symbol in group.symbols:
                    if symbol in self._routes:
                        self._routes[symbol].groups.append(group)
            group.subscribers.append(subscriber)

    def _unroute(self, subscriber: Subscriber) -> None:
        if isinstance(subscriber, ConflatedSubscriber):
            for symbol in subscriber.symbols:
                if symbol in self._routes:
                    self._routes[symbol].conflated.pop(subscriber, None)
        elif isinstance(subscriber, LosslessSubscriber):
            group = self._groups.get(subscriber.symbols)
            if group is None or subscriber not in group.subscribers:
                return
            group.subscribers.remove(subscriber)
            if not group.subscribers:
                del self._groups[subscriber.symbols]
                for symbol in group.symbols:
                    if symbol in self._routes:
                        self._routes[symbol].groups.remove(group)
