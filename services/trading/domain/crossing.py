"""Resting orders of the same owner that an order would trade with."""

from decimal import Decimal

from redfire.enums import Side, TimeInForce

from services.trading.domain.cache import TradingCache
from services.trading.domain.order import LIMIT_TYPES, Order

_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


def crossing_orders(cache: TradingCache, order: Order) -> list[Order]:
    """The owner's orders, of any account, that rest at the gateway, or are about to, where it would meet them."""
    limit = order.price if order.type in LIMIT_TYPES else None
    return [
        other
        for account in cache.accounts_of[order.user_id]
        if account.gateway == order.gateway
        for other in cache.open_orders(account.account_id)
        if other.symbol == order.symbol and other.side is not order.side and _is_met(other, order.side, limit)
    ]


def _is_met(other: Order, side: Side, limit: Decimal | None) -> bool:
    if other.type not in LIMIT_TYPES or other.time_in_force in _IMMEDIATE or not other.is_live:
        return False
    assert other.price is not None
    if limit is None:
        return True
    return other.price <= limit if side is Side.BUY else other.price >= limit
