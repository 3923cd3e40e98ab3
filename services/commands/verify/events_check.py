"""Checks of events: outboxes and inboxes move, and what was published was consumed."""

from collections.abc import Mapping
from importlib import import_module

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.events.backlog import Backlog, read_backlog
from services.kernel.events.outbox import Outbox
from services.kernel.events.transport import LeftToRelay
from services.trading.verify.books_repository import BooksRepository
from services.trading.verify.finding import Finding
from services.user import models as user_models
from services.user.repository import UserRepository
from services.user.user import UserFilter
from services.user.user_events import UserEvents

USERS_AT_ONCE = 500


class EventsCheck:
    """The boxes of all services, and what consumers made of events."""

    def __init__(self, databases: Mapping[str, Database], is_running: bool) -> None:
        """`databases` are those that are there, by service. What waits is a finding only where something runs."""
        self._databases = databases
        self._is_running = is_running
        # Users without an account, once all were read.
        self._missing: set[str] | None = None
        self.waiting = self.users = 0

    async def check(self) -> list[Finding]:
        """Check once; returns the events that wait or are missing now."""
        findings, self.waiting = [], 0
        backlogs: dict[str, Backlog] = {}
        users = await self._users_without_account() if {"user", "trading"} <= self._databases.keys() else set()
        for service, database in self._databases.items():
            models = import_module(f"services.{service}.models")
            outbox, inbox = getattr(models, "OutboxRow", None), getattr(models, "InboxRow", None)
            backlog = backlogs[service] = await read_backlog(database, outbox, inbox)
            self.waiting += len(backlog.events)
            for event in backlog.events:
                subject = f"{service}'s {event.box} {event.event_id} {event.routing_key}".rstrip()
                if event.is_dead:
                    findings.append(Finding("dead_letter", "an event could not be applied or read", subject=subject))
                elif self._is_running:
                    message = "an event is not delivered" if event.box == "outbox" else "an event is not applied"
                    findings.append(Finding(event.box, message, subject=subject))
        if users:
            users -= await self._with_accounts(users)
        waiting = {event.aggregate_id for backlog in backlogs.values() for event in backlog.events}
        findings += [
            Finding("event_lost", "a user's registration was published, and trading opened no account", user_id=user_id)
            for user_id in sorted(users - waiting)
        ]
        return findings

    async def _users_without_account(self) -> set[str]:
        """Those of the first check who still have none."""
        if self._missing is None:
            self._missing = set()
            database = self._databases["user"]
            events = UserEvents(Outbox("user", database, user_models.OutboxRow, LeftToRelay(), Clock()))
            before = None
            while True:
                async with database.repositories(lambda session: UserRepository(session, events)).read() as repository:
                    page = await repository.list_page(UserFilter(), before, USERS_AT_ONCE)
                if not page:
                    break
                before = page[-1].user_id
                self.users += len(page)
                ids = {user.user_id for user in page}
                self._missing |= ids - await self._with_accounts(ids)
        else:
            self._missing -= await self._with_accounts(self._missing)
        return set(self._missing)

    async def _with_accounts(self, user_ids: set[str]) -> set[str]:
        async with self._databases["trading"].repositories(BooksRepository).read() as repository:
            return await repository.users_with_accounts(sorted(user_ids))
