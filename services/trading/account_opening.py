"""Opening accounts, and finding the caller's."""

import asyncio

from redfire.enums import AccountKind, LedgerEntryKind
from redfire.reasons import Reason

from services.kernel.errors import Denied, Duplicate, FailedPrecondition, NotFound, RedFireError
from services.kernel.events.inbox import Receipt
from services.kernel.identifiers import new_id
from services.kernel.runtime.live_settings import LiveSettings
from services.trading.domain import ledger
from services.trading.domain.account import Account
from services.trading.domain.account_rules import GatewayNotAllowed, gateway_violation
from services.trading.domain.order import fingerprint
from services.trading.peers.engine_client import EngineClient
from services.trading.settings import TradingSettings
from services.trading.state.store import TradingStore

# The key of idempotency of the account that every user has.
FIRST = "user.registered"
MOST_ACCOUNTS = 100
MOST_OF_KEY = 64


class LiveAccountsAreForAdministrators(Denied):
    """Accounts with real money are opened by administrators."""


class TooManyAccounts(FailedPrecondition):
    """The user has too many accounts."""

    reason = Reason.OVERLOADED


class Accounts:
    """The accounts of users."""

    def __init__(self, store: TradingStore, engine: EngineClient, settings: LiveSettings[TradingSettings]) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings

    async def resolve(self, user_id: str, account_id: str = "") -> Account:
        """The user's account, the first when `account_id` is empty. Raises NotFound, also for somebody else's."""
        self._store.require_open(user_id)
        cache = self._store.cache
        if account_id:
            account = cache.accounts.get(account_id)
            if account is None or account.user_id != user_id:
                raise NotFound("account", account_id)
            return account
        mine = cache.accounts_of.get(user_id)
        # Reported at registration; a request may come before that event.
        return mine[0] if mine else await self.open_first(user_id)

    def of_user(self, user_id: str) -> list[Account]:
        """The user's accounts, oldest first."""
        self._store.require_open(user_id)
        return list(self._store.cache.accounts_of.get(user_id, ()))

    async def open_first(self, user_id: str, receipt: Receipt | None = None) -> Account:
        """Open the paper account that every user has; asked again, the same. The event's receipt is written with it."""
        return await self._open(user_id, "Paper", AccountKind.PAPER, "", FIRST, receipt)

    async def open(
        self, user_id: str, display_name: str, kind: AccountKind, gateway: str, request_id: str, is_admin: bool
    ) -> Account:
        """Open another account; a gateway has one LIVE account, which is the one that it reports.

        Raises LiveAccountsAreForAdministrators, GatewayNotAllowed, TooManyAccounts.
        """
        if kind is AccountKind.LIVE and not is_admin:
            raise LiveAccountsAreForAdministrators
        gateway = gateway or self._settings.value.paper_gateway
        try:
            await self._engine.connected_gateways()  # also reports which of them are simulated
        except RedFireError:
            if gateway not in self._engine.simulated:
                raise
        if violation := gateway_violation(kind, gateway, self._engine.simulated):
            raise violation
        return await self._open(user_id, display_name, kind, gateway, _key(request_id) if request_id else new_id())

    async def _open(
        self,
        user_id: str,
        name: str,
        kind: AccountKind,
        gateway: str,
        request_id: str,
        receipt: Receipt | None = None,
    ) -> Account:
        store, settings = self._store, self._settings.value
        store.require_open(user_id)
        mine = store.cache.accounts_of.get(user_id, [])
        for account in mine:
            if account.request_id == request_id:
                await store.commit_log.durable()
                return account
        if len(mine) >= MOST_ACCOUNTS:
            raise TooManyAccounts(limit=MOST_ACCOUNTS)
        if kind is AccountKind.LIVE and store.cache.live_account(gateway) is not None:
            raise _taken(gateway)
        with store.begin(user_id) as changes:
            account = Account(
                new_id(),
                user_id,
                name,
                kind,
                gateway or settings.paper_gateway,
                settings.currency,
                changes.now_ns,
                request_id,
            )
            if kind is AccountKind.PAPER:
                changes.entries += ledger.post(
                    account, LedgerEntryKind.DEPOSIT, settings.paper_cash, account.account_id, changes.now_ns
                )
            store.cache.add_account(account)
            changes.account(account)
            changes.opened.append(account)
            if receipt is not None:
                changes.writes.append(receipt.write)
            # Another replica may open one of the same gateway: the database takes the first.
            written = store.commit(changes, refusable=kind is AccountKind.LIVE)

        def end(done: "asyncio.Future[None]") -> None:
            if isinstance(done.exception(), Duplicate):
                store.cache.withdraw_account(account)

        written.add_done_callback(end)
        try:
            # A caller that disconnects does not undo it.
            await asyncio.shield(written)
        except Duplicate:
            raise _taken(gateway) from None
        return account


def _taken(gateway: str) -> GatewayNotAllowed:
    return GatewayNotAllowed(
        f"gateway {gateway} has its one LIVE account already; "
        "another account at the broker needs a gateway of its own, with its login",
        gateway=gateway,
    )


def _key(request_id: str) -> str:
    """The key of idempotency of a request, in the 64 characters that its column takes."""
    key = f"open:{request_id}"
    return key if len(key) <= MOST_OF_KEY else f"open#{fingerprint(request_id)}"
