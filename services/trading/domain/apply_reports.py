"""Application of a venue's reports to the books, in whatever order, and however often they come."""

import logging

from redfire.enums import OrderStatus, TimeInForce
from redfire.reasons import Reason

from services.kernel.identifiers import new_id
from services.trading import metrics
from services.trading.domain import ledger
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.external_booking import reverse_superseded, superseded_trades
from services.trading.domain.leg import begin_legs
from services.trading.domain.money import ZERO, product
from services.trading.domain.order import FINISHED, GOOD_TILL, Delivery, Leg, Order, ReplaceStep
from services.trading.domain.order_states import may_follow, move, working_status
from services.trading.domain.position_booking import book_position
from services.trading.domain.replacement import abandon_replacement, adopt_replacement, is_amended
from services.trading.domain.report import FillReport, OrderStatusReport
from services.trading.domain.trade import Trade

log = logging.getLogger(__name__)
_WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
# Reasons why an order could not be sent, or was ended unfilled, that concern no property of the order itself.
TEMPORARY = frozenset(
    {
        Reason.GATEWAY_DISCONNECTED, Reason.INSUFFICIENT_POSITION, Reason.MARKET_CLOSED, Reason.NOT_SENT,
        Reason.NO_LIQUIDITY, Reason.OVERLOADED, Reason.RATE_LIMITED, Reason.RISK_UNAVAILABLE, Reason.SHUTTING_DOWN,
        Reason.STALE_PRICE, Reason.UNAVAILABLE,
    }
)  # fmt: skip


def apply_order_report(
    cache: TradingCache, order: Order, report: OrderStatusReport, changes: ChangeSet, stale_amend: bool = False
) -> None:
    """Apply what is new in a report.

    With `stale_amend` the report answers a question asked long after an amend: what it shows is the amend's outcome.

    A status is only ever taken where the table of order_states allows it; an end is put off until the trades that the
    venue counts have come, so that the order, its trades, the position and the ledger agree at any time.
    """
    leg = order.find_leg(report.reference)
    if leg is None:
        return  # of a leg that is over
    if not order.is_open:
        _report_after_end(order, leg, report, changes)
        return
    changed = False
    if report.venue_order_id and leg.venue_order_id != report.venue_order_id:
        leg.venue_order_id = report.venue_order_id
        changed = True
    if leg.delivery is not Delivery.SENT:
        leg.delivery = Delivery.SENT
        changed = True
    if _is_known_again(order):
        order.hold_reason = ""
        changed = True
    if report.cumulative_quantity > leg.announced:
        leg.announced = report.cumulative_quantity
        changed = True
    if order.replace_step is ReplaceStep.AMENDING:
        if is_amended(order, leg, report):
            adopt_replacement(cache, order, changes)
        elif report.amend_rejected or stale_amend:
            abandon_replacement(cache, order, changes)
    if report.status in FINISHED:
        if leg.announced_status is None:
            leg.announced_status = report.status
            leg.announced_reason, leg.announced_message = report.reason, report.message
            changed = True
    elif report.status in _WORKING:
        _work(order, changes)
    if changed:
        changes.order(order)
    settle(cache, order, changes)


def _report_after_end(order: Order, leg: Leg, report: OrderStatusReport, changes: ChangeSet) -> None:
    """End at the venue what lives there though its order ended here; trades of it are booked."""
    if report.status in FINISHED:
        if leg.announced_status is None:
            leg.announced_status, leg.announced = report.status, leg.filled
        leg.delivery = Delivery.SENT
    elif report.status in _WORKING and (leg.is_live or leg.delivery is not Delivery.SENT):
        log.warning("order %s is alive at the venue though it ended here; it is canceled there", order.order_id)
        leg.announced_status = None
        leg.venue_order_id = report.venue_order_id or leg.venue_order_id
        changes.cancels.append(order.order_id)


def apply_trade_report(
    cache: TradingCache, order: Order, report: FillReport, changes: ChangeSet, corrects: Trade | None = None
) -> bool:
    """Book a fill, once, or what stands for one that was taken out; False when it is booked already."""
    if report.venue_trade_id in order.trade_ids:
        return False
    order.trade_ids.add(report.venue_trade_id)
    account = cache.accounts[order.account_id]
    leg = order.find_leg(report.reference)
    effect = order.position_effect if leg is None else leg.position_effect
    trade_id = new_id()
    trading_day = cache.learn_day(order.gateway, order.symbol, report.trading_day, changes)
    # What is booked in its place, because it was not known to be ours, or not reported in time.
    stands_for = superseded_trades(cache, account, report, order.side, effect) if account.external_trades else []
    if stands_for and order.is_closing:
        reverse_superseded(cache, account, report, stands_for, changes)
    closes = effect if corrects is None else corrects.closed_effect
    realized, closed_today = ZERO, ZERO
    if corrects is None or order.is_closing:  # a corrected opening was booked as the first one was taken out
        realized, closed_today = book_position(cache, account, order, closes, report, trading_day, changes)
    if corrects is not None:
        closed_today = min(corrects.closed_today, report.quantity)  # on its own day, which may be over
    if stands_for and not order.is_closing:
        reverse_superseded(cache, account, report, stands_for, changes)
    commission = cache.terms(account, order.symbol).commission(report.price, report.quantity, closed_today)
    changes.entries += ledger.post_trade(account, commission, realized, trade_id, changes.now_ns)
    changes.trades.append(
        Trade(
            trade_id, order.order_id, order.user_id, order.account_id, order.symbol, order.side, effect,
            report.price, report.quantity, commission, realized, report.time_ns, changes.now_ns, order.gateway,
            report.venue_trade_id, order.strategy_id, trading_day, False,
            "" if corrects is None else corrects.trade_id, order.trace_id, closed_today,
        )
    )  # fmt: skip
    order.cumulative_quantity += report.quantity
    order.filled_notional += product(report.price, report.quantity)
    order.commission += commission
    if leg is not None:
        leg.filled += report.quantity
        leg.delivery = Delivery.SENT
        if _is_known_again(order):
            order.hold_reason = ""
    changes.order(order)
    changes.account(account)
    if not order.is_open:
        _trade_after_end(order, report)
        return True
    if leg is not None:
        _work(order, changes)
    if order.replace_step is ReplaceStep.AMENDING and order.cumulative_quantity > order.quantity:
        adopt_replacement(cache, order, changes)
    cache.reserve(order)
    settle(cache, order, changes)
    return True


def _trade_after_end(order: Order, report: FillReport) -> None:
    """Fills are facts: an order that ended in belief, or was completed after its end, is corrected."""
    full = order.cumulative_quantity >= order.quantity
    if order.status is OrderStatus.REJECTED:
        log.error("order %s counted as rejected, and traded: %s", order.order_id, report.venue_trade_id)
        order.reject_reason = order.reject_message = ""
        move(order, OrderStatus.FILLED if full else OrderStatus.CANCELED)
    elif full and order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED):
        move(order, OrderStatus.FILLED)


def cancel(cache: TradingCache, order: Order, changes: ChangeSet, reason: str = "") -> None:
    """Ask for an open order's end: what certainly was not sent ends here, the rest when the venue reports it.

    `reason` becomes the order's reject_reason when it ends so.
    """
    order.cancel_reason = reason or order.cancel_reason
    for leg in order.legs:
        if leg.delivery is Delivery.QUEUED and leg.announced_status is None:
            leg.announced_status = OrderStatus.CANCELED  # what is queued is looked at again before it is sent
    if not order.is_live:
        cache.finish(order, OrderStatus.CANCELED, changes, order.cancel_reason)
        return
    if order.replace_step is ReplaceStep.CANCELING:
        order.replace_step = ReplaceStep.NONE
        order.pending_quantity = order.pending_price = None
        cache.reserve(order)
    move(order, OrderStatus.PENDING_CANCEL)
    changes.order(order)
    changes.cancels.append(order.order_id)


def _work(order: Order, changes: ChangeSet) -> None:
    """The venue works on it. A cancel or an amend on its way stays on its way: only their outcome ends that."""
    waiting = order.status is OrderStatus.PENDING_REPLACE and order.replace_step is ReplaceStep.NONE
    fresh = order.status in (OrderStatus.PENDING_NEW, OrderStatus.NEW) or (
        order.status is OrderStatus.UNKNOWN and not order.has_uncertain_leg
    )
    if (fresh or waiting) and move(order, working_status(order)):
        changes.order(order)


def _is_known_again(order: Order) -> bool:
    """Return whether a marked order has no leg of unknown outcome any more: a report of one says nothing of others."""
    return order.hold_reason == Reason.OUTCOME_UNKNOWN and not order.has_uncertain_leg


def mark_uncertain(order: Order, changes: ChangeSet) -> None:
    """Mark an open order as uncertain: its outcome is known to the venue alone, and it stays open."""
    if order.hold_reason == Reason.OUTCOME_UNKNOWN:
        return
    order.hold_reason = Reason.OUTCOME_UNKNOWN
    if order.status is not OrderStatus.PENDING_CANCEL and may_follow(order.status, OrderStatus.UNKNOWN):
        move(order, OrderStatus.UNKNOWN)
    metrics.uncertain.labels(order.gateway).inc()
    changes.uncertain.append(order)
    changes.order(order)


def not_sent(cache: TradingCache, order: Order, leg: Leg, changes: ChangeSet) -> None:
    """A leg certainly never was at the venue."""
    leg.announced_status, leg.announced = OrderStatus.REJECTED, leg.filled
    leg.announced_reason, leg.announced_message = Reason.NOT_SENT, "the gateway never had it"
    held_over = _is_held_over(cache, order, OrderStatus.REJECTED, leg, changes.now_ns)
    if order.status is OrderStatus.PENDING_CANCEL or (leg.number and not held_over):
        leg.announced_status = OrderStatus.CANCELED  # it was a replacement, or its cancel was requested anyway
    changes.order(order)
    settle(cache, order, changes)


def resolve(
    cache: TradingCache, order: Order, missing: set[str], status: OrderStatus, message: str, changes: ChangeSet
) -> None:
    """Resolve legs of unknown outcome as an administrator states; a later report of the venue still counts.

    These are the uncertain ones and those whose references are `missing` at the gateway; what it shows works on.
    """
    live = [leg for leg in order.legs if leg.is_live]
    unknown = [leg for leg in live if leg.delivery is Delivery.UNCERTAIN or order.reference(leg) in missing]
    for leg in unknown or live:
        leg.announced_status, leg.announced = status, leg.filled
        leg.announced_reason, leg.announced_message = Reason.OUTCOME_UNKNOWN, message
        leg.delivery = Delivery.UNCERTAIN
    if order.is_live:
        if _is_known_again(order):
            order.hold_reason = ""
        _work(order, changes)
    changes.order(order)
    settle(cache, order, changes)


def settle(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """End the order, or begin its next legs, when all its legs are over and all their trades are booked."""
    if not order.is_open:
        return
    growing = order.replace_step is ReplaceStep.AMENDING and (order.pending_quantity or ZERO) > order.quantity
    if any(leg.announced_status is OrderStatus.FILLED for leg in order.legs):
        growing = False  # it was filled before the amend came
    if order.cumulative_quantity >= order.quantity and not growing:
        if order.is_live:
            changes.cancels.append(order.order_id)  # more was sent than is needed by now
        elif order.entry_open and not _is_to_end(order):
            order.legs = []  # an exit that may come to stand for more: its group decides
            return
        cache.finish(order, OrderStatus.FILLED, changes)
        return
    if order.is_live:
        return
    ends = [leg.announced_status for leg in order.legs]
    if not ends or (growing and None in ends):
        return
    if order.replace_step is ReplaceStep.CANCELING and OrderStatus.CANCELED in ends:
        order.day_over = order.day_over or is_day_over(cache, order, changes.now_ns)
        if not order.day_over:
            _begin_replacement(cache, order, changes)
            return
    # Of legs that ended differently the least expected end counts.
    order_of = (OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELED)
    status = next((status for status in order_of if status in ends), OrderStatus.CANCELED)
    ended = next((leg for leg in order.legs if leg.announced_status is status), order.legs[0])
    if _is_held_over(cache, order, status, ended, changes.now_ns):
        hold(cache, order, ended, changes)
        return
    if order.day_over and status is OrderStatus.CANCELED and not _is_to_end(order):
        status, ended.announced_reason = OrderStatus.EXPIRED, Reason.ORDER_EXPIRED  # its day, or its time, is over
    killed = (
        ended.announced_reason == Reason.NO_LIQUIDITY
        and order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        and not order.is_closing
    )  # it was to be filled at once or not at all, and protects nothing
    if order.is_retried and ended.announced_reason in TEMPORARY and not killed and not _is_to_end(order):
        if order.replace_step is not ReplaceStep.NONE:
            adopt_replacement(cache, order, changes)  # it is sent again as requested
        rearm(order, ended.announced_reason, changes)
        return
    if status is OrderStatus.REJECTED and order.cumulative_quantity:
        status = OrderStatus.CANCELED  # a later leg was refused: what was filled before is not undone
    reason = ended.announced_reason
    if status is OrderStatus.CANCELED and order.cancel_reason:
        reason = order.cancel_reason  # what was asked for, and why
        if reason == Reason.CONTRACT_EXPIRED:
            status = OrderStatus.EXPIRED
    cache.finish(order, status, changes, reason, ended.announced_message)


def is_day_over(cache: TradingCache, order: Order, now_ns: int) -> bool:
    """Return whether an order's trading day, or its own time, is over at a gateway that does not end it itself."""
    if cache.keeps_overnight(order.gateway) or cache.days.reported(order.gateway)[1]:
        return False
    day = max((leg.trading_day for leg in order.legs), default=order.trading_day)
    return 0 < order.expire_time_ns <= now_ns or cache.days.is_over(order.gateway, order.symbol, day)


def _is_held_over(cache: TradingCache, order: Order, status: OrderStatus, ended: Leg, now_ns: int) -> bool:
    """Return whether an order whose legs are over waits for another trading day: GTC, GTD where only DAY is known."""
    if _is_to_end(order) or order.time_in_force not in GOOD_TILL:
        return False
    if cache.keeps_overnight(order.gateway) or 0 < order.expire_time_ns <= now_ns:
        return False
    reason = ended.announced_reason
    refused = status is OrderStatus.REJECTED and (reason in TEMPORARY or reason == Reason.NOT_SENT)
    # What protects does not wait for a day: it stays armed, and is tried again until it can be sent.
    again = refused and ended.number > 0 and not order.is_retried
    return again or status is OrderStatus.EXPIRED or (order.day_over and status is OrderStatus.CANCELED)


def hold(cache: TradingCache, order: Order, ended: Leg, changes: ChangeSet) -> None:
    """Keep a good-till order here until its market opens on another trading day; none of it is at the venue."""
    again = ended.announced_status is OrderStatus.REJECTED
    order.hold_reason = ended.announced_reason if again else Reason.MARKET_CLOSED
    order.held_day = 0 if again else ended.trading_day
    order.legs, order.day_over = [], False
    if order.replace_step is not ReplaceStep.NONE:
        adopt_replacement(cache, order, changes)
    if order.status in (OrderStatus.UNKNOWN, OrderStatus.PENDING_NEW):
        move(order, working_status(order))
    changes.order(order)


def end_leg(cache: TradingCache, order: Order, leg: Leg, changes: ChangeSet) -> None:
    """A leg's trading day is over at the venue: whatever was reported of it, it trades no more."""
    if leg.announced > leg.filled:
        log.error("order %s: %s fills were announced and never came", order.reference(leg), leg.announced - leg.filled)
    leg.announced_status, leg.announced = OrderStatus.EXPIRED, leg.filled
    leg.announced_reason, leg.announced_message = Reason.ORDER_EXPIRED, "its trading day is over"
    changes.order(order)
    settle(cache, order, changes)


def _is_to_end(order: Order) -> bool:
    return order.status is OrderStatus.PENDING_CANCEL or bool(order.cancel_reason)


def rearm(order: Order, reason: str, changes: ChangeSet) -> None:
    """Keep a triggered stop, or an exit, that cannot be sent now; none of it is at the venue. Stops try it again."""
    if order.hold_reason == reason and not order.legs:
        return
    order.legs = []
    order.hold_reason = reason
    if order.status in (OrderStatus.UNKNOWN, OrderStatus.PENDING_NEW, OrderStatus.PENDING_REPLACE):
        move(order, working_status(order))
    changes.order(order)
    changes.rearmed.append(order)


def _begin_replacement(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """The old legs are gone for certain: the replacement may be sent, under a name of its own."""
    assert order.pending_quantity is not None
    order.quantity = max(order.pending_quantity, order.cumulative_quantity)
    if order.pending_price is not None:
        order.price = order.reserve_price = order.pending_price
    order.pending_quantity = order.pending_price = None
    order.replace_step = ReplaceStep.NONE
    if order.cumulative_quantity >= order.quantity:
        cache.finish(order, OrderStatus.FILLED, changes)
        return
    cache.reserve(order)
    cache.trim_hold(order, changes)
    send(cache, order, changes)
    changes.accounts[order.account_id] = cache.accounts[order.account_id]


def send(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """Begin legs for what of the order is not at its venue, to be sent once the step is durable."""
    position = cache.find_position(order)
    if position is not None and order.is_closing:
        cache.roll(position, changes)  # what of it is today's decides how it is split
    begin_legs(order, cache.instruments.get(order.symbol), cache.days.of(order.gateway, order.symbol))
    order.hold_reason, order.day_over, order.held_day = "", False, 0
    changes.order(order)
    changes.sends.append(order.order_id)


def expire(cache: TradingCache, order: Order, changes: ChangeSet) -> bool:
    """End an order that waited here beyond its own time; a stop that has triggered waits only to be sent."""
    if order.legs or order.triggered or not 0 < order.expire_time_ns <= changes.now_ns:
        return False
    cache.finish(order, OrderStatus.EXPIRED, changes, Reason.ORDER_EXPIRED)
    return True
