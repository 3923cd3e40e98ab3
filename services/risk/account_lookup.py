"""Finding accounts and users, by what their callers may see."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from redfire.reasons import Reason

from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, Invalid, NotFound, ShardMoved, Unavailable
from services.kernel.identity.identity import Identity
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.shards.ownership import Ownership, shard_of
from services.risk.domain.account_exposure import AccountExposure
from services.risk.domain.account_key import AccountKey
from services.risk.domain.portfolio import Portfolio
from services.risk.peers.trading_feed import TradingFeed
from services.risk.repository import RiskRepository
from services.risk.settings import RiskSettings

T = TypeVar("T")
# A caller that has it sees and changes every account's limits and state.
RISK_WRITE = "risk:write"


class RiskUnavailable(Unavailable):
    """Risk does not know what trading knows; only orders that reduce exposure can be let through."""

    reason = Reason.RISK_UNAVAILABLE


class AccountLookup:
    """Accounts of callers, and those that administrators name."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        portfolio: Portfolio,
        feed: TradingFeed,
        settings: LiveSettings[RiskSettings],
        shards: Ownership,
    ) -> None:
        self._repositories = repositories
        self._portfolio = portfolio
        self._feed = feed
        self._settings = settings
        self._shards = shards

    async def key(self, caller: Identity, account_id: str) -> AccountKey:
        """An account of the caller's, or for an administrator one that another replica serves. Raises NotFound."""
        if account_id and caller.has(RISK_WRITE) and self._find(caller, account_id) is None:
            async with self._repositories.read() as repository:
                if owner := await repository.find_owner(account_id):
                    return AccountKey(owner, account_id)
        account = await self.account(caller, account_id)
        return AccountKey(account.user_id, account.account_id)

    async def user_key(self, caller: Identity, account_id: str, user_id: str) -> AccountKey:
        """A user, all of whose accounts an administrator means; both ids are the user's.

        Raises Invalid beside an account, Denied for others than administrators, NotFound for who never had an account.
        """
        if account_id:
            raise Invalid("an account or a user is expected, not both", field="user_id")
        if not caller.has(RISK_WRITE):
            raise Denied("only administrators restrict users", permission=RISK_WRITE)
        if not self._portfolio.owned_by(user_id):
            async with self._repositories.read() as repository:
                if not await repository.is_user_known(user_id):
                    await self._wait(user_id, lambda: self._portfolio.owned_by(user_id) or None, "user", user_id)
        return AccountKey(user_id, user_id)

    async def account(self, caller: Identity, account_id: str) -> AccountExposure:
        """An account of the caller's, the first when the id is empty; waits a little for one that is being opened.

        Raises NotFound, and ShardMoved where another replica serves the account's user.
        """
        if (known := self._find(caller, account_id)) is not None:
            return known
        owner = ""
        if account_id and caller.has(RISK_WRITE):
            async with self._repositories.read() as repository:
                owner = await repository.find_owner(account_id)
        return await self._wait(owner or caller.user_id, lambda: self._find(caller, account_id), "account", account_id)

    def require_here(self, user_id: str) -> None:
        """Raises ShardMoved where another replica serves a user."""
        shard = shard_of(user_id)
        if user_id and self._shards.is_shared and self._shards.owns(shard) is None:
            raise ShardMoved(shard=shard)

    async def _wait(self, user_id: str, find: Callable[[], T | None], kind: str, name: str) -> T:
        self.require_here(user_id)
        try:
            async with asyncio.timeout(self._settings.value.account_wait_s):
                while (found := find()) is None:
                    await self._portfolio.arrival()
        except TimeoutError:
            if not self._feed.complete:
                raise RiskUnavailable("accounts are not known yet") from None
            raise NotFound(kind, name) from None
        return found

    def _find(self, caller: Identity, account_id: str) -> AccountExposure | None:
        if not account_id:
            return self._portfolio.find_first(caller.user_id)
        account = self._portfolio.find(account_id)
        if account is None or account.provisional or not (caller.has(RISK_WRITE) or account.user_id == caller.user_id):
            return None
        return account
