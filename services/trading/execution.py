"""What a venue's reports do to the books, whatever their order, and however often they come."""

import logging

from services.kernel.identifiers import new_id
from services.trading import ledger
from services.trading.book import Book
from services.trading.changes import Changes
from services.trading.ledger import LedgerEntryKind
from services.trading.money import ZERO, product
from services.trading.order_states import move
from services.trading.orders import (
    FINISHED,
    Delivery,
    Order,
    OrderStatus,
    ReplaceStep,
)
from services.trading.position_booking import book_position
from services.trading.reports import OrderReport, TradeReport
from services.trading.trades import Trade

log = logging.getLogger(__name__)
_WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


def apply_order_report(
    book: Book, order: Order, report: OrderReport, changes: Changes, stale_amend: bool = False
) -> None:
    """Take over what a report says that is news.

    With `stale_amend` the report answers a question asked long after an amend: what it shows is the amend's outcome.

    A status is only ever taken where the table of order_states allows it; an end is put off until the trades that the
    venue counts have come, so that the order, its trades, the position and the ledger agree at any time.
    """
    if report.reference != order.venue_reference:
        return  # of a leg that was replaced
    if not order.is_open:
        if order.delivery is not Delivery.SENT and report.status in _WORKING:
            # Given up as never sent, and alive after all: end it there too. What it trades is booked.
            log.warning("order %s is alive at the venue though it was given up; it is canceled", order.order_id)
            changes.cancels.append(order.order_id)
        return
    news = False
    if report.venue_order_id and order.venue_order_id != report.venue_order_id:
        order.venue_order_id = report.venue_order_id
        news = True
    if order.delivery is not Delivery.SENT:
        order.delivery = Delivery.SENT
        news = True
    if report.cumulative_quantity > order.leg_announced:
        order.leg_announced = report.cumulative_quantity
        news = True
    if order.replace_step is ReplaceStep.AMENDING:
        if _is_amended(order, report):
            adopt_replacement(book, order, changes)
        elif report.amend_rejected or stale_amend:
            abandon_replacement(book, order, changes)
    if report.status in FINISHED:
        if order.announced_status is None:
            order.announced_status = report.status
            order.announced_reason, order.announced_message = report.reason, report.message
            news = True
    elif report.status in _WORKING:
        _work(order, changes)
    if news:
        changes.order(order)
    _settle(book, order, changes)


def apply_trade_report(book: Book, order: Order, report: TradeReport, changes: Changes) -> bool:
    """Book a fill, once; False when it is booked already."""
    if report.venue_trade_id in order.trade_ids:
        return False
    order.trade_ids.add(report.venue_trade_id)
    account = book.accounts[order.account_id]
    trade_id = new_id()
    realized, closed_today = book_position(book, account, order, report, changes)
    commission = book.instruments[order.symbol].commission(report.price, report.quantity, closed_today)
    changes.entries += ledger.post(account, LedgerEntryKind.COMMISSION, -commission, trade_id, changes.now_ns)
    changes.entries += ledger.post(account, LedgerEntryKind.REALIZED_PNL, realized, trade_id, changes.now_ns)
    changes.trades.append(
        Trade(
            trade_id, order.order_id, order.user_id, order.account_id, order.symbol, order.side, order.position_effect,
            report.price, report.quantity, commission, realized, report.time_ns, changes.now_ns, order.gateway,
            report.venue_trade_id, order.strategy_id,
        )
    )  # fmt: skip
    order.cumulative_quantity += report.quantity
    order.filled_notional += product(report.price, report.quantity)
    order.commission += commission
    changes.order(order)
    changes.accounts[account.account_id] = changes.account_rows[account.account_id] = account
    if not order.is_open:
        if order.cumulative_quantity >= order.quantity and order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED):
            move(order, OrderStatus.FILLED)
        return True
    if report.reference == order.venue_reference:
        order.delivery = Delivery.SENT
        _work(order, changes)
    else:
        order.leg_base += report.quantity  # a straggler of an earlier leg
    if order.replace_step is ReplaceStep.AMENDING and order.cumulative_quantity > order.quantity:
        adopt_replacement(book, order, changes)
    book.reserve(order)
    _settle(book, order, changes)
    return True


def adopt_replacement(book: Book, order: Order, changes: Changes) -> None:
    """The wanted values are the order's own now."""
    assert order.pending_quantity is not None
    order.quantity = order.pending_quantity
    if order.pending_price is not None:
        order.reserve_price = order.pending_price
        order.price = order.pending_price
    _end_replacement(book, order, changes)


def abandon_replacement(book: Book, order: Order, changes: Changes) -> None:
    """The order stays as it was."""
    _end_replacement(book, order, changes)


def _end_replacement(book: Book, order: Order, changes: Changes) -> None:
    order.pending_quantity = order.pending_price = None
    order.replace_step = ReplaceStep.NONE
    if order.status is OrderStatus.PENDING_REPLACE:
        move(order, _working_status(order))
    book.reserve(order)
    book.trim_hold(order, changes)
    changes.order(order)
    changes.accounts[order.account_id] = book.accounts[order.account_id]


def _is_amended(order: Order, report: OrderReport) -> bool:
    price = order.price if order.pending_price is None else order.pending_price
    return report.quantity + order.leg_base == order.pending_quantity and report.price == price


def _working_status(order: Order) -> OrderStatus:
    return OrderStatus.PARTIALLY_FILLED if order.cumulative_quantity else OrderStatus.NEW


def _work(order: Order, changes: Changes) -> None:
    """The venue works on it. A cancel or an amend on its way stays on its way: only their outcome ends that."""
    waiting = order.status is OrderStatus.PENDING_REPLACE and order.replace_step is ReplaceStep.NONE
    fresh = order.status in (OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN, OrderStatus.NEW)
    if (fresh or waiting) and move(order, _working_status(order)):
        changes.order(order)


def _settle(book: Book, order: Order, changes: Changes) -> None:
    """End the order if it is at its end and all its trades are booked."""
    if not order.is_open:
        return
    growing = order.replace_step is ReplaceStep.AMENDING and (order.pending_quantity or ZERO) > order.quantity
    if order.cumulative_quantity >= order.quantity and not growing:
        book.finish(order, OrderStatus.FILLED, changes)
        return
    status = order.announced_status
    if status is None or order.cumulative_quantity - order.leg_base < order.leg_announced:
        return
    if status is OrderStatus.CANCELED and order.replace_step is ReplaceStep.CANCELING:
        _begin_leg(book, order, changes)
        return
    if status is OrderStatus.REJECTED and order.cumulative_quantity:
        status = OrderStatus.CANCELED  # a replacement was refused: what was filled before is not undone
    book.finish(order, status, changes, order.announced_reason, order.announced_message)


def _begin_leg(book: Book, order: Order, changes: Changes) -> None:
    """The old order is gone for certain: the replacement may be sent, under a name of its own."""
    assert order.pending_quantity is not None
    order.quantity = max(order.pending_quantity, order.cumulative_quantity)
    if order.pending_price is not None:
        order.price = order.reserve_price = order.pending_price
    order.pending_quantity = order.pending_price = None
    order.replace_step = ReplaceStep.NONE
    if order.cumulative_quantity >= order.quantity:
        book.finish(order, OrderStatus.FILLED, changes)
        return
    order.leg += 1
    order.leg_base = order.cumulative_quantity
    order.leg_announced = ZERO
    order.announced_status = None
    order.announced_reason = order.announced_message = order.venue_order_id = ""
    order.delivery = Delivery.QUEUED
    book.reserve(order)
    book.trim_hold(order, changes)
    changes.order(order)
    changes.accounts[order.account_id] = book.accounts[order.account_id]
    changes.sends.append(order.order_id)
