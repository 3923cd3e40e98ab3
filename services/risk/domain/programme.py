"""The rules of programme trading: orders and cancels of a day, repeated orders, self-trades. Pure computation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.account_exposure import AccountExposure
from services.risk.domain.day_counts import Counts
from services.risk.domain.limits import Limits, SelfTradePrevention
from services.risk.domain.order import OrderCandidate
from services.risk.domain.violation import Violation, above, refusal

# The cancel ratio counts from this order of the day on.
RATIO_FROM = 20
_NAMED = 10
_PLACES = Decimal("0.0001")


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Activity:
    """Orders, cancels and replaces of a symbol on one trading day, with those that trading has not shown yet."""

    orders: int = 0
    cancels: int = 0  # and replaces: at a venue a replace is a cancel, too
    replaces: int = 0

    def add(self, account: AccountExposure, symbol: str, counts: Counts, now: float) -> "Activity":
        """Add an account's."""
        self.orders += counts.orders + account.unseen.get(symbol, 0)
        self.cancels += counts.cancels + counts.replaces + account.behaviour.pending_cancels(symbol, now)
        self.replaces += counts.replaces
        return self


def behaviour_violations(
    account: AccountExposure, candidate: OrderCandidate, counts: Counts, crossed: Sequence[str], now: float
) -> Iterator[Violation]:
    """Violations of an order: a new one, a replace, or a stop that has triggered."""
    limits = account.limits
    if is_cancel(account, candidate, now) or is_new(account, candidate):
        activity = Activity().add(account, candidate.symbol, counts, now)
        yield from programme_violations(limits, candidate, activity, [account], now)
    # What replaces an order is not held back until others are gone, as a new order would be.
    if crossed and (candidate.replaces or limits.self_trade_prevention is SelfTradePrevention.CANCEL_NEW):
        message = f"the order would trade with {len(crossed)} of the same owner"
        named = ",".join(crossed[:_NAMED])
        yield refusal(Reason.SELF_TRADE, message, count=str(len(crossed)), order_ids=named, symbol=candidate.symbol)


def is_new(account: AccountExposure, candidate: OrderCandidate) -> bool:
    """Return true for an order that is not counted yet."""
    known = candidate.order_id in account.reservations or candidate.order_id in account.orders
    return not (candidate.replaces or candidate.triggered or known)


def is_cancel(account: AccountExposure, candidate: OrderCandidate, now: float) -> bool:
    """Return true for a replace that counts as a cancel of its own: a stop that waits is not at the venue."""
    if not candidate.replaces or candidate.held:
        return False
    return not account.behaviour.is_cancel_pending(candidate.order_id, now)


def programme_violations(
    limits: Limits, candidate: OrderCandidate, activity: Activity, accounts: Sequence[AccountExposure], now: float
) -> Iterator[Violation]:
    """Violations of a new order, or of a replace, by what these accounts did today."""
    symbol = candidate.symbol
    if candidate.replaces:
        # At a venue that cannot amend, a replace is a cancel and an order.
        yield from cancel_violations(limits, symbol, activity, replaces=True)
        return
    if limits.max_orders_per_day is not None:
        limit, value = Decimal(limits.max_orders_per_day), Decimal(activity.orders + 1)
        yield from above(Reason.RISK_LIMIT_MAX_ORDERS_PER_DAY, limit, value, symbol=symbol)
    if window := limits.duplicate_window:
        key, order_id = candidate.repeat_key, candidate.order_id
        ages = (one.behaviour.repeats(key, order_id, now, float(window)) for one in accounts)
        age_s = min((age for age in ages if age is not None), default=None)
        if age_s is not None:
            message = f"duplicate_window: the same order was let through {age_s:.3f} s ago"
            window_s, value_s = plain(window), f"{age_s:.3f}"
            yield refusal(Reason.RISK_LIMIT_DUPLICATE_ORDER, message, limit=window_s, value=value_s, symbol=symbol)


def cancel_violations(limits: Limits, symbol: str, activity: Activity, *, replaces: bool) -> Iterator[Violation]:
    """Violations that a cancel or replace of an order of the symbol would be."""
    cancels = activity.cancels + 1
    if limits.max_cancels_per_day is not None:
        limit = Decimal(limits.max_cancels_per_day)
        yield from above(Reason.RISK_LIMIT_MAX_CANCELS_PER_DAY, limit, Decimal(cancels), symbol=symbol)
    orders = activity.orders + activity.replaces + replaces
    if limits.max_cancel_ratio is not None and orders >= RATIO_FROM and cancels > limits.max_cancel_ratio * orders:
        # Rounded up: it is more than the limit.
        ratio = (Decimal(cancels) / orders).quantize(_PLACES, ROUND_UP)
        yield from above(
            Reason.RISK_LIMIT_MAX_CANCEL_RATIO,
            limits.max_cancel_ratio,
            ratio,
            cancels=str(cancels),
            orders=str(orders),
            symbol=symbol,
        )


def crossed(account: AccountExposure, candidate: OrderCandidate) -> Sequence[str]:
    """The resting orders of the same user that the order would trade with, where that is prevented."""
    if account.resting_orders is None or not account.limits.self_trade_prevention or candidate.held:
        return ()
    return account.resting_orders.crossing(
        account.gateway, candidate.symbol, candidate.buys, candidate.price, candidate.order_id
    )
