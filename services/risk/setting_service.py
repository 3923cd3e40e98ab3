"""Rules of limits and trading states: who may see and set which, and when a change counts."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

from redfire.enums import TradingState
from redfire.reasons import Reason

from services.kernel.audit.draft import describe
from services.kernel.clock import Clock
from services.kernel.errors import Denied
from services.kernel.identity.identity import Identity
from services.risk.account_lookup import RISK_WRITE, AccountLookup
from services.risk.domain.account_key import AccountKey
from services.risk.domain.limits import NO_LIMITS, AccountLimits, Limits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.trading_state import EVERYBODY, AccountStates, StateSetting, TradingStates
from services.risk.peers.halt_enforcer import HaltEnforcer
from services.risk.state.risk_event_log import RiskEventLog
from services.risk.state.setting_store import SettingStore

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
_STATE_REASONS = {
    TradingState.ACTIVE: None,
    TradingState.REDUCING: Reason.REDUCE_ONLY,
    TradingState.HALTED: Reason.TRADING_HALTED,
}


@dataclass(frozen=True, slots=True)
class StateView:
    """The state in force with its reason, and the two that it comes from; of an account, a user or everybody."""

    subject: AccountKey
    state: TradingState
    reason: str
    global_state: TradingState
    account_state: TradingState


class SettingService:
    """Limits and states; tighter ones count at once, looser ones when they are written."""

    def __init__(
        self,
        lookup: AccountLookup,
        portfolio: Portfolio,
        states: TradingStates,
        limit_store: SettingStore[AccountKey, AccountLimits],
        state_store: SettingStore[str, AccountStates],
        enforcer: HaltEnforcer,
        event_log: RiskEventLog,
        clock: Clock,
    ) -> None:
        self._lookup = lookup
        self._portfolio = portfolio
        self._states = states
        self._limit_store = limit_store
        self._state_store = state_store
        self._enforcer = enforcer
        self._event_log = event_log
        self._clock = clock

    async def get_limits(self, caller: Identity, account_id: str, user_id: str = "") -> tuple[AccountKey, Limits]:
        """The account or user, and the limits in force. Raises NotFound."""
        key = await self._subject(caller, account_id, user_id)
        return key, self._limits_of(key)

    async def update_limits(
        self, caller: Identity, account_id: str, changes: Limits, user_id: str = ""
    ) -> tuple[AccountKey, Limits]:
        """Change the limits that are given, of an account or of a user; what is stricter counts at once.

        Raises NotFound, Denied, LimitLoosened, and NotDurable; its `in_force` gives whether it counts all the same.
        """
        key, grants = await self._subject(caller, account_id, user_id), caller.has(RISK_WRITE)
        before, defaults = self._limit_store.latest(key), NO_LIMITS if key.is_user else self._portfolio.defaults
        if not grants:
            before.require_tighter(changes, defaults)
        now_ns = self._clock.now_ns()

        def change(limits: AccountLimits) -> AccountLimits:
            return limits.granting(changes, now_ns) if grants else limits.owning(changes)

        def record() -> None:
            changed = {**changes.to_document(), "updated_by": caller.user_id or caller.service}
            self._event_log.record(key.user_id, key.only_account_id, None, "limits were changed", changed)

        old, new = before.in_force(defaults), change(before).in_force(defaults)
        describe(f"risk/limits/{_path(key)}", before=old.to_document(), after=new.to_document())
        if change(before) != before or not self._limit_store.is_written(key):
            loosens = old.strictest(new) == old
            await self._change(self._limit_store, key, change, record, loosens=loosens)
        return key, self._limits_of(key)

    async def get_trading_state(self, caller: Identity, account_id: str, user_id: str = "") -> StateView:
        """The state in force. Raises NotFound. An administrator without an account sees everybody's."""
        if not account_id and not user_id:
            self._lookup.require_here(caller.user_id)
        if not (account_id or user_id) and caller.has(RISK_WRITE) and not self._portfolio.owned_by(caller.user_id):
            key = AccountKey("", EVERYBODY)
        else:
            key = await self._subject(caller, account_id, user_id)
        return self._view(key)

    async def set_trading_state(
        self, caller: Identity, account_id: str, state: TradingState, reason: str, user_id: str = ""
    ) -> StateView:
        """Set the state of an account, of a user, or of everybody. Raises NotFound, Denied."""
        key = AccountKey("", EVERYBODY)
        if account_id or user_id or not caller.has(RISK_WRITE):
            key = await self._subject(caller, account_id, user_id)
        by, grants = caller.user_id or caller.service, caller.has(RISK_WRITE)
        setting = StateSetting(key.account_id, key.user_id, state, reason, by, self._clock.now())
        before = self._state_store.latest(key.account_id)
        if not grants and before.admin is not None and state < before.admin.state:
            raise Denied("this state was set by an administrator, who alone may loosen it", permission=RISK_WRITE)

        def change(states: AccountStates) -> AccountStates:
            return states.granting(setting) if grants else replace(states, owner=setting)

        def record() -> None:
            message, numbers = f"trading state {state.name}: {reason}", {"state": state.name, "updated_by": by}
            self._event_log.record(key.user_id, key.only_account_id, _STATE_REASONS[state], message, numbers)

        described = {"state": state.name, "reason": reason}
        describe(f"risk/state/{_path(key)}", before={"state": before.state.name}, after=described)
        loosens = change(before).state < before.state
        # It looks at the states when this has changed them and waits for the database.
        self._enforcer.begin(key.account_id)
        await self._change(self._state_store, key.account_id, change, record, loosens=loosens)
        return self._view(key)

    async def _subject(self, caller: Identity, account_id: str, user_id: str) -> AccountKey:
        if user_id:
            return await self._lookup.user_key(caller, account_id, user_id)
        return await self._lookup.key(caller, account_id)

    def _limits_of(self, key: AccountKey) -> Limits:
        if key.is_user:
            return self._portfolio.limits_of_user(key.user_id)
        return self._portfolio.limits_of(key.account_id).strictest(self._portfolio.limits_of_user(key.user_id))

    def _view(self, key: AccountKey) -> StateView:
        account = self._portfolio.find(key.account_id)
        siblings = self._portfolio.siblings(account) if account is not None else ()
        where = key.account_id, key.user_id, siblings, account.create_time_ns if account is not None else 0
        state, reason = self._states.in_force(*where)
        own = self._states.of_account(*where)
        account_state = TradingState.ACTIVE if own is None else own.state
        return StateView(key, state, reason, self._states.of(EVERYBODY), account_state)

    @staticmethod
    async def _change(
        store: SettingStore[K, T], key: K, change: Callable[[T], T], record: Callable[[], None], *, loosens: bool
    ) -> None:
        """Change a setting, and record it when it counts: at once, or only when it is written."""
        if not loosens:
            record()
        await store.change(key, change, loosens=loosens)
        if loosens:
            record()


def _path(key: AccountKey) -> str:
    return f"users/{key.user_id}" if key.is_user else key.account_id
