"""Orders that depend on each other: OCO and BRACKET, and what a fill of one means for the others.

**OCO.** All its orders stand for one quantity: what one fills, the others lose, in the step that books the fill.

**BRACKET.** Its exits, a take profit and a stop, wait for the entry and stand for what it has filled and they have not
closed: they begin with its first fill, grow with each further one, and are an OCO.

**One closing quantity.** The orders of a group that close hold it together, once: at most one of them is at the venue.
A stop that triggers has the others canceled there first; it is sent, for what they left, when the venue has reported
their end. So what closes never exceeds what is held, whatever the venue fills meanwhile.

Orders that open may rest at the venue side by side. Where both fill before the cancel reaches the venue, each fill is
a fact: more may be opened than one quantity, at most what the venue fills between the fill's report and the cancel.

What a venue takes back, or reports after the exits were over, is in group_restatement.py.

An order that is canceled or refused by itself leaves the others as they are; when an entry ends, its exits go on for
what it filled. `settle_group` depends on the orders alone and changes nothing when called again: after a restart it
goes on from the rows.
"""

import logging
from decimal import Decimal

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.trading.domain import apply_reports
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.crossing import crossing_orders
from services.trading.domain.fill_or_kill import send_triggered
from services.trading.domain.group_restatement import cause_of_restatement, reopen_exits, restatement
from services.trading.domain.leg import needs_one_leg
from services.trading.domain.money import ZERO
from services.trading.domain.order import STOP_TYPES, Leg, Order, ReplaceStep
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.order_states import move
from services.trading.emulation.exit_checks import ExitChecks
from services.trading.repository import Loaded
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
_WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
# A leg that ended so is not sent again at once while others of its order live: the answer would be the same, again and
# again. Where the reason is none of the order itself, Stops try it again at growing intervals.
_UNFILLED = frozenset({OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED})


def settle_group(cache: TradingCache, group: OrderGroup, changes: ChangeSet) -> list[Order]:
    """Bring a group's orders to what they stand for now; answers the stops that are to be armed.

    Part of the step that changed one of them.
    """
    armed: list[Order] = []
    entry, members = group.entry, [order for order in group.members if order.is_open]
    triggered = any(order.triggered for order in members)
    if entry is not None and entry.is_open and triggered and not _is_ending(entry):
        # The trade is over: what the entry fills until the venue has canceled it, the stop closes, too.
        apply_reports.cancel(cache, entry, changes, Reason.ORDER_GROUP_ENDED)
    if entry is not None and entry.is_held and entry.triggered and not (entry.hold_reason or entry.cancel_first):
        apply_reports.send(cache, entry, changes)
    entry_open = entry is not None and entry.is_open
    for other in members:
        if apply_reports.expire(cache, other, changes):
            continue
        # Whether at the venue or held for its next session: with the stop it would be one order too many there.
        if triggered and not other.triggered and (other.legs or other.type not in STOP_TYPES) and not _is_ending(other):
            apply_reports.cancel(cache, other, changes, Reason.ORDER_GROUP_ENDED)
    members = [order for order in members if order.is_open]
    remaining = group.remaining
    if group.closes and members:
        remaining = _hold(cache, members, remaining, changes)
    for order in members:
        if order.entry_open != entry_open:
            order.entry_open = entry_open
            changes.order(order)
        begins = order.dormant or order.status is OrderStatus.PENDING_NEW
        order.dormant = False
        if remaining:
            if begins and not order.legs:
                # A DAY exit lives on the day that it begins on, whenever it was asked for.
                order.trading_day = cache.days.of(order.gateway, order.symbol)
            _stand_for(cache, group, order, remaining, armed, changes)
        elif entry_open and not order.legs:
            # What it may come to stand for.
            assert entry is not None
            order.dormant = True
            _resize(cache, order, order.cumulative_quantity + entry.leaves_quantity, changes)
        else:
            _end(cache, group, order, changes)
    if not group.is_open:
        filled = sum((order.cumulative_quantity for order in group.members), ZERO)
        if not group.closes and filled > group.quantity:
            log.warning("group %s opened %s, %s were ordered", group.order_group_id, filled, group.quantity)
        cache.forget_group(group)
        group.update_time_ns = changes.now_ns
        changes.groups[group.order_group_id] = group
    return armed


def _stand_for(
    cache: TradingCache,
    group: OrderGroup,
    order: Order,
    remaining: Decimal,
    armed: list[Order],
    changes: ChangeSet,
) -> None:
    """Let an open order stand for `remaining`, at the venue or here."""
    if _is_ending(order):
        return
    live = sum((leg.leaves_quantity for leg in order.legs if leg.is_live), ZERO)
    others = [other for other in group.members if other is not order and other.is_open and other.is_live]
    if order.legs and remaining <= live and order.hold_reason == Reason.SELF_TRADE:
        order.hold_reason = ""  # nothing of it waits any more
        changes.order(order)
    if not order.legs:
        _resize(cache, order, order.cumulative_quantity + remaining, changes)
        if order.type in STOP_TYPES and not order.triggered:
            if order.status is OrderStatus.PENDING_NEW:
                move(order, OrderStatus.NEW)
                changes.order(order)
            armed.append(order)
        elif _is_held_back(order) or order.cancel_first:
            return
        elif not (others and (group.closes or order.triggered)):
            _send(cache, group, order, changes)
        elif order.triggered:
            _meets_own_orders(cache, group, order, changes)  # they go together with the others of its group
    elif order.pending_quantity is not None:
        if (
            order.replace_step is ReplaceStep.CANCELING
            and order.pending_quantity != order.cumulative_quantity + remaining
        ):
            order.pending_quantity = order.cumulative_quantity + remaining
            cache.reserve(order)
            changes.order(order)
    elif remaining == live and order.leaves_quantity > remaining:
        # The part that was refused, and waits to be sent again, is not needed any more.
        _resize(cache, order, order.cumulative_quantity + remaining, changes)
        order.hold_reason = ""
        changes.order(order)
    elif remaining > live and (refused := _refused_leg(order)) is not None:
        if refused.announced_reason in apply_reports.TEMPORARY and not order.hold_reason:
            order.hold_reason = refused.announced_reason
            changes.order(order)
            changes.rearmed.append(order)
    elif remaining > live:
        if needs_one_leg(order, cache.instruments[order.symbol]):
            return  # it is filled or killed in a moment; what it left is sent as one then
        _resize(cache, order, order.cumulative_quantity + remaining, changes)
        _send(cache, group, order, changes)
    elif remaining < live and order.status in _WORKING:
        move(order, OrderStatus.PENDING_REPLACE)
        order.replace_step = ReplaceStep.CANCELING
        order.pending_quantity = order.cumulative_quantity + remaining
        cache.reserve(order)
        changes.order(order)
        changes.cancels.append(order.order_id)


def _refused_leg(order: Order) -> Leg | None:
    """A leg that is over and left something: that is not sent again by itself while others of its order live."""
    return next((leg for leg in order.legs if leg.announced_status in _UNFILLED), None)


def _is_held_back(order: Order) -> bool:
    """Return whether something else than an order of its owner, which is looked for each time, holds it back."""
    return bool(order.hold_reason) and order.hold_reason != Reason.SELF_TRADE


def _meets_own_orders(cache: TradingCache, group: OrderGroup, order: Order, changes: ChangeSet) -> bool:
    """Return whether an exit would trade with orders of its owner that must end first; sets its hold_reason."""
    if not group.closes or not any(order.crossed.get(other.order_id, True) for other in crossing_orders(cache, order)):
        return False
    changes.exits_held.append(order)
    if order.hold_reason != Reason.SELF_TRADE:
        order.hold_reason = Reason.SELF_TRADE
        changes.order(order)
    return True


def _send(cache: TradingCache, group: OrderGroup, order: Order, changes: ChangeSet) -> None:
    """Send what is not at the venue yet, with all that the group holds behind it."""
    if _meets_own_orders(cache, group, order, changes):
        return
    if group.closes:
        for other in group.members:
            if other is not order and (other.hold_today or other.hold_yesterday):
                order.hold_today, other.hold_today = order.hold_today + other.hold_today, ZERO
                order.hold_yesterday, other.hold_yesterday = order.hold_yesterday + other.hold_yesterday, ZERO
                changes.order(other)
    send_triggered(cache, order, changes)


def _hold(cache: TradingCache, members: list[Order], needed: Decimal, changes: ChangeSet) -> Decimal:
    """Let the members together hold `needed` of the position, or what there is; answers how much they hold."""
    first = next((order for order in members if order.legs), members[0])
    held = sum((order.hold_today + order.hold_yesterday for order in members), ZERO)
    if held < needed:
        position = cache.find_position(first)
        more = min(needed - held, position.closable(first.position_effect)) if position is not None else ZERO
        if more > 0 and cache.hold_more(first, more, changes):
            changes.order(first)
            held += more
    for order in sorted(members, key=lambda order: bool(order.legs)):
        if held > needed:
            held -= cache.release_hold(order, held - needed, changes)
    return min(held, needed)


def _end(cache: TradingCache, group: OrderGroup, order: Order, changes: ChangeSet) -> None:
    """An order for which nothing is left is done when it filled all itself, else its group ends it."""
    if _is_ending(order):
        return
    entry = group.entry
    total = group.quantity if entry is None else entry.cumulative_quantity
    if not order.legs and order.cumulative_quantity and order.cumulative_quantity >= total:
        order.quantity = order.cumulative_quantity
        cache.finish(order, OrderStatus.FILLED, changes)
    else:
        apply_reports.cancel(cache, order, changes, Reason.ORDER_GROUP_ENDED)


def _resize(cache: TradingCache, order: Order, quantity: Decimal, changes: ChangeSet) -> None:
    if order.quantity != quantity:
        order.quantity = quantity
        cache.reserve(order)
        changes.order(order)
        changes.accounts[order.account_id] = cache.accounts[order.account_id]


def _is_ending(order: Order) -> bool:
    return order.status is OrderStatus.PENDING_CANCEL


class GroupSettlement:
    """Settles the groups that a step touches, in that step."""

    def __init__(self, store: TradingStore, exits: ExitChecks) -> None:
        self._store = store
        self._exits = exits
        self._cache = store.cache
        store.on_loaded(self._settle_all)

    def _settle_all(self, loaded: Loaded, _: bool) -> None:
        """Settle all groups that were read."""
        for group in loaded.order_groups:
            with self._store.begin(group.user_id) as changes:
                settle_group(self._cache, group, changes)
                if changes:
                    self._store.commit(changes)
                else:
                    self._exits.ask_about_held(changes)

    def complete(self, changes: ChangeSet) -> list[Order]:
        """Settle what a step changed; answers the stops to arm."""
        groups = self._cache.groups
        if not groups:
            return []
        touched = self._exits.ended(changes)
        for order in changes.orders.values():
            if order.order_group_id and (group := groups.get(order.order_group_id)) is not None:
                group.adopt(order)
                touched.add(order.order_group_id)
        for account_id, symbol, side in changes.positions:
            for group in self._cache.groups_of(account_id):
                first = group.members[0]
                if first.is_closing and first.symbol == symbol and first.position_side is side:
                    touched.add(group.order_group_id)
        armed: list[Order] = []
        for order_group_id in sorted(touched):
            group = groups[order_group_id]
            if cause := cause_of_restatement(group, changes):
                reopen_exits(self._cache, group, changes)
            armed += settle_group(self._cache, group, changes)
            if cause:
                changes.restated.append(restatement(self._cache, group, cause))
        self._exits.ask_about_held(changes)
        return armed
