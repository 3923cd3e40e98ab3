"""Streams of revoked sessions and API keys, as it happens, at whichever replica of auth."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta

from services.auth.repository import AuthRepository
from services.auth.session import Revocation, WatchControlMessage
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.kernel.streams import End, Subscriber, Subscribers

log = logging.getLogger(__name__)
HEARTBEAT_S = 1.0
BUFFER = 10_000
# A session that another replica ended is refused everywhere within a second: this, and the way from here.
POLL_S = 0.2
POLLED = 1000


class RevocationFeed:
    """The streams of revocations that are open."""

    def __init__(
        self,
        auth: Repositories[AuthRepository],
        clock: Clock,
        announce: Callable[[Sequence[Revocation]], None] = lambda revocations: None,
    ) -> None:
        """`announce` sends revocations to all replicas of all services, if that can be; it does not wait."""
        self._auth = auth
        self._clock = clock
        self._announce = announce
        # A watcher that is too slow begins anew with a snapshot: what waited is of no use to it.
        self._subscribers: Subscribers[None, Revocation] = Subscribers(lambda: Subscriber(BUFFER, discards=True))
        # The last revocation that was read from the database; None before the first snapshot.
        self._number: int | None = None

    def publish(self, revocations: Iterable[Revocation]) -> None:
        """Send revocations that are committed to all watchers."""
        committed = list(revocations)
        if not committed:
            return
        self._subscribers.publish(None, committed)
        self._announce(committed)

    async def revoke_keys(self, revoked_ids: Sequence[str], longest_token_s: float) -> None:
        """Revoke all that signing keys signed; what is revoked already, by another replica, stays."""
        ends = self._clock.now() + timedelta(seconds=longest_token_s)
        async with self._auth() as auth:
            known = {one.revoked_id for one in await auth.list_revocations(self._clock.now())}
            revocations = [Revocation(one, ends) for one in revoked_ids if one not in known]
            await auth.add_revocations(revocations)
        self.publish(revocations)

    async def follow_replicas(self) -> None:
        """Send what other replicas have written to the watchers too, until cancelled; what this one has, twice."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._number is None:
                continue
            try:
                async with self._auth.read_one() as auth:
                    revocations, self._number = await auth.list_revocations_after(self._number, POLLED)
            except RedFireError as error:
                log.debug("revocations of other replicas cannot be read: %s", error.message)
                continue
            self._subscribers.publish(None, revocations)

    async def watch_revocations(self) -> AsyncIterator[Revocation | WatchControlMessage]:
        """Revocations that have not expired, the end of this snapshot, then each as it happens; heartbeats between."""
        if self._subscribers.draining:
            return
        # First listening, then reading: what happens in between comes twice rather than never.
        with self._subscribers.follow(None) as subscriber:
            async with self._auth.read() as auth:
                snapshot = await auth.list_revocations(self._clock.now())
                if self._number is None:
                    self._number = await auth.last_number()
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
