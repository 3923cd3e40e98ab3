"""The log of risk events: sent to streams at once, written to the database in the background."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.identifiers import new_id
from services.kernel.streams import End, Subscriber, Subscribers
from services.risk.domain.risk_event import RiskEvent
from services.risk.repository import RiskRepository

log = logging.getLogger(__name__)
_GROUP = 500
_SUBSCRIBER_BUFFER = 1000


class RiskEventLog:
    """Events never slow a check: recording one is an append to a bounded queue."""

    def __init__(self, repositories: Repositories[RiskRepository], clock: Clock, buffer: int) -> None:
        self._repositories = repositories
        self._clock = clock
        self._waiting: deque[RiskEvent] = deque()
        self._buffer = buffer
        self._lost = 0
        self._added = asyncio.Event()
        # By user and account: of an account, or of all of a user's where the account is empty.
        self._subscribers: Subscribers[tuple[str, str], RiskEvent] = Subscribers(lambda: Subscriber(_SUBSCRIBER_BUFFER))

    def record(
        self, user_id: str, account_id: str, reason: Reason | None, message: str, metadata: dict[str, str]
    ) -> None:
        """Record an event of an account, or to everybody when both ids are empty."""
        event = RiskEvent(new_id(), user_id, account_id, reason, message, self._clock.now(), metadata)
        if len(self._waiting) >= self._buffer:
            # The oldest are kept: they show how it began.
            self._lost += 1
        else:
            self._waiting.append(event)
            self._added.set()
        for followed_user, followed_account in self._subscribers.keys:
            if account_id == followed_account if followed_account else user_id in (followed_user, ""):
                self._subscribers.publish((followed_user, followed_account), [event])

    async def write(self) -> None:
        """Write what waits, for as long as the process runs."""
        while True:
            await self._added.wait()
            self._added.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits. What could not be written, or of which that is not known, is written again."""
        while self._waiting:
            group = [self._waiting[n] for n in range(min(_GROUP, len(self._waiting)))]
            async with self._repositories() as repository:
                await repository.put_events(group)
            for _ in group:
                self._waiting.popleft()
        if self._lost:
            log.warning("%d risk events were not written: more than %d were waiting", self._lost, self._buffer)
            self._lost = 0

    async def follow(self, user_id: str, account_id: str, heartbeat_s: float) -> AsyncIterator[RiskEvent | End | None]:
        """Events as they happen, of one account or all of a user's; None where nothing happened for a while."""
        with self._subscribers.follow((user_id, account_id)) as subscriber:
            async for item in subscriber.items(heartbeat_s):
                yield item

    async def drain(self) -> None:
        """End all streams, and those to come."""
        await self._subscribers.drain()
