"""Tells everybody who watches that sessions and API keys are dead, as it happens."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from services.auth.repository import AuthRepository
from services.auth.session import Revocation, WatchMark
from services.kernel.clock import Clock
from services.kernel.data.database import Repositories

HEARTBEAT_S = 1.0
BUFFER = 10_000


class RevocationFeed:
    """The streams of revocations that are open."""

    def __init__(self, auth: Repositories[AuthRepository], clock: Clock) -> None:
        self._auth = auth
        self._clock = clock
        self._queues: set[asyncio.Queue[Revocation | None]] = set()
        self._draining = False

    def publish(self, revocations: Iterable[Revocation]) -> None:
        """They are committed: tell those who watch. One who is too slow is ended, and begins anew with a snapshot."""
        for revocation in revocations:
            for queue in list(self._queues):
                if queue.qsize() >= BUFFER:
                    self._queues.discard(queue)
                    _end(queue)
                else:
                    queue.put_nowait(revocation)

    async def watch(self) -> AsyncIterator[Revocation | WatchMark]:
        """All that is not yet expired, the mark, then each as it happens; a heartbeat when a second was silent."""
        if self._draining:
            return
        queue: asyncio.Queue[Revocation | None] = asyncio.Queue()
        # First listening, then reading: what happens in between comes twice rather than never.
        self._queues.add(queue)
        try:
            async with self._auth.read() as auth:
                snapshot = await auth.list_revocations(self._clock.now())
            for revocation in snapshot:
                yield revocation
            yield WatchMark.SNAPSHOT_COMPLETE
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        item = await queue.get()
                except TimeoutError:
                    yield WatchMark.HEARTBEAT
                    continue
                if item is None:
                    return
                yield item
        finally:
            self._queues.discard(queue)

    async def drain(self) -> None:
        """End all streams."""
        self._draining = True
        for queue in self._queues:
            _end(queue)


def _end(queue: asyncio.Queue[Revocation | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
