"""Subscribers of server streams: bounded buffers, heartbeats, the reason of an end, and the drain.

A service publishes after its commit; each open stream has a subscriber whose buffer it empties at its client's pace.
A buffer that is full ends its stream with SLOW_CONSUMER: no item is dropped silently.
"""

from asyncio import Event
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from redfire.reasons import Reason

from services.kernel.tasks import wait_for_event

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class End:
    """The last item of a stream: the reason of its end, as the contract's `end` fields state it."""

    reason: str


class Subscriber(Generic[T]):
    """One stream's buffer of at most `size` items; `discards` gives up what waits when it is full."""

    def __init__(self, size: int, *, discards: bool = False) -> None:
        self._size = size
        self._discards = discards
        self._waiting: deque[T] = deque()
        self._wake = Event()
        self.end_reason = ""

    @property
    def has_ended(self) -> bool:
        """Test for the end: no item waits, and none will come."""
        return bool(self.end_reason) and not self._waiting

    def offer(self, items: Iterable[T]) -> None:
        """Add items; beyond the size it ends."""
        if self.end_reason:
            return
        waiting = self._waiting
        waiting.extend(items)
        if len(waiting) > self._size:
            if self._discards:
                waiting.clear()
            while len(waiting) > self._size:
                waiting.pop()
            self.end_reason = Reason.SLOW_CONSUMER.value
            self._wake.set()
        elif waiting:
            self._wake.set()

    def end(self, reason: str) -> None:
        """End the stream after what waits; only the first reason counts."""
        self.end_reason = self.end_reason or reason
        self._wake.set()

    async def take(self, timeout_s: float) -> list[T]:
        """All that waits; empty after `timeout_s` of silence, or at the end."""
        await self._wait(timeout_s)
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    async def items(self, heartbeat_s: float) -> AsyncGenerator[T | End | None, None]:
        """Items one by one, None after each `heartbeat_s` of silence, and at last the end."""
        while True:
            await self._wait(heartbeat_s)
            if self._waiting:
                yield self._waiting.popleft()
            elif self.end_reason:
                yield End(self.end_reason)
                return
            else:
                yield None

    async def _wait(self, timeout_s: float) -> None:
        if not self._waiting and not self.end_reason:
            self._wake.clear()
            await wait_for_event(self._wake, timeout_s)


class LatestSubscriber(Subscriber[T]):
    """A buffer of the newest item alone, however slow its client is; a final item is not replaced."""

    def __init__(self, is_final: Callable[[T], bool]) -> None:
        super().__init__(1)
        self._is_final = is_final

    def offer(self, items: Iterable[T]) -> None:
        """Replace the item that waits."""
        for item in items:
            if self._waiting and self._is_final(self._waiting[0]):
                return
            self._waiting.clear()
            super().offer((item,))


class Subscribers(Generic[K, T]):
    """All subscribers of one kind of stream, by what they follow."""

    def __init__(self, make: Callable[[], Subscriber[T]]) -> None:
        self._make = make
        self._by_key: dict[K, set[Subscriber[T]]] = {}
        self.draining = False

    @property
    def keys(self) -> Sequence[K]:
        """Keys that somebody follows."""
        return list(self._by_key)

    @contextmanager
    def follow(self, key: K, subscriber: Subscriber[T] | None = None) -> Iterator[Subscriber[T]]:
        """Subscribe while the block runs, with a `subscriber` of its own kind if need be."""
        subscriber = subscriber or self._make()
        if self.draining:
            subscriber.end(Reason.SHUTTING_DOWN.value)
        group = self._by_key.setdefault(key, set())
        group.add(subscriber)
        try:
            yield subscriber
        finally:
            group.discard(subscriber)
            if not group and self._by_key.get(key) is group:
                del self._by_key[key]

    def publish(self, key: K, items: Iterable[T]) -> None:
        """Offer items to all who follow a key, in the order of commits."""
        for subscriber in self._by_key.get(key, ()):
            subscriber.offer(items)

    def end(self, key: K, reason: str) -> None:
        """End the streams of a key."""
        for subscriber in self._by_key.get(key, ()):
            subscriber.end(reason)

    async def drain(self) -> None:
        """End all streams, and those to come."""
        self.draining = True
        for key in self._by_key:
            self.end(key, Reason.SHUTTING_DOWN.value)
