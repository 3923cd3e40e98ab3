"""Leases: working orders that live only while their client's stream does (cancel on disconnect)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from services.kernel.data.writes import Write, Writer
from services.kernel.errors import RedFireError, Unavailable
from services.trading import rows
from services.trading.account_opening import Accounts
from services.trading.domain.lease import Lease
from services.trading.repository import Loaded, Statements
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2
# After a restart clients need a moment to come back, also where their time is over already.
RESTART_GRACE_S = 5.0


class Leases:
    """The leases of all accounts. One lives while any stream holds it; the terms are those of the newest stream.

    They are in the database, so that a restart lets nobody off: what was held by a stream then runs from the start on,
    what had a deadline keeps it, but clients have at least RESTART_GRACE_S to come back.
    """

    def __init__(
        self,
        store: TradingStore,
        accounts: Accounts,
        writer: Writer,
        statements: Statements,
        cancel: Callable[[Lease], Awaitable[int]],
    ) -> None:
        """`cancel(lease)` cancels the account's working orders and answers how many."""
        self._store = store
        self._accounts = accounts
        self._writer = writer
        self._statements = statements
        self._cancel = cancel
        self._leases: dict[str, Lease] = {}
        store.on_loaded(self._load)
        store.on_dropped(self._forget)
        self._streams: dict[str, int] = {}

    def find(self, account_id: str) -> Lease | None:
        """The lease that is armed for an account."""
        return self._leases.get(account_id)

    def _load(self, loaded: Loaded, anew: bool) -> None:
        """Go on with leases that were read; no stream here holds one yet."""
        now_ns = self._store.clock.now_ns()
        for lease in loaded.leases if not anew else ():  # those that are here are as they are
            lease.deadline_ns = max(
                lease.deadline_ns or now_ns + lease.duration_ns, now_ns + int(RESTART_GRACE_S * 1e9)
            )
            self._leases[lease.account_id] = lease
            self._write(lease)

    def _forget(self, _: Collection[int], users: Collection[str]) -> None:
        for lease in [lease for lease in self._leases.values() if lease.user_id in users]:
            del self._leases[lease.account_id]
            self._streams.pop(lease.account_id, None)

    @asynccontextmanager
    async def held(
        self, user_id: str, account_id: str, duration_s: float, cancel_protective_stops: bool
    ) -> AsyncIterator[list[Lease]]:
        """Hold the lease of an account, or of all the user's accounts, for as long as a stream lives."""
        account = await self._accounts.resolve(user_id, account_id)
        accounts = [account] if account_id else self._accounts.of_user(user_id)
        leases = []
        for account in accounts:
            lease = Lease(user_id, account.account_id, int(duration_s * 1e9), cancel_protective_stops)
            self._leases[account.account_id] = lease
            self._streams[account.account_id] = self._streams.get(account.account_id, 0) + 1
            leases.append(lease)
        try:
            await asyncio.gather(*(self._write(lease) for lease in leases))
            yield leases
        finally:
            for account in accounts:
                self._release(account.account_id)

    async def run(self) -> None:
        """Cancel the orders of leases whose time is over, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_ns = self._store.clock.now_ns()
            for lease in [lease for lease in self._leases.values() if 0 < lease.deadline_ns <= now_ns]:
                if not self._store.is_open:
                    continue
                try:
                    await self._end(lease)
                except RedFireError as error:
                    log.warning("account %s: its orders cannot be canceled yet: %s", lease.account_id, error.message)

    def _release(self, account_id: str) -> None:
        if account_id not in self._streams:
            return  # another replica serves the user, and goes on with the lease
        left = self._streams[account_id] - 1
        self._streams[account_id] = left
        if left:
            return
        del self._streams[account_id]
        lease = self._leases[account_id]
        lease.deadline_ns = self._store.clock.now_ns() + lease.duration_ns
        try:
            self._write(lease)
        except Unavailable:
            # The platform stops: in its row a stream holds it, so it runs from the next start on.
            log.warning("account %s: the end of its stream could not be written", account_id)

    async def _end(self, lease: Lease) -> None:
        count = await self._cancel(lease)
        log.warning("account %s: its stream ended, %s of its orders are canceled", lease.account_id, count)
        # A stream may have come meanwhile: then the lease is another one's.
        if self._leases.get(lease.account_id) is lease and lease.deadline_ns:
            # Not over before that is written: the next start would cancel whatever is working then.
            await self._submit(lease, (self._statements.delete_lease, {"account_id": lease.account_id}))
            if self._leases.get(lease.account_id) is lease:
                del self._leases[lease.account_id]

    def _write(self, lease: Lease) -> "asyncio.Future[None]":
        return self._submit(lease, (self._statements.upsert_lease, rows.lease_row(lease)))

    def _submit(self, lease: Lease, write: Write) -> "asyncio.Future[None]":
        written = self._writer.submit([write], fences=(self._store.fence(lease.user_id),))
        written.add_done_callback(_log_failure)
        return written


def _log_failure(written: "asyncio.Future[None]") -> None:
    if not written.cancelled() and (error := written.exception()) is not None:
        log.error("a lease could not be written: %s", error)
