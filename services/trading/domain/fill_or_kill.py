"""Closing stops that are to be filled or killed as one, where the exchange splits closes (see legs)."""

from redfire.reasons import Reason

from services.trading.domain import apply_reports
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.leg import needs_one_leg
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order


def send_triggered(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """Send a stop that has triggered; a FOK that would go as two legs stays armed until one can carry it."""
    if _hold_one_part(cache, order, changes):
        apply_reports.send(cache, order, changes)
    else:
        apply_reports.rearm(order, Reason.UNSUPPORTED, changes)


def _hold_one_part(cache: TradingCache, order: Order, changes: ChangeSet) -> bool:
    """Let it hold contracts of one kind, today's or yesterday's; False where there is not enough of either."""
    position = cache.find_position(order)
    if position is None or not needs_one_leg(order, cache.instruments[order.symbol]):
        return True
    cache.roll(position, changes)
    before = order.hold_today, order.hold_yesterday
    if not all(before):
        return True
    position.freeze(-before[0], -before[1])
    hold = position.hold_one_part(sum(before, ZERO), cache.closes_today_first(order.symbol))
    order.hold_today, order.hold_yesterday = hold or before
    position.freeze(order.hold_today, order.hold_yesterday)
    changes.position(position)
    changes.order(order)
    return hold is not None
