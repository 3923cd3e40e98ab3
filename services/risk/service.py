"""Rules of risk: the check that every order passes, exposure, and events."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from redfire.enums import TradingState
from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.decimals import plain
from services.kernel.identity.identity import Identity
from services.kernel.paging import Page, PageResult
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.streams import End
from services.risk.account_lookup import AccountLookup, RiskUnavailable
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.check import Circumstances, Growth, growth_of, max_quantity, violations
from services.risk.domain.day_counts import Counts
from services.risk.domain.exposure_view import ExposureView, view_exposure
from services.risk.domain.order import OrderCandidate
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.programme import Activity, cancel_violations, crossed
from services.risk.domain.risk_event import RiskEvent
from services.risk.domain.shard_counts import ShardCounts
from services.risk.domain.trading_state import TradingStates
from services.risk.domain.user_limits import UserExposure
from services.risk.domain.violation import PASSED, Verdict, Violation
from services.risk.peers.price_feed import PriceFeed
from services.risk.peers.trading_feed import TradingFeed
from services.risk.repository import RiskRepository
from services.risk.settings import RiskSettings
from services.risk.state.risk_event_log import RiskEventLog

_OF_POSITIONS_PRICES = frozenset({Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL, Reason.RISK_LIMIT_MAX_DAILY_LOSS})


class RiskService:
    """Checks orders in memory."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        portfolio: Portfolio,
        states: TradingStates,
        counts: ShardCounts,
        feed: TradingFeed,
        prices: PriceFeed,
        event_log: RiskEventLog,
        settings: LiveSettings[RiskSettings],
        clock: Clock,
        lookup: AccountLookup,
    ) -> None:
        self._lookup = lookup
        self._repositories = repositories
        self._portfolio = portfolio
        self._states = states
        self._counts = counts
        self._feed = feed
        self._prices = prices
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
        refusals = self._violations(account, candidate, now, growth)
        if refusals and any(violation.reason is Reason.NO_LIQUIDITY for violation in refusals):
            # The first order of an instrument: its price has not come by itself yet.
            await self._prices.fetch(candidate.symbol)
            account, now = self._prepare(candidate)
            growth = growth_of(account, candidate)
            refusals = self._violations(account, candidate, now, growth)
        if candidate.dry_run or refusals:
            last = self._portfolio.prices.view(account.market, candidate.symbol, now.now)
            if candidate.dry_run:
                return Verdict(refusals, self._max_quantity(account, candidate, now, refusals), now.crossed, last)
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
        activity = Activity().add(account, symbol, counts, now)
        refusals = list(cancel_violations(account.limits, symbol, activity, replaces=False))
        if (user := self._user_of(account)) is not None:
            known = {violation.reason for violation in refusals}
            refusals += [one for one in user.cancel_violations(account, symbol, now) if one.reason not in known]
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

    async def get_exposure(self, caller: Identity, account_id: str) -> ExposureView:
        """The exposure of an account. Raises NotFound."""
        account = await self._lookup.account(caller, account_id)
        now = self._clock.monotonic()
        account.expire(now)
        return view_exposure(self._portfolio, account, now)

    async def list_risk_events(
        self, caller: Identity, account_id: str, start: datetime | None, end: datetime | None, page: Page
    ) -> PageResult[RiskEvent]:
        """Events newest first. Raises NotFound for an account that is not the caller's."""
        if account_id:
            await self._lookup.key(caller, account_id)
        before = str(page.after[0]) if page.after else None
        async with self._repositories.read() as repository:
            events = await repository.list_events(caller.user_id, account_id, start, end, before, page.size + 1)
        return page.slice(events, lambda event: [event.event_id])

    async def stream_risk_events(
        self, caller: Identity, account_id: str, heartbeat_s: float | None
    ) -> AsyncIterator[RiskEvent | End | None]:
        """Events as they happen; None where nothing happened for a while. Raises NotFound."""
        if account_id:
            await self._lookup.account(caller, account_id)
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
        state, state_reason = self._state_of(account)
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

    def _state_of(self, account: AccountExposure) -> tuple[TradingState, str]:
        if not self._states.restricts_users:
            return self._states.in_force(account.account_id)
        # One that trading has not sent yet is being opened.
        opened_ns = account.create_time_ns or self._clock.now_ns()
        siblings = self._portfolio.siblings(account)
        return self._states.in_force(account.account_id, account.user_id, siblings, opened_ns)

    def _violations(
        self, account: AccountExposure, candidate: OrderCandidate, now: Circumstances, growth: Growth
    ) -> list[Violation]:
        refusals = list(violations(account, candidate, now, growth))
        if (user := self._user_of(account)) is not None:
            known = {violation.reason for violation in refusals}
            more = user.violations(account, candidate, growth, now.now)
            refusals += [violation for violation in more if violation.reason not in known]
        return refusals

    def _max_quantity(
        self, account: AccountExposure, candidate: OrderCandidate, now: Circumstances, refusals: Sequence[Violation]
    ) -> Decimal | None:
        most = max_quantity(account, candidate, now, refusals)
        together = None if (user := self._user_of(account)) is None else user.max_quantity(candidate)
        return together if most is None or (together is not None and together < most) else most

    def _user_of(self, account: AccountExposure) -> UserExposure | None:
        """The accounts of a user together, where these are limited."""
        limits = account.together
        if limits is None:
            return None
        accounts = {one.account_id: one for one in (*self._portfolio.owned_by(account.user_id), account)}
        for one in accounts.values():
            one.expire(self._clock.monotonic())
        portfolio, owned, now_ns = self._portfolio, list(accounts.values()), self._clock.now_ns()
        day_counts = self._counts.of_user(account.user_id)

        def counts(one: AccountExposure, symbol: str) -> Counts:
            return day_counts.of(one.account_id, symbol, now_ns)

        return UserExposure(limits, owned, portfolio.gross_notional, portfolio.daily_pnl, counts)

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
