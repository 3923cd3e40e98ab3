"""Orders as a vnpy gateway can take them, and the refusals of those that it cannot."""

from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any

from redfire.reasons import Reason

from services.engine.updates import OrderRequest, OrderType, Side
from services.engine.vnpy.mapping import Unreadable, exact, split_symbol, vnpy_type
from services.kernel.errors import FailedPrecondition


class Unsupported(FailedPrecondition):
    """The gateway cannot do this."""

    reason = Reason.UNSUPPORTED


class NotSent(FailedPrecondition):
    """The gateway did not take the order (flow control, a full queue, a lost connection): the venue never had it."""

    reason = Reason.NOT_SENT


class NoPriceLimit(FailedPrecondition):
    """The day's limit price, which stands for a market order, is not known."""

    reason = Reason.NO_LIQUIDITY


def placeable(request: OrderRequest, gateway_name: str, tick: Any, limit_only: Collection[str]) -> OrderRequest:
    """The order for the gateway; `tick` is the symbol's last one in vnpy's OMS, or None.

    A market order for an exchange of `limit_only`, which would cancel it at once, becomes a limit order at the day's
    limit, as traders place it.
    Raises: Unsupported, NoPriceLimit.
    """
    if vnpy_type(request) is None:
        raise Unsupported(f"{gateway_name} knows no {request.type} order with time in force {request.time_in_force}")
    if request.post_only:
        raise Unsupported(f"{gateway_name} knows no post-only orders")
    try:
        split_symbol(request.symbol)
    except ValueError:
        raise Unsupported(f"{request.symbol}: vnpy does not know its exchange") from None
    if request.type is not OrderType.MARKET or request.symbol.rpartition(".")[2] not in limit_only:
        return request
    limit = 0.0 if tick is None else tick.limit_up if request.side is Side.BUY else tick.limit_down
    try:
        price = exact(limit)
    except Unreadable:
        price = Decimal(0)
    if not price or tick.gateway_name != gateway_name:
        raise NoPriceLimit(f"the day's limits of {request.symbol}, which takes no market orders, are not known")
    return replace(request, type=OrderType.LIMIT, price=price)
