"""The log of risk events: sent to streams at once, written to the database in the background."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.identifiers import new_id
from services.kernel.shards.leases import Leases
from services.kernel.streams import End, Subscriber, Subscribers
from services.risk.domain.risk_event import RiskEvent
from services.risk.repository import RiskRepository
from services.risk.state.event_watch import KEPT_S, EventWatch, not_recorded

log = logging.getLogger(__name__)
_GROUP = 500
_SUBSCRIBER_BUFFER = 1000


class RiskEventLog:
    """Events never slow a check: recording one is an append to a bounded queue."""

    def __init__(
        self, repositories: Repositories[RiskRepository], clock: Clock, buffer: int, shared: Leases | None = None
    ) -> None:
        """`shared` are the leases of the database, where replicas share it."""
        self.watch: EventWatch | None = None
        if shared is not None:
            self.watch = EventWatch(repositories, clock, shared, self._publish, lambda: self._subscribers.keys)
        self._observed: set[str] = set()
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
        self._record(RiskEvent(new_id(), user_id, account_id, reason, message, self._clock.now(), metadata))

    def observe(self, reason: Reason | None, message: str, metadata: dict[str, str]) -> None:
        """Record an event to everybody that each replica sees: of them all once."""
        event = RiskEvent(new_id(), "", "", reason, message, self._clock.now(), metadata)
        if self.watch is not None:
            self._observed.add(event.event_id)
        self._record(event)

    def _record(self, event: RiskEvent) -> None:
        if len(self._waiting) >= self._buffer:
            # The oldest are kept: they show how it began.
            self._lost += 1
            self._observed.discard(event.event_id)
        else:
            self._waiting.append(event)
            self._added.set()
        if self.watch is None:
            self._publish(event)
        elif event.user_id or event.account_id:
            self.watch.note_published(event)
            self._publish(event)

    def _publish(self, event: RiskEvent) -> None:
        for followed_user, followed_account in self._subscribers.keys:
            if event.account_id == followed_account if followed_account else event.user_id in (followed_user, ""):
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
                if unrecorded := await self._unrecorded(repository, group):
                    await repository.put_events(unrecorded)
            for event in group:
                self._waiting.popleft()
                self._observed.discard(event.event_id)
            if self.watch is not None:
                self.watch.wake()
        if self._lost:
            log.warning("%d risk events were not written: more than %d were waiting", self._lost, self._buffer)
            self._lost = 0

    async def _unrecorded(self, repository: RiskRepository, group: Sequence[RiskEvent]) -> list[RiskEvent]:
        """Those of a group that no other replica has recorded; replicas write one after the other."""
        if not self._observed:
            return list(group)
        recorded = list(await repository.list_of_everybody(self._clock.now() - timedelta(seconds=KEPT_S)))
        unrecorded: list[RiskEvent] = []
        for event in group:
            left = not_recorded(event, recorded) if event.event_id in self._observed else event
            if left is not None:
                unrecorded.append(left)
                if not left.user_id:
                    recorded.append(left)
        return unrecorded

    async def follow(self, user_id: str, account_id: str, heartbeat_s: float) -> AsyncIterator[RiskEvent | End | None]:
        """Events as they happen, of one account or all of a user's; None where nothing happened for a while."""
        if self.watch is not None:
            await self.watch.look([(user_id, account_id)])  # what is there already is no news to this stream
        with self._subscribers.follow((user_id, account_id)) as subscriber:
            async for item in subscriber.items(heartbeat_s):
                yield item

    async def drain(self) -> None:
        """End all streams, and those to come."""
        await self._subscribers.drain()
