"""The journal of risk events: told to streams at once, written to the database in the background."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.database import Repositories
from services.kernel.identifiers import new_id
from services.risk.domain.risk_event import RiskEvent
from services.risk.repository import RiskRepository

log = logging.getLogger(__name__)
_GROUP = 500
_FOLLOWER_BUFFER = 1000


class End(Enum):
    """Why a stream ends; the names are those of the contract."""

    SLOW_CONSUMER = "SLOW_CONSUMER"
    SHUTTING_DOWN = "SHUTTING_DOWN"


class Journal:
    """Events never slow a check: recording one is an append to a bounded queue."""

    def __init__(self, repositories: Repositories[RiskRepository], clock: Clock, buffer: int) -> None:
        self._repositories = repositories
        self._clock = clock
        self._waiting: deque[RiskEvent] = deque()
        self._buffer = buffer
        self._lost = 0
        self._news = asyncio.Event()
        self._followers: set[_Follower] = set()
        self._draining = False

    def record(
        self, user_id: str, account_id: str, reason: Reason | None, message: str, metadata: dict[str, str]
    ) -> None:
        """Something happened to an account, or to everybody when both ids are empty."""
        event = RiskEvent(new_id(), user_id, account_id, reason, message, self._clock.now(), metadata)
        if len(self._waiting) >= self._buffer:
            # The oldest are kept: they tell how it began.
            self._lost += 1
        else:
            self._waiting.append(event)
            self._news.set()
        for follower in self._followers:
            follower.offer(event)

    async def write(self) -> None:
        """Write what waits, for as long as the process runs."""
        while True:
            await self._news.wait()
            self._news.clear()
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
        follower = _Follower(user_id, account_id)
        if self._draining:
            follower.end(End.SHUTTING_DOWN)
        self._followers.add(follower)
        try:
            while True:
                item = await follower.next(heartbeat_s)
                yield item
                if isinstance(item, End):
                    return
        finally:
            self._followers.discard(follower)

    async def drain(self) -> None:
        """End all streams, and those to come."""
        self._draining = True
        for follower in self._followers:
            follower.end(End.SHUTTING_DOWN)


class _Follower:
    """What one stream has not sent yet, its end included."""

    def __init__(self, user_id: str, account_id: str) -> None:
        self._user_id = user_id
        self._account_id = account_id
        self._items: deque[RiskEvent | End] = deque()
        self._ended = False
        self._news = asyncio.Event()

    def offer(self, event: RiskEvent) -> None:
        mine = event.account_id == self._account_id if self._account_id else event.user_id in (self._user_id, "")
        if not mine or self._ended:
            return
        if len(self._items) >= _FOLLOWER_BUFFER:
            self.end(End.SLOW_CONSUMER)
            return
        self._items.append(event)
        self._news.set()

    def end(self, reason: End) -> None:
        if not self._ended:
            self._ended = True
            self._items.append(reason)
            self._news.set()

    async def next(self, timeout_s: float) -> RiskEvent | End | None:
        if not self._items:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return None
        return self._items.popleft()
