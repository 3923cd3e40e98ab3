"""The rules of programme trading: orders and cancels of a day, repeated orders, self-trades. Pure computation."""

from collections.abc import Iterator, Sequence
from decimal import ROUND_UP, Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.account_exposure import AccountExposure
from services.risk.domain.day_counts import Counts
from services.risk.domain.limits import SelfTradePrevention
from services.risk.domain.order import OrderCandidate
from services.risk.domain.violation import Violation, above, refusal

# The cancel ratio counts from this order of the day on.
RATIO_FROM = 20
_NAMED = 10
_PLACES = Decimal("0.0001")


def behaviour_violations(
    account: AccountExposure, candidate: OrderCandidate, counts: Counts, crossed: Sequence[str], now: float
) -> Iterator[Violation]:
    """Violations of an order: a new one, a replace, or a stop that has triggered."""
    limits, symbol = account.limits, candidate.symbol
    if candidate.replaces:
        # At a venue that cannot amend, a replace is a cancel and an order; a stop that waits is not there.
        if not candidate.held and not account.behaviour.is_cancel_pending(candidate.order_id, now):
            yield from cancel_violations(account, symbol, counts, now, replaces=True)
    elif not (
        candidate.triggered or candidate.order_id in account.reservations or candidate.order_id in account.orders
    ):
        if limits.max_orders_per_day is not None:
            value = counts.orders + account.unseen.get(symbol, 0) + 1
            limit = Decimal(limits.max_orders_per_day)
            yield from above(Reason.RISK_LIMIT_MAX_ORDERS_PER_DAY, limit, Decimal(value), symbol=symbol)
        if window := limits.duplicate_window:
            age_s = account.behaviour.repeats(candidate.repeat_key, candidate.order_id, now, float(window))
            if age_s is not None:
                message = f"duplicate_window: the same order was let through {age_s:.3f} s ago"
                window_s, value_s = plain(window), f"{age_s:.3f}"
                yield refusal(Reason.RISK_LIMIT_DUPLICATE_ORDER, message, limit=window_s, value=value_s, symbol=symbol)
    # What replaces an order is not held back until others are gone, as a new order would be.
    if crossed and (candidate.replaces or limits.self_trade_prevention is SelfTradePrevention.CANCEL_NEW):
        message = f"the order would trade with {len(crossed)} of the same owner"
        named = ",".join(crossed[:_NAMED])
        yield refusal(Reason.SELF_TRADE, message, count=str(len(crossed)), order_ids=named, symbol=symbol)


def cancel_violations(
    account: AccountExposure, symbol: str, counts: Counts, now: float, *, replaces: bool
) -> Iterator[Violation]:
    """Violations that a cancel or replace of an order of the symbol would be."""
    limits = account.limits
    cancels = counts.cancels + counts.replaces + account.behaviour.pending_cancels(symbol, now) + 1
    if limits.max_cancels_per_day is not None:
        limit = Decimal(limits.max_cancels_per_day)
        yield from above(Reason.RISK_LIMIT_MAX_CANCELS_PER_DAY, limit, Decimal(cancels), symbol=symbol)
    orders = counts.orders + counts.replaces + account.unseen.get(symbol, 0) + replaces
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
