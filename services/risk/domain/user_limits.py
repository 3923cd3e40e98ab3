"""Limits of a user: what all accounts have and do together, however many the user opens. Pure computation."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.check import Growth, position_with_orders, reduces
from services.risk.domain.day_counts import Counts
from services.risk.domain.limits import Limits
from services.risk.domain.order import OrderCandidate
from services.risk.domain.programme import Activity, cancel_violations, is_cancel, is_new, programme_violations
from services.risk.domain.violation import Violation, above, refusal

Amount = Callable[[AccountExposure], Decimal]


class UserExposure:
    """The accounts of a user and of the order, and the limits that they have together.

    `gross_notional` and `daily_pnl` value an account at the last prices, `counts` are its day's of a symbol.
    """

    def __init__(
        self,
        limits: Limits,
        accounts: Sequence[AccountExposure],
        gross_notional: Amount,
        daily_pnl: Amount,
        counts: Callable[[AccountExposure, str], Counts],
    ) -> None:
        self._limits = limits
        self._accounts = accounts
        self._counts = counts
        self._gross_notional = gross_notional
        self._daily_pnl = daily_pnl

    def violations(
        self, account: AccountExposure, candidate: OrderCandidate, growth: Growth, now: float
    ) -> Iterator[Violation]:
        """Reasons why the order may not be accepted by what the user's accounts have together."""
        limits = self._limits
        if limits.watches_behaviour and (is_new(account, candidate) or is_cancel(account, candidate, now)):
            activity, accounts = self._activity(account, candidate.symbol, now)
            yield from programme_violations(limits, candidate, activity, accounts, now)
        if (candidate.triggered and not candidate.opens) or (candidate.replaces and reduces(account, candidate)):
            return
        if candidate.opens and limits.max_daily_loss is not None:
            yield from self._loss(limits.max_daily_loss)
        if candidate.opens and (growth.leaves > 0 or candidate.triggered) and limits.max_position_quantity is not None:
            value = self._position(candidate) + growth.leaves
            yield from above(Reason.RISK_LIMIT_MAX_POSITION_QUANTITY, limits.max_position_quantity, value)
        if candidate.opens and (growth.notional > 0 or candidate.triggered) and limits.max_gross_notional is not None:
            value = self._gross() + growth.notional
            yield from above(Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL, limits.max_gross_notional, value)
        if growth.orders and limits.max_open_orders is not None:
            value = Decimal(sum(one.open_orders for one in self._accounts) + 1)
            yield from above(Reason.RISK_LIMIT_MAX_OPEN_ORDERS, Decimal(limits.max_open_orders), value)
        if growth.orders and limits.max_orders_per_second is not None:
            value = Decimal(sum(one.orders_in_last_second(now) for one in self._accounts) + 1)
            yield from above(Reason.RISK_LIMIT_MAX_ORDERS_PER_SECOND, Decimal(limits.max_orders_per_second), value)

    def cancel_violations(self, account: AccountExposure, symbol: str, now: float) -> Iterator[Violation]:
        """Violations that a cancel would be by what the user's accounts did today."""
        yield from cancel_violations(self._limits, symbol, self._activity(account, symbol, now)[0], replaces=False)

    def max_quantity(self, candidate: OrderCandidate) -> Decimal | None:
        """The most that an opening order may have; None: not limited."""
        limits, bounds = self._limits, list[Decimal]()
        worth = abs(candidate.value_price) * candidate.contract_size
        if candidate.opens and limits.max_position_quantity is not None:
            bounds.append(limits.max_position_quantity - self._position(candidate))
        if candidate.opens and limits.max_gross_notional is not None and worth:
            bounds.append((limits.max_gross_notional - self._gross()) / worth)
        return max(ZERO, min(bounds)) if bounds else None

    def _activity(
        self, account: AccountExposure, symbol: str, now: float
    ) -> tuple[Activity, Sequence[AccountExposure]]:
        """The day's of a symbol at the account's gateway, and the accounts there: what is traded on paper counts there
        alone."""
        accounts = [one for one in self._accounts if one.gateway == account.gateway]
        activity = Activity()
        for one in accounts:
            activity.add(one, symbol, self._counts(one, symbol), now)
        return activity, accounts

    def _loss(self, limit: Decimal) -> Iterator[Violation]:
        lost = -sum((self._daily_pnl(one) for one in self._accounts if not one.provisional), ZERO)
        if lost >= limit:
            message = "the day's loss of the user's accounts has reached max_daily_loss; only reducing orders"
            yield refusal(Reason.RISK_LIMIT_MAX_DAILY_LOSS, message, limit=plain(limit), value=plain(lost))

    def _position(self, candidate: OrderCandidate) -> Decimal:
        return sum((position_with_orders(one, candidate) for one in self._accounts), ZERO)

    def _gross(self) -> Decimal:
        return sum((self._gross_notional(one) + one.pending_notional for one in self._accounts), ZERO)
