"""Limits of a user: what all accounts have together, however many the user opens. Pure computation."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.check import Growth, position_with_orders, reduces
from services.risk.domain.limits import Limits
from services.risk.domain.order import OrderCandidate
from services.risk.domain.violation import Violation, above, refusal

Amount = Callable[[AccountExposure], Decimal]


class UserExposure:
    """The accounts of a user and of the order, and the limits that they have together.

    `gross_notional` and `daily_pnl` value an account at the last prices.
    """

    def __init__(
        self, limits: Limits, accounts: Sequence[AccountExposure], gross_notional: Amount, daily_pnl: Amount
    ) -> None:
        self._limits = limits
        self._accounts = accounts
        self._gross_notional = gross_notional
        self._daily_pnl = daily_pnl

    def violations(
        self, account: AccountExposure, candidate: OrderCandidate, growth: Growth, now: float
    ) -> Iterator[Violation]:
        """Reasons why the order may not be accepted by what the user's accounts have together."""
        limits = self._limits
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

    def max_quantity(self, candidate: OrderCandidate) -> Decimal | None:
        """The most that an opening order may have; None: not limited."""
        limits, bounds = self._limits, list[Decimal]()
        worth = abs(candidate.value_price) * candidate.contract_size
        if candidate.opens and limits.max_position_quantity is not None:
            bounds.append(limits.max_position_quantity - self._position(candidate))
        if candidate.opens and limits.max_gross_notional is not None and worth:
            bounds.append((limits.max_gross_notional - self._gross()) / worth)
        return max(ZERO, min(bounds)) if bounds else None

    def _loss(self, limit: Decimal) -> Iterator[Violation]:
        lost = -sum((self._daily_pnl(one) for one in self._accounts if not one.provisional), ZERO)
        if lost >= limit:
            message = "the day's loss of the user's accounts has reached max_daily_loss; only reducing orders"
            yield refusal(Reason.RISK_LIMIT_MAX_DAILY_LOSS, message, limit=plain(limit), value=plain(lost))

    def _position(self, candidate: OrderCandidate) -> Decimal:
        return sum((position_with_orders(one, candidate) for one in self._accounts), ZERO)

    def _gross(self) -> Decimal:
        return sum((self._gross_notional(one) + one.pending_notional for one in self._accounts), ZERO)
