"""Trades that a venue takes back or corrects (FIX 150=H, 150=G): reversing entries, never a deletion.

A bust is booked as if the trade had never been: what it opened leaves the position at the trade's own price, what it
closed comes back at the cost that it took away, and commission and realised profit return as REVERSAL entries. What
does not fit any more, because it was closed since, is realised. A correction is a bust and a new trade.
"""

import logging
from dataclasses import replace

from services.trading import metrics
from services.trading.domain import ledger, money
from services.trading.domain.apply_reports import apply_trade_report
from services.trading.domain.cache import Book
from services.trading.domain.change_set import Changes
from services.trading.domain.ledger import LedgerEntryKind
from services.trading.domain.order import Order, OrderStatus
from services.trading.domain.order_states import move
from services.trading.domain.position_booking import unbook_position
from services.trading.domain.reports import TradeReport
from services.trading.domain.trade import Trade

log = logging.getLogger(__name__)


def bust(book: Book, order: Order, trade: Trade, changes: Changes) -> None:
    """Take a booked trade back. Its order does not return to the market: what was busted trades no more."""
    account = book.accounts[order.account_id]
    log.warning("trade %s of order %s is busted", trade.venue_trade_id, order.order_id)
    metrics.busted.labels(trade.gateway).inc()
    realized = unbook_position(book, account, trade, changes)
    for kind, amount in (
        (LedgerEntryKind.COMMISSION, trade.commission),
        (LedgerEntryKind.REALIZED_PNL, realized - trade.realized_pnl),
    ):
        changes.entries += ledger.reverse(account, kind, amount, trade.trade_id, changes.now_ns)
    changes.trade_updates.append(replace(trade, busted=True))
    order.cumulative_quantity -= trade.quantity
    order.filled_notional -= money.product(trade.price, trade.quantity)
    order.commission -= trade.commission
    if order.status is OrderStatus.FILLED and order.cumulative_quantity < order.quantity:
        move(order, OrderStatus.CANCELED)
    elif order.status is OrderStatus.PARTIALLY_FILLED and not order.cumulative_quantity:
        move(order, OrderStatus.NEW)
    book.reserve(order)
    changes.order(order)
    changes.accounts[account.account_id] = changes.account_rows[account.account_id] = account


def correct(book: Book, order: Order, trade: Trade, report: TradeReport, version: int, changes: Changes) -> None:
    """Book the corrected trade in place of the booked one."""
    bust(book, order, trade, changes)
    leg = order.find_leg(report.reference)
    if leg is not None:
        leg.filled -= trade.quantity
    name = f"{report.venue_trade_id}#{version}"
    apply_trade_report(book, order, replace(report, venue_trade_id=name), changes, corrects_trade_id=trade.trade_id)
