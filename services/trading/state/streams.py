"""Who follows trading: subscribers with bounded buffers, their snapshot, what they missed, and the news."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.tasks import wait_for_event

# News that pass a stream as one. Between two of them it can end, when the caller's session is revoked.
AT_ONCE = 100


class NewsKind(Enum):
    """What a message of a stream is."""

    CHANGE = auto()
    SNAPSHOT_COMPLETE = auto()
    HEARTBEAT = auto()
    GAP = auto()
    END = auto()


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class News:
    """A change (its message already encoded: once, however many follow), or news of the stream itself."""

    kind: NewsKind
    sequence: int
    user_id: str = ""
    account_id: str = ""
    payload: bytes = b""
    time_ns: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    reason: str = ""


class Subscription:
    """One follower's buffer. Beyond its size it gives up everything and says so: nothing is dropped silently."""

    def __init__(self, account_id: str, size: int) -> None:
        self._account_id = account_id
        self._size = size
        self._waiting: deque[News] = deque()
        self._wake = asyncio.Event()
        self.overflowed = False
        self.closed = False

    def offer(self, news: Sequence[News]) -> None:
        """Put news into the buffer."""
        if self.overflowed:
            return
        for item in news:
            if not self._account_id or item.account_id == self._account_id:
                self._waiting.append(item)
        if len(self._waiting) > self._size:
            self._waiting.clear()
            self.overflowed = True
        self._wake.set()

    def close(self) -> None:
        """What waits is still given out, then it ends."""
        self.closed = True
        self._wake.set()

    async def take(self, timeout_s: float) -> list[News]:
        """What waits; empty after `timeout_s` of silence, or at the end."""
        if not self._waiting and not self.overflowed and not self.closed:
            self._wake.clear()
            if not await wait_for_event(self._wake, timeout_s):
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is open, true at `sequence`."""

    sequence: int
    changes: list[News]


class Streams:
    """All followers."""

    def __init__(
        self,
        clock: Clock,
        buffer: Callable[[], int],
        snapshot: Callable[[str, str], Awaitable[Snapshot]],
        missed: Callable[[int, int, str], AsyncIterator[News]],
        kept: Callable[[], tuple[int, int]],
    ) -> None:
        """`snapshot(user, account)`, `missed(after, through, user)`; `kept()` is (lost through, published through)."""
        self._clock = clock
        self._buffer = buffer
        self._snapshot = snapshot
        self._missed = missed
        self._kept = kept
        self._by_user: dict[str, set[Subscription]] = {}
        self._closed = False

    def publish(self, user_id: str, news: Sequence[News]) -> None:
        """Tell a user's followers, and those of everybody."""
        for key in {user_id, ""}:
            for subscription in self._by_user.get(key, ()):
                subscription.offer(news)

    def close(self) -> None:
        """End all streams properly."""
        self._closed = True
        for subscriptions in self._by_user.values():
            for subscription in subscriptions:
                subscription.close()

    async def follow(
        self, user_id: str, account_id: str, resume_after: int | None, heartbeat_s: float
    ) -> AsyncIterator[list[News]]:
        """The news of a user, or of everybody when empty, as they come: snapshot or what was missed first."""
        subscription = Subscription(account_id, self._buffer())
        subscription.closed = self._closed
        subscriptions = self._by_user.setdefault(user_id, set())
        subscriptions.add(subscription)
        try:
            sent = 0
            async for item in self._beginning(user_id, account_id, resume_after):
                sent = item.sequence
                yield [item]
            async for items in self._following(subscription, sent, heartbeat_s):
                yield items
        finally:
            subscriptions.discard(subscription)
            if not subscriptions and self._by_user.get(user_id) is subscriptions:
                del self._by_user[user_id]

    async def _beginning(self, user_id: str, account_id: str, resume_after: int | None) -> AsyncIterator[News]:
        lost, published = self._kept()
        if resume_after is not None:
            if lost <= resume_after <= published:
                async for item in self._missed(resume_after, published, user_id):
                    if not account_id or item.account_id == account_id:
                        yield item
                # Even where nothing was missed, the stream is true at this sequence.
                yield News(NewsKind.HEARTBEAT, published, time_ns=self._clock.now_ns())
                return
            first, last = min(resume_after, published) + 1, max(resume_after, lost)
            yield News(NewsKind.GAP, published, first_sequence=first, last_sequence=last)
        snapshot = await self._snapshot(user_id, account_id)
        for item in snapshot.changes:
            yield item
        yield News(NewsKind.SNAPSHOT_COMPLETE, snapshot.sequence)

    async def _following(self, subscription: Subscription, sent: int, heartbeat_s: float) -> AsyncIterator[list[News]]:
        while True:
            taken = await subscription.take(heartbeat_s)
            fresh = [item for item in taken if item.sequence > sent]
            for start in range(0, len(fresh), AT_ONCE):
                part = fresh[start : start + AT_ONCE]
                sent = part[-1].sequence
                yield part
            if subscription.overflowed or subscription.closed:
                reason = Reason.SLOW_CONSUMER if subscription.overflowed else Reason.SHUTTING_DOWN
                yield [News(NewsKind.END, sent, reason=reason)]
                return
            if not taken:
                yield [News(NewsKind.HEARTBEAT, sent, time_ns=self._clock.now_ns())]
