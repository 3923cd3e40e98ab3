"""The legal transitions of an order's state (FIX 4.4, volume 4, appendix D): one table for every change of a status."""

from redfire.enums import OrderStatus

from services.trading.domain.order import Order

_S = OrderStatus

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    _S.PENDING_NEW: frozenset(
        {_S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.NEW: frozenset(
        {
            _S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.PENDING_REPLACE, _S.REJECTED, _S.EXPIRED,
            _S.UNKNOWN,
        }
    ),
    _S.PARTIALLY_FILLED: frozenset(
        # Back to NEW when the venue busts all that was filled.
        {_S.NEW, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.PENDING_REPLACE, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    # Back to work when the venue could not cancel after all.
    _S.PENDING_CANCEL: frozenset(
        {_S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.PENDING_REPLACE: frozenset(
        {
            _S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN,
        }
    ),
    _S.UNKNOWN: frozenset(
        {
            _S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.REJECTED, _S.EXPIRED,
        }
    ),
    # A trade that overtook the end and completes the order wins: fills are facts.
    _S.CANCELED: frozenset({_S.FILLED}),
    _S.EXPIRED: frozenset({_S.FILLED}),
    # A bust takes fills back; what it takes does not return to the market (FIX 4.4: the order is done, not filled).
    _S.FILLED: frozenset({_S.CANCELED}),
    # Believed not sent, or refused, and traded after all.
    _S.REJECTED: frozenset({_S.FILLED, _S.CANCELED}),
}  # fmt: skip


class IllegalTransition(AssertionError):
    """A status was to follow one that it cannot follow: an internal error, never the venue's."""


def may_follow(status: OrderStatus, following: OrderStatus) -> bool:
    """Return whether the table allows it. Staying is not a transition."""
    return following in TRANSITIONS[status]


def move(order: Order, status: OrderStatus) -> bool:
    """Give the order its next status; False when it has it already.

    Raises: IllegalTransition.
    """
    if order.status is status:
        return False
    if not may_follow(order.status, status):
        raise IllegalTransition(f"{order.order_id}: {order.status.name} to {status.name}")
    order.status = status
    return True


def working_status(order: Order) -> OrderStatus:
    """Return the status of an order that the venue works on."""
    return OrderStatus.PARTIALLY_FILLED if order.cumulative_quantity else OrderStatus.NEW
