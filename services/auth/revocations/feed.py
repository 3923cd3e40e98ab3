"""Streams of revoked sessions and API keys, as it happens."""

from collections.abc import AsyncIterator, Iterable

from services.auth.repository import AuthRepository
from services.auth.session import Revocation, WatchControlMessage
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.streams import End, Subscriber, Subscribers

HEARTBEAT_S = 1.0
BUFFER = 10_000


class RevocationFeed:
    """The streams of revocations that are open."""

    def __init__(self, auth: Repositories[AuthRepository], clock: Clock) -> None:
        self._auth = auth
        self._clock = clock
        # A watcher that is too slow begins anew with a snapshot: what waited is of no use to it.
        self._subscribers: Subscribers[None, Revocation] = Subscribers(lambda: Subscriber(BUFFER, discards=True))

    def publish(self, revocations: Iterable[Revocation]) -> None:
        """Send revocations that are committed to all watchers."""
        self._subscribers.publish(None, list(revocations))

    async def watch_revocations(self) -> AsyncIterator[Revocation | WatchControlMessage]:
        """Revocations that have not expired, the end of this snapshot, then each as it happens; heartbeats between."""
        if self._subscribers.draining:
            return
        # First listening, then reading: what happens in between comes twice rather than never.
        with self._subscribers.follow(None) as subscriber:
            async with self._auth.read() as auth:
                snapshot = await auth.list_revocations(self._clock.now())
            for revocation in snapshot:
                yield revocation
            yield WatchControlMessage.SNAPSHOT_COMPLETE
            async for item in subscriber.items(HEARTBEAT_S):
                if isinstance(item, End):
                    return
                yield WatchControlMessage.HEARTBEAT if item is None else item

    async def drain(self) -> None:
        """End all streams."""
        await self._subscribers.drain()
