"""Trades that a venue takes back or corrects (FIX 150=H, 150=G): reversing entries, never a deletion.

A bust is booked as if the trade had never been: what it opened leaves the position at the trade's own price, what it
closed comes back at the cost that it took away, and commission and realised profit return as REVERSAL entries. What
does not fit any more, because it was closed since, is realised. A correction is a bust and a new trade.
"""

import logging
from dataclasses import replace
from decimal import Decimal

from services.trading import ledger, metrics, money
from services.trading.accounts import Account
from services.trading.book import Book
from services.trading.changes import Changes
from services.trading.execution import apply_trade_report
from services.trading.ledger import LedgerEntryKind
from services.trading.money import ZERO
from services.trading.order_states import move
from services.trading.orders import Order, OrderStatus, PositionEffect, PositionSide, Side
from services.trading.position_booking import position_of
from services.trading.positions import split
from services.trading.reports import TradeReport
from services.trading.trades import Trade

log = logging.getLogger(__name__)


def bust(book: Book, order: Order, trade: Trade, changes: Changes) -> None:
    """Take a booked trade back. Its order does not return to the market: what was busted trades no more."""
    account = book.accounts[order.account_id]
    log.warning("trade %s of order %s is busted", trade.venue_trade_id, order.order_id)
    metrics.busted.labels(trade.gateway).inc()
    account.traded = True
    realized = _undo(book, account, order, trade, changes)
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


def _undo(book: Book, account: Account, order: Order, trade: Trade, changes: Changes) -> Decimal:
    """Take the trade out of the positions; what that realises, because it does not fit any more."""
    opened = trade.position_effect is PositionEffect.OPEN
    is_long = (trade.side is Side.BUY) == opened
    side = PositionSide.LONG if is_long else PositionSide.SHORT
    if opened:
        return _take_out(book, account, order, side, trade, changes)
    position = position_of(book, account, order, side)
    book.roll(position, changes)
    value = money.amount(money.product(trade.price, trade.quantity, position.contract_size))
    cost = value - trade.realized_pnl if is_long else value + trade.realized_pnl
    of_today = trade.position_effect is PositionEffect.CLOSE_TODAY and trade.trading_day == position.trading_day
    account.margin -= position.margin
    position.put_back(cost, trade.quantity, of_today)
    # What it realised is taken back from the ledger, and from the position's sum.
    position.realized_pnl -= trade.realized_pnl
    account.margin += position.margin
    changes.position(position)
    return ZERO


def _take_out(
    book: Book, account: Account, order: Order, side: PositionSide, trade: Trade, changes: Changes
) -> Decimal:
    position = account.positions.get((order.symbol, side))
    taken, realized = ZERO, ZERO
    if position is not None:
        book.roll(position, changes)
        taken = min(trade.quantity, position.quantity)
        today_first = trade.trading_day == position.trading_day
        today, older = split(taken, position.day_quantity, position.older_quantity, today_first)
        account.margin -= position.margin
        realized = position.take_out(trade.price, today, older)
        account.margin += position.margin
        changes.position(position)
        book.trim_holds(position, changes)
        account.drop_flat(position)
    if excess := trade.quantity - taken:
        # Closed since: the contracts that never were are missing now, which is the other side.
        log.error("busted trade %s: %s of it was closed since", trade.venue_trade_id, excess)
        other = PositionSide.LONG if side is PositionSide.SHORT else PositionSide.SHORT
        opposite = position_of(book, account, order, other)
        book.roll(opposite, changes)
        account.margin -= opposite.margin
        opposite.open(trade.price, excess, trade.trading_day == opposite.trading_day)
        account.margin += opposite.margin
        changes.position(opposite)
    return realized
