"""Rules of risk: who may see and change what, and the check that every order passes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from redfire.enums import TradingState
from redfire.reasons import Reason

from services.kernel.audit.draft import describe
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.decimals import plain
from services.kernel.errors import Denied, NotFound, ShardMoved, Unavailable
from services.kernel.identity.identity import Identity
from services.kernel.paging import Page, PageResult
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.shards.ownership import Ownership, shard_of
from services.kernel.streams import End
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.check import Circumstances, Growth, growth_of, max_quantity, violations
from services.risk.domain.exposure_view import ExposureView, view_exposure
from services.risk.domain.limits import AccountLimits, Limits
from services.risk.domain.order import OrderCandidate
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.programme import cancel_violations, crossed
from services.risk.domain.risk_event import RiskEvent
from services.risk.domain.shard_counts import ShardCounts
from services.risk.domain.trading_state import EVERYBODY, AccountStates, StateSetting, TradingStates
from services.risk.domain.violation import PASSED, Verdict, Violation
from services.risk.peers.halt_enforcer import HaltEnforcer
from services.risk.peers.price_feed import PriceFeed
from services.risk.peers.trading_feed import TradingFeed
from services.risk.repository import AccountKey, RiskRepository
from services.risk.settings import RiskSettings
from services.risk.state.risk_event_log import RiskEventLog
from services.risk.state.setting_store import SettingStore

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
# A caller that has it sees and changes every account's limits and state.
RISK_WRITE = "risk:write"
_OF_POSITIONS_PRICES = frozenset({Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL, Reason.RISK_LIMIT_MAX_DAILY_LOSS})
_STATE_REASONS = {
    TradingState.ACTIVE: None,
    TradingState.REDUCING: Reason.REDUCE_ONLY,
    TradingState.HALTED: Reason.TRADING_HALTED,
}


class RiskUnavailable(Unavailable):
    """Risk does not know what trading knows; only orders that reduce exposure can be let through."""

    reason = Reason.RISK_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class StateView:
    """The state in force with its reason, and the two that it comes from."""

    account_id: str
    state: TradingState
    reason: str
    global_state: TradingState
    account_state: TradingState


class RiskService:
    """Checks orders in memory; tighter limits and states count at once, looser ones when they are written."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        portfolio: Portfolio,
        states: TradingStates,
        limit_store: SettingStore[AccountKey, AccountLimits],
        state_store: SettingStore[str, AccountStates],
        counts: ShardCounts,
        feed: TradingFeed,
        prices: PriceFeed,
        enforcer: HaltEnforcer,
        event_log: RiskEventLog,
        settings: LiveSettings[RiskSettings],
        clock: Clock,
        shards: Ownership,
    ) -> None:
        self._shards = shards
        self._repositories = repositories
        self._portfolio = portfolio
        self._states = states
        self._limit_store = limit_store
        self._state_store = state_store
        self._counts = counts
        self._feed = feed
        self._prices = prices
        self._enforcer = enforcer
        self._event_log = event_log
        self._settings = settings
        self._clock = clock

    async def check_order(self, candidate: OrderCandidate) -> Verdict:
        """Check whether the order may be accepted; if so it counts from now on. In dry runs nothing is counted.

        Raises RiskUnavailable.
        """
        if not await self._feed.known(candidate.user_id):
            raise RiskUnavailable
        account, now = self._prepare(candidate)
        growth = growth_of(account, candidate)
        refusals = list(violations(account, candidate, now, growth))
        if refusals and any(violation.reason is Reason.NO_LIQUIDITY for violation in refusals):
            # The first order of an instrument: its price has not come by itself yet.
            await self._prices.fetch(candidate.symbol)
            account, now = self._prepare(candidate)
            growth = growth_of(account, candidate)
            refusals = list(violations(account, candidate, now, growth))
        if candidate.dry_run or refusals:
            last = self._portfolio.prices.view(account.market, candidate.symbol, now.now)
            if candidate.dry_run:
                return Verdict(refusals, max_quantity(account, candidate, now, refusals), now.crossed, last)
            refusals = self._with_prices(account, refusals, now.now)
            self._record_refusal(candidate, refusals)
            return Verdict(refusals, last=last)
        self._count(account, candidate, growth, now.now)
        return Verdict(refusals, None, now.crossed) if now.crossed else PASSED

    def check_cancel(self, account_id: str, symbol: str, order_id: str) -> list[Violation]:
        """Violations that a user's cancel would be. Without updates of trading everything may be canceled."""
        account = self._portfolio.find(account_id)
        if account is None or not account.limits.counts_cancels:
            return []
        now, order = self._clock.monotonic(), account.orders.get(order_id)
        # Nothing more goes to the venue for a cancel that is on its way, and nothing at all for a stop that waits here.
        day_counts = self._counts.of_user(account.user_id)
        if order_id in day_counts.canceling or account.behaviour.is_cancel_pending(order_id, now):
            return []
        if order is not None:
            if order.held:
                return []
            symbol = order.symbol
        counts = day_counts.of(account_id, symbol, self._clock.now_ns())
        refusals = list(cancel_violations(account, symbol, counts, now, replaces=False))
        if refusals:
            numbers = {"order_id": order_id}
            for violation in refusals:
                metadata = {**violation.metadata, **numbers}
                self._event_log.record(account.user_id, account_id, violation.reason, violation.message, metadata)
        else:
            account.behaviour.add_pending_cancel(order_id, symbol, now + self._settings.value.reservation_s)
        return refusals

    def release_orders(self, account_id: str, order_ids: Iterable[str]) -> None:
        """Take back what was counted of new orders that trading refused after all: they leave nothing."""
        if (account := self._portfolio.find(account_id)) is not None:
            for order_id in order_ids:
                account.withdraw(order_id)

    def _count(self, account: AccountExposure, candidate: OrderCandidate, growth: Growth, now: float) -> None:
        reserved = account.reservations.get(candidate.order_id)
        leaves, notional, key = growth.leaves, growth.notional, 0
        if reserved is not None:
            leaves, notional = leaves + reserved.leaves, notional + reserved.notional
        if growth.orders:
            account.admit(now)
        until = now + self._settings.value.reservation_s
        if account.watched:
            if not (candidate.replaces or candidate.triggered) and (window := account.limits.duplicate_window):
                key = candidate.repeat_key
                account.behaviour.remember(key, candidate.order_id, now, float(window))
            if candidate.replaces and account.limits.counts_cancels and not candidate.held:
                account.behaviour.add_pending_cancel(candidate.order_id, candidate.symbol, until)
        # A smaller replace adds nothing, and the smaller order is not counted before trading shows it.
        if candidate.order_id not in account.orders or leaves > 0 or notional > 0:
            account.reserve(candidate, leaves, notional, until, key)

    async def get_limits(self, caller: Identity, account_id: str) -> tuple[str, Limits]:
        """The account and the limits in force. Raises NotFound."""
        key = await self._key(caller, account_id)
        return key.account_id, self._portfolio.limits_of(key.account_id)

    async def update_limits(self, caller: Identity, account_id: str, changes: Limits) -> tuple[str, Limits]:
        """Change the limits that are given; what is stricter counts at once.

        Raises NotFound, LimitLoosened, and NotDurable; its `in_force` gives whether it counts all the same.
        """
        key, grants = await self._key(caller, account_id), caller.has(RISK_WRITE)
        before, defaults = self._limit_store.latest(key), self._portfolio.defaults
        if not grants:
            before.require_tighter(changes, defaults)

        def change(limits: AccountLimits) -> AccountLimits:
            return limits.granting(changes) if grants else limits.owning(changes)

        def record() -> None:
            changed = {**changes.to_document(), "updated_by": caller.user_id or caller.service}
            self._event_log.record(key.user_id, key.account_id, None, "limits were changed", changed)

        old, new = before.in_force(defaults), change(before).in_force(defaults)
        describe(f"risk/limits/{key.account_id}", before=old.to_document(), after=new.to_document())
        if change(before) != before or not self._limit_store.is_written(key):
            present = before.in_force(defaults)
            loosens = present.strictest(change(before).in_force(defaults)) == present
            await self._change(self._limit_store, key, change, record, loosens=loosens)
        return key.account_id, self._portfolio.limits_of(key.account_id)

    async def get_exposure(self, caller: Identity, account_id: str) -> ExposureView:
        """The exposure of an account. Raises NotFound."""
        account = await self._account(caller, account_id)
        now = self._clock.monotonic()
        account.expire(now)
        return view_exposure(self._portfolio, account, now)

    async def get_trading_state(self, caller: Identity, account_id: str) -> StateView:
        """The state in force. Raises NotFound. An administrator without an account sees everybody's."""
        if not account_id:
            self._require_here(caller.user_id)
        if not account_id and caller.has(RISK_WRITE) and self._portfolio.find_first(caller.user_id) is None:
            account_id = EVERYBODY
        else:
            account_id = (await self._key(caller, account_id)).account_id
        state, reason = self._states.in_force(account_id)
        return StateView(account_id, state, reason, self._states.of(EVERYBODY), self._states.of(account_id))

    async def set_trading_state(
        self, caller: Identity, account_id: str, state: TradingState, reason: str
    ) -> tuple[str, TradingState]:
        """Set the state of an account, or of everybody; answer the one in force. Raises NotFound, Denied."""
        owner = ""
        if account_id or not caller.has(RISK_WRITE):
            owner, account_id = await self._key(caller, account_id)
        by, grants = caller.user_id or caller.service, caller.has(RISK_WRITE)
        setting = StateSetting(account_id, owner, state, reason, by, self._clock.now())
        before = self._state_store.latest(account_id)
        if not grants and before.admin is not None and state < before.admin.state:
            raise Denied("this state was set by an administrator, who alone may loosen it", permission=RISK_WRITE)

        def change(states: AccountStates) -> AccountStates:
            # An administrator's state counts whatever the owner chose before.
            return AccountStates(admin=setting) if grants else replace(states, owner=setting)

        def record() -> None:
            message, numbers = f"trading state {state.name}: {reason}", {"state": state.name, "updated_by": by}
            self._event_log.record(owner, account_id, _STATE_REASONS[state], message, numbers)

        described = {"state": state.name, "reason": reason}
        describe(f"risk/state/{account_id}", before={"state": before.state.name}, after=described)
        loosens = change(before).state < before.state
        # It looks at the states when this has changed them and waits for the database.
        self._enforcer.begin(account_id)
        await self._change(self._state_store, account_id, change, record, loosens=loosens)
        return account_id, self._states.in_force(account_id)[0]

    async def list_risk_events(
        self, caller: Identity, account_id: str, start: datetime | None, end: datetime | None, page: Page
    ) -> PageResult[RiskEvent]:
        """Events newest first. Raises NotFound for an account that is not the caller's."""
        if account_id:
            await self._key(caller, account_id)
        before = str(page.after[0]) if page.after else None
        async with self._repositories.read() as repository:
            events = await repository.list_events(caller.user_id, account_id, start, end, before, page.size + 1)
        return page.slice(events, lambda event: [event.event_id])

    async def stream_risk_events(
        self, caller: Identity, account_id: str, heartbeat_s: float | None
    ) -> AsyncIterator[RiskEvent | End | None]:
        """Events as they happen; None where nothing happened for a while. Raises NotFound."""
        if account_id:
            await self._account(caller, account_id)
        heartbeat_s = heartbeat_s or self._settings.value.heartbeat_s
        async for item in self._event_log.follow(caller.user_id, account_id, heartbeat_s):
            yield item

    def _prepare(self, candidate: OrderCandidate) -> tuple[AccountExposure, Circumstances]:
        if not self._feed.reliable(self._settings.value.stale_after_s):
            raise RiskUnavailable
        now, prices = self._clock.monotonic(), self._portfolio.prices
        account = self._portfolio.account_for_check(candidate.account_id, candidate.user_id, candidate.gateway)
        unsized = ""
        # The catalogue's size is in the accounts' currency, trading's in the instrument's own.
        candidate.contract_size = prices.sizes.get(candidate.symbol, candidate.contract_size)
        if prices.unsized or not candidate.contract_size or candidate.symbol not in prices.used:
            unsized = self._size(account, candidate)
        account.expire(now)
        state, state_reason = self._states.in_force(candidate.account_id)
        lost = self._portfolio.loss_reached(account)
        unconfirmed_s = prices.unconfirmed_s(account.market, candidate.symbol, now)
        stale, most_s = "", self._settings.value.max_price_age_s
        if most_s is not None and candidate.opens:
            too_long = unconfirmed_s > most_s
            stale = candidate.symbol if too_long else self._portfolio.unconfirmed_position(account, now, most_s)
        circumstances = Circumstances(
            state=state,
            state_reason=state_reason,
            gross_notional=ZERO
            if account.limits.max_gross_notional is None
            else self._portfolio.gross_notional(account),
            last=prices.find(account.market, candidate.symbol),
            loss_reached=lost,
            daily_pnl=self._portfolio.daily_pnl(account) if lost else ZERO,
            now=now,
            unsized=unsized,
            stale=stale,
            unconfirmed_s=unconfirmed_s,
        )
        if account.watched:
            counts = self._counts.of_user(account.user_id)
            circumstances.counts = counts.of(account.account_id, candidate.symbol, self._clock.now_ns())
            circumstances.crossed = crossed(account, candidate)
        return account, circumstances

    def _size(self, account: AccountExposure, candidate: OrderCandidate) -> str:
        """A symbol whose contract size would have to be known. Sizes that trading knows, risk knows from now on."""
        prices = self._portfolio.prices
        prices.use(candidate.symbol)
        if candidate.contract_size and candidate.symbol not in prices.sizes:
            self._portfolio.learn_sizes({candidate.symbol: candidate.contract_size})
        if not candidate.contract_size:
            return candidate.symbol
        return min(self._portfolio.unsized(account), default="") if prices.unsized else ""

    def _with_prices(self, account: AccountExposure, refusals: Sequence[Violation], now: float) -> list[Violation]:
        """State the age of the prices that a violation comes from, where these are of all positions."""
        return [
            replace(violation, metadata={**violation.metadata, **self._portfolio.oldest_price(account, now)})
            if violation.reason in _OF_POSITIONS_PRICES
            else violation
            for violation in refusals
        ]

    def _record_refusal(self, candidate: OrderCandidate, refusals: Sequence[Violation]) -> None:
        order = {"order_id": candidate.order_id, "symbol": candidate.symbol, "quantity": plain(candidate.quantity)}
        for violation in refusals:
            metadata = {**violation.metadata, **order}
            self._event_log.record(
                candidate.user_id, candidate.account_id, violation.reason, violation.message, metadata
            )

    async def _key(self, caller: Identity, account_id: str) -> AccountKey:
        """An account of the caller's, or for an administrator one that another replica serves. Raises NotFound."""
        if account_id and caller.has(RISK_WRITE) and self._find(caller, account_id) is None:
            async with self._repositories.read() as repository:
                if owner := await repository.find_owner(account_id):
                    return AccountKey(owner, account_id)
        account = await self._account(caller, account_id)
        return AccountKey(account.user_id, account.account_id)

    async def _account(self, caller: Identity, account_id: str) -> AccountExposure:
        """An account of the caller's, the first when the id is empty; waits a little for one that is being opened.

        Raises NotFound, and ShardMoved where another replica serves the account's user.
        """
        if (known := self._find(caller, account_id)) is not None:
            return known
        owner = ""
        if account_id and caller.has(RISK_WRITE):
            async with self._repositories.read() as repository:
                owner = await repository.find_owner(account_id)
        self._require_here(owner or caller.user_id)
        try:
            async with asyncio.timeout(self._settings.value.account_wait_s):
                while (account := self._find(caller, account_id)) is None:
                    await self._portfolio.arrival()
        except TimeoutError:
            if not self._feed.complete:
                raise RiskUnavailable("accounts are not known yet") from None
            raise NotFound("account", account_id) from None
        return account

    def _require_here(self, user_id: str) -> None:
        """Raises ShardMoved where another replica serves a user."""
        shard = shard_of(user_id)
        if user_id and self._shards.is_shared and self._shards.owns(shard) is None:
            raise ShardMoved(shard=shard)

    def _find(self, caller: Identity, account_id: str) -> AccountExposure | None:
        if not account_id:
            return self._portfolio.find_first(caller.user_id)
        account = self._portfolio.find(account_id)
        if account is None or account.provisional or not (caller.has(RISK_WRITE) or account.user_id == caller.user_id):
            return None
        return account

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
