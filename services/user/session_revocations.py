"""Delivery of session revocations to auth: at once, and again until auth has taken them.

A revocation is written in the transaction of its reason (another password, role or status), also by `redfire admin`
from outside; so nobody who was suspended goes on because auth did not answer just then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from services.kernel.cache import TtlCache
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.user.repository import UserRepository
from services.user.user import SessionRevocation

log = logging.getLogger(__name__)
POLL_S = 0.2
REMEMBERED_S = 60.0


class SessionRevocations:
    """Delivers the rows of the table of session revocations."""

    def __init__(
        self, users: Repositories[UserRepository], end_sessions: Callable[[SessionRevocation], Awaitable[None]] | None
    ) -> None:
        """`end_sessions` calls auth; without it that is left to the service that shares the table."""
        self._users = users
        self._end_sessions = end_sessions
        self._running: set[str] = set()
        # What was read as waiting may have been delivered since: twice would end a session that began in between.
        self._delivered: TtlCache[str, bool] = TtlCache(10_000, REMEMBERED_S)

    async def deliver(self, revocation: SessionRevocation) -> None:
        """Deliver to auth; where auth does not answer, `run` delivers again."""
        if self._end_sessions is None or revocation.revocation_id in self._running:
            return
        self._running.add(revocation.revocation_id)
        try:
            if not self._delivered.get(revocation.revocation_id):
                await self._end_sessions(revocation)
                self._delivered.put(revocation.revocation_id, True)
            async with self._users() as users:
                await users.remove_revocation(revocation.revocation_id)
        except RedFireError as error:
            log.warning("sessions of user %s are not ended yet: %s", revocation.user_id, error.message)
        finally:
            self._running.discard(revocation.revocation_id)

    async def deliver_all(self) -> None:
        """Deliver all that auth has not taken yet."""
        for revocation in await self._waiting():
            await self.deliver(revocation)

    async def run(self) -> None:
        """Deliver what auth has not taken yet, until cancelled.

        Not at first sight: the replica that wrote it delivers it now, and twice would end what began in between.
        """
        seen: set[str] = set()
        while True:
            waiting = await self._waiting()
            for revocation in waiting:
                if revocation.revocation_id in seen:
                    await self.deliver(revocation)
            seen = {revocation.revocation_id for revocation in waiting}
            await asyncio.sleep(POLL_S)

    async def delivered(self, timeout_s: float) -> bool:
        """Wait until a running service has had all of them ended; False when it takes longer."""
        for _ in range(max(1, round(timeout_s / 0.05))):
            if not await self._waiting():
                return True
            await asyncio.sleep(0.05)
        return False

    async def _waiting(self) -> Sequence[SessionRevocation]:
        async with self._users.read_one() as users:
            return await users.list_revocations()
