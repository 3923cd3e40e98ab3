"""Sees to it that auth ends sessions: at once, and again until it has heard.

The order is written in the transaction of its reason (another password, role or status), also by `redfire admin`
from outside; so nobody who was suspended goes on because auth did not answer just then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from services.kernel.data.database import Repositories
from services.kernel.errors import RedFireError
from services.user.repository import UserRepository
from services.user.user import SessionEnding

log = logging.getLogger(__name__)
POLL_S = 0.3


class SessionEndings:
    """Carries out what is in the table of session endings."""

    def __init__(
        self, users: Repositories[UserRepository], end_sessions: Callable[[SessionEnding], Awaitable[None]] | None
    ) -> None:
        """`end_sessions` tells auth; without it that is left to the service that shares the table."""
        self._users = users
        self._end_sessions = end_sessions
        self._running: set[str] = set()

    async def settle(self, ending: SessionEnding) -> None:
        """Tell auth; when it does not answer, it is told again by `run`."""
        if self._end_sessions is None or ending.ending_id in self._running:
            return
        self._running.add(ending.ending_id)
        try:
            await self._end_sessions(ending)
            async with self._users() as users:
                await users.remove_ending(ending.ending_id)
        except RedFireError as error:
            log.warning("sessions of user %s are not ended yet: %s", ending.user_id, error.message)
        finally:
            self._running.discard(ending.ending_id)

    async def settle_all(self) -> None:
        """Tell auth what it has not heard yet."""
        for ending in await self._waiting():
            await self.settle(ending)

    async def run(self) -> None:
        """Tell auth what it has not heard yet, for ever."""
        while True:
            await self.settle_all()
            await asyncio.sleep(POLL_S)

    async def settled(self, timeout_s: float) -> bool:
        """Whether within this time a running service has had all of them ended."""
        for _ in range(max(1, round(timeout_s / 0.05))):
            if not await self._waiting():
                return True
            await asyncio.sleep(0.05)
        return False

    async def _waiting(self) -> Sequence[SessionEnding]:
        async with self._users.read() as users:
            return await users.list_endings()
