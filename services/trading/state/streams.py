"""Streams of trading's changes: their snapshot, what was missed, then each change."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.errors import ShardMoved
from services.kernel.shards.ownership import shard_of
from services.kernel.streams import Subscriber, Subscribers

# Updates that pass a stream as one. Between two of them it can end, when the caller's session is revoked.
AT_ONCE = 100


class UpdateKind(Enum):
    """Kind of a stream's message."""

    CHANGE = auto()
    SNAPSHOT_COMPLETE = auto()
    HEARTBEAT = auto()
    GAP = auto()
    END = auto()
    # Of shards, by ShardWatch: its users follow as they stand, have all been sent, are served elsewhere.
    TAKEN = auto()
    READY = auto()
    LOST = auto()


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class StreamUpdate:
    """A change (its message already encoded: once, however many follow), or a control message of the stream."""

    kind: UpdateKind
    sequence: int
    user_id: str = ""
    account_id: str = ""
    payload: bytes = b""
    time_ns: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    reason: str = ""
    # Epochs of shards that were taken, sequences of those that are ready.
    shards: Mapping[int, int] = field(default_factory=dict)


class AccountSubscriber(Subscriber[StreamUpdate]):
    """The buffer of a stream of one account."""

    def __init__(self, account_id: str, size: int) -> None:
        super().__init__(size, discards=True)
        self._account_id = account_id

    def offer(self, items: Iterable[StreamUpdate]) -> None:
        """Put the account's changes into the buffer."""
        super().offer([item for item in items if item.account_id == self._account_id])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is open, true at `sequence`."""

    sequence: int
    changes: list[StreamUpdate]


class Streams:
    """All followers."""

    def __init__(
        self,
        clock: Clock,
        buffer: Callable[[], int],
        snapshot: Callable[[str, str], Awaitable[Snapshot]],
        missed: Callable[[int, int, str], AsyncIterator[StreamUpdate]],
        kept: Callable[[str], tuple[int, int]],
        given: Callable[[], int],
    ) -> None:
        """`snapshot(user, account)`, `missed(after, through, user)`; `kept(user)` is (lost through, published through).

        `given()` is the last sequence that was published here, of whatever user.
        """
        self._clock = clock
        self._buffer = buffer
        self._snapshot = snapshot
        self._missed = missed
        self._kept = kept
        self._given = given
        # By user; the empty one follows everybody.
        self._subscribers: Subscribers[str, StreamUpdate] = Subscribers(
            # Beyond its size it gives up everything and ends with a reason: nothing is dropped silently.
            lambda: Subscriber(buffer(), discards=True)
        )

    def publish(self, user_id: str, updates: Sequence[StreamUpdate]) -> None:
        """Send to a user's followers, and to those of everybody."""
        self._subscribers.publish(user_id, updates)
        if user_id:
            self._subscribers.publish("", updates)

    def publish_all(self, updates: Sequence[StreamUpdate]) -> None:
        """Send each to its user's followers, and to those of everybody."""
        for update in updates:
            self.publish(update.user_id, [update])

    def move(self, shards: Collection[int], _: object = None) -> None:
        """End the streams of users whom another replica serves, after what waits: they resume there."""
        for user_id in self._subscribers.keys:
            if user_id and shard_of(user_id) in shards:
                self._subscribers.end(user_id, Reason.SHARD_MOVED.value)

    async def drain(self) -> None:
        """End all streams, and those to come, after what waits."""
        await self._subscribers.drain()

    async def follow(
        self, user_id: str, account_id: str, resume_after: int | None, heartbeat_s: float
    ) -> AsyncIterator[list[StreamUpdate]]:
        """The updates of a user, or of everybody when empty, as they come: snapshot or what was missed first.

        Raises ShardMoved when another replica serves the user.
        """
        of_account = AccountSubscriber(account_id, self._buffer()) if account_id else None
        with self._subscribers.follow(user_id, of_account) as subscriber:
            sent = 0
            async for item in self._beginning(user_id, account_id, resume_after):
                sent = item.sequence
                yield [item]
            async for items in self._following(subscriber, sent, heartbeat_s):
                yield items

    async def _beginning(self, user_id: str, account_id: str, resume_after: int | None) -> AsyncIterator[StreamUpdate]:
        lost, published = self._kept(user_id)
        if resume_after is not None:
            # Clients of a version before shards may have a sequence that is beyond their shard's own.
            if lost <= resume_after <= max(published, self._given()):
                async for item in self._missed(resume_after, published, user_id):
                    if not account_id or item.account_id == account_id:
                        yield item
                # Even where nothing was missed, the stream is true at this sequence.
                yield StreamUpdate(UpdateKind.HEARTBEAT, published, time_ns=self._clock.now_ns())
                return
            first, last = min(resume_after, published) + 1, max(resume_after, lost)
            yield StreamUpdate(UpdateKind.GAP, published, first_sequence=first, last_sequence=last)
        snapshot = await self._snapshot(user_id, account_id)
        for item in snapshot.changes:
            yield item
        yield StreamUpdate(UpdateKind.SNAPSHOT_COMPLETE, snapshot.sequence)

    async def _following(
        self, subscriber: Subscriber[StreamUpdate], sent: int, heartbeat_s: float
    ) -> AsyncIterator[list[StreamUpdate]]:
        while True:
            taken = await subscriber.take(heartbeat_s)
            fresh = [item for item in taken if item.sequence > sent]
            for start in range(0, len(fresh), AT_ONCE):
                part = fresh[start : start + AT_ONCE]
                sent = part[-1].sequence
                yield part
            if subscriber.has_ended:
                if subscriber.end_reason == Reason.SHARD_MOVED.value:
                    raise ShardMoved
                yield [StreamUpdate(UpdateKind.END, sent, reason=subscriber.end_reason)]
                return
            if not taken:
                yield [StreamUpdate(UpdateKind.HEARTBEAT, sent, time_ns=self._clock.now_ns())]
