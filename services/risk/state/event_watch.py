"""Events where replicas share the database: each is recorded once, and reaches the streams at all replicas.

An event of everybody is published from the table alone, by every replica; one of an account at once where it happens,
and from the table where else somebody follows it. What each replica sees for itself, such as the loss of market's feed,
is recorded by the first to see it: a second one finds it there as the latest of its subject.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.kernel.shards.leases import Leases
from services.kernel.tasks import wait_for_event
from services.risk.domain.risk_event import RiskEvent
from services.risk.repository import RiskRepository

log = logging.getLogger(__name__)
TOPIC = "risk_events"
LOOK_S = 2.0
"""A notification wakes the watch; this is for one that was missed."""
KEPT_S = 600.0
"""An event may be written late, when the database was away; its id is of when it happened."""
PAUSE_S = 0.02
"""Time between two looks: what is written meanwhile is found by one."""
SAME_S = 60.0
"""Time within which replicas see the same."""


class EventWatch:
    """Reads what other replicas have recorded for those who follow here, and any for everybody, and publishes it."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        clock: Clock,
        leases: Leases,
        publish: Callable[[RiskEvent], None],
        followed: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        """`followed` are users and accounts whose events streams have: all of a user's where the account is empty."""
        self._followed = followed
        self._own: dict[str, float] = {}
        self._repositories = repositories
        self._clock = clock
        self._leases = leases
        self._publish = publish
        self._seen: set[str] | None = None
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        leases.on_notified(TOPIC, self._woken.set)

    def note_published(self, event: RiskEvent) -> None:
        """Note an event that was published here when it happened."""
        now = self._clock.monotonic()
        self._own[event.event_id] = now
        while self._own and now - next(iter(self._own.values())) > 2 * KEPT_S:
            del self._own[next(iter(self._own))]

    def wake(self) -> None:
        """Have all replicas look: something was written."""
        self._woken.set()
        self._leases.notify(TOPIC)

    async def run(self) -> None:
        """Look whenever something was written, until cancelled."""
        while True:
            self._woken.clear()
            await self.look()
            await asyncio.sleep(PAUSE_S)
            await wait_for_event(self._woken, LOOK_S)

    async def look(self, joining: Sequence[tuple[str, str]] = ()) -> None:
        """Publish what was not there before; at first nothing, nor what there is of those who are to be followed."""
        async with self._turn:
            keys = {*self._followed()}
            try:
                events = await self._read(keys)
                known = await self._read(keys.union(joining)) if joining else []
            except RedFireError as error:
                log.warning("events of other replicas cannot be read: %s", error.message)
                return
            seen = self._seen
            self._seen = {event.event_id for event in (*events, *known)}
            for event in events:
                if seen is not None and event.event_id not in seen and event.event_id not in self._own:
                    self._publish(event)

    async def _read(self, keys: Iterable[tuple[str, str]]) -> list[RiskEvent]:
        since = self._clock.now() - timedelta(seconds=KEPT_S)
        users = sorted({user_id for user_id, account_id in keys if not account_id})
        accounts = sorted({account_id for _, account_id in keys if account_id})
        async with self._repositories.read() as repository:
            events = list(await repository.list_of_everybody(since))
            if users or accounts:
                events += await repository.list_followed(since, users, accounts)
        return sorted({event.event_id: event for event in events}.values(), key=lambda event: event.event_id)


def not_recorded(event: RiskEvent, recorded: Iterable[RiskEvent]) -> RiskEvent | None:
    """The part of an event that is not the latest of its subject already; None for nothing.

    `recorded`: events of everybody, oldest first. An event of symbols is a subject for each of them.
    """
    earliest = event.create_time - timedelta(seconds=SAME_S)
    latest: dict[str, tuple[Reason | None, dict[str, str]]] = {}
    for one in recorded:
        if one.event_id == event.event_id:
            return None
        if one.create_time >= earliest:
            latest.update(dict.fromkeys(_subjects(one), _statement(one)))
    subjects = _subjects(event)
    fresh = [subject for subject in subjects if latest.get(subject) != _statement(event)]
    if len(fresh) == len(subjects):
        return event
    if not fresh:
        return None
    before, names = event.metadata["symbols"], ", ".join(fresh)
    metadata = {**event.metadata, "symbols": names, "count": str(len(fresh))}
    return replace(event, message=event.message.replace(before, names), metadata=metadata)


def _subjects(event: RiskEvent) -> Sequence[str]:
    if symbols := event.metadata.get("symbols"):
        return symbols.split(", ")
    return ["prices" if event.reason in (Reason.MARKET_DATA_LOST, Reason.MARKET_DATA_RECOVERED) else "limits"]


def _statement(event: RiskEvent) -> tuple[Reason | None, dict[str, str]]:
    """The reason; of limits also which they are."""
    return event.reason, event.metadata if event.reason is None else {}
