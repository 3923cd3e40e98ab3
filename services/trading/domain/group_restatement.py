"""Restatement of a group whose venue busts a trade, or reports one after the group's exits were over.

What filled is protected, never more. A busted entry fill makes the exits smaller. What a busted exit had closed is open
again: the exits that are open stand for it again, and where none is, new ones are opened with the values that the first
ones had last. So are they for a fill of an entry that is reported when its exits have ended. Exits are opened anew only
where their group ended them or they were filled: what their owner canceled, the venue refused, or whose time is over,
stays so, and an event reports how much is unprotected.
"""

from dataclasses import replace

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.trading.domain.appraisal import Appraisal, make_order
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet, GroupRestatement
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.order_ids import new_order_id

TRADE_BUSTED, LATE_FILL = "TRADE_BUSTED", "LATE_FILL"
_ENDED_BY_GROUP = frozenset({Reason.ORDER_GROUP_ENDED, Reason.TRADE_BUSTED})
_KEPT_OF_ID = 25


def cause_of_restatement(group: OrderGroup, changes: ChangeSet) -> str:
    """The cause by which a step changes a group's quantity beyond its own orders' fills; empty: it does not."""
    order_ids = {order.order_id for order in group.orders}
    if any(trade.order_id in order_ids for trade in changes.trade_updates):
        return TRADE_BUSTED
    entry = group.entry
    if entry is not None and not _has_exits(group) and any(t.order_id == entry.order_id for t in changes.trades):
        return LATE_FILL
    return ""


def reopen_exits(cache: TradingCache, group: OrderGroup, changes: ChangeSet) -> None:
    """Give a group that has something to protect, and no exit that could, its exits anew."""
    if not group.closes or not group.remaining or _has_exits(group):
        return
    latest: dict[int, Order] = {}
    for place, order in enumerate(group.orders):
        if order is not group.entry:
            latest[_place(order, place)] = order
    for place, order in latest.items():
        ended_by_group = order.status is OrderStatus.FILLED or order.reject_reason in _ENDED_BY_GROUP
        if ended_by_group and not 0 < order.expire_time_ns <= changes.now_ns:
            opened = _anew(cache, group, order, place, changes.now_ns)
            cache.accept(opened, changes, holds=False)
            group.orders.append(opened)
            cache.add_group(group)
            changes.groups[group.order_group_id] = group


def restatement(cache: TradingCache, group: OrderGroup, cause: str) -> GroupRestatement:
    """The event for the user: the quantity that the group's orders stand for now, and the part held unprotected."""
    first = group.members[0]
    position = cache.find_position(first)
    held = position.quantity if position is not None else ZERO
    return GroupRestatement(
        group, cause, min(group.protected_quantity, group.remaining), min(group.unprotected_quantity, held)
    )


def _has_exits(group: OrderGroup) -> bool:
    return any(order.is_open and order.status is not OrderStatus.PENDING_CANCEL for order in group.members)


def _place(order: Order, place: int) -> int:
    """Return the requested order that it is, or stands for."""
    opened_anew = order.client_order_id.endswith(f".{order.order_id}")
    return int(order.client_order_id.split(".")[-2]) if opened_anew else place


def _anew(cache: TradingCache, group: OrderGroup, order: Order, place: int, now_ns: int) -> Order:
    order_id, client_order_id = new_order_id(order.user_id), group.orders[place].client_order_id[:_KEPT_OF_ID]
    new = replace(
        order.asked_again(), client_order_id=f"{client_order_id}.{place}.{order_id}", quantity=group.remaining
    )
    one = Appraisal(new, cache.instruments[order.symbol], None, order.reserve_price)
    account = cache.accounts[order.account_id]
    opened = make_order(order_id, account, one, order.traceparent, order.fingerprint, now_ns, waits=True)
    opened.order_group_id = group.order_group_id
    return opened
