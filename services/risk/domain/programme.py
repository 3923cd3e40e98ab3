"""The rules of programme trading: orders and cancels of a day, repeated orders, self-trades. Pure computation."""

from collections.abc import Iterator, Sequence
from decimal import ROUND_UP, Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.book import AccountBook
from services.risk.domain.day_counts import Counts
from services.risk.domain.limits import SelfTradePrevention
from services.risk.domain.order import OrderCandidate
from services.risk.domain.violation import Violation, above, refusal

# The cancel ratio counts from this order of the day on.
RATIO_FROM = 20
_NAMED = 10
_PLACES = Decimal("0.0001")


def behaviour_violations(
    book: AccountBook, candidate: OrderCandidate, counts: Counts, crossed: Sequence[str], now: float
) -> Iterator[Violation]:
    """What the rules say of an order: a new one, a replace, or a stop that has triggered."""
    limits, symbol = book.limits, candidate.symbol
    if candidate.replaces:
        # At a venue that cannot amend, a replace is a cancel and an order; a stop that waits is not there.
        if not candidate.held and not book.behaviour.is_asked(candidate.order_id, now):
            yield from cancel_violations(book, symbol, counts, now, replaces=True)
    elif not (candidate.triggered or candidate.order_id in book.reservations or candidate.order_id in book.orders):
        if limits.max_orders_per_day is not None:
            value = counts.orders + book.unseen.get(symbol, 0) + 1
            limit = Decimal(limits.max_orders_per_day)
            yield from above(Reason.RISK_LIMIT_MAX_ORDERS_PER_DAY, limit, Decimal(value), symbol=symbol)
        if window := limits.duplicate_window:
            age_s = book.behaviour.repeats(candidate.repeat_key, candidate.order_id, now, float(window))
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
    book: AccountBook, symbol: str, counts: Counts, now: float, *, replaces: bool
) -> Iterator[Violation]:
    """Why an order of the symbol may not be canceled, or replaced."""
    limits = book.limits
    cancels = counts.cancels + counts.replaces + book.behaviour.asked_in(symbol, now) + 1
    if limits.max_cancels_per_day is not None:
        limit = Decimal(limits.max_cancels_per_day)
        yield from above(Reason.RISK_LIMIT_MAX_CANCELS_PER_DAY, limit, Decimal(cancels), symbol=symbol)
    orders = counts.orders + counts.replaces + book.unseen.get(symbol, 0) + replaces
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


def crossed(book: AccountBook, candidate: OrderCandidate) -> Sequence[str]:
    """The resting orders of the same user that the order would trade with, where that is prevented."""
    if book.resting_orders is None or not book.limits.self_trade_prevention or candidate.held:
        return ()
    return book.resting_orders.crossing(
        book.gateway, candidate.symbol, candidate.buys, candidate.price, candidate.order_id
    )
