"""Puts fills into positions: what a fill opens, closes and realises."""

import logging
from decimal import Decimal

from services.trading import positions
from services.trading.accounts import Account
from services.trading.book import Book
from services.trading.changes import Changes
from services.trading.money import ZERO
from services.trading.orders import Order, PositionEffect, PositionSide
from services.trading.positions import Position
from services.trading.reports import TradeReport

log = logging.getLogger(__name__)


def book_position(
    book: Book, account: Account, order: Order, effect: PositionEffect, report: TradeReport, changes: Changes
) -> tuple[Decimal, Decimal]:
    """Put a fill, which had `effect` at the venue, into the positions.

    Answers (what it realised, how much of it closed today's contracts).
    """
    day = book.trading_days.get(order.gateway, 0)
    of_today = not report.trading_day or report.trading_day >= day
    if not order.is_closing:
        _open(book, account, order, order.position_side, report, report.quantity, of_today, changes)
        return ZERO, ZERO
    position = account.positions.get((order.symbol, order.position_side))
    if position is None:
        today = yesterday = ZERO
    else:
        today, yesterday = _take(book, order, effect, position, report.quantity)
    realized = ZERO
    if position is not None and today + yesterday:
        account.margin -= position.margin
        realized = position.close(report.price, today, yesterday)
        account.margin += position.margin
        changes.position(position)
        if not position.quantity:
            del account.positions[position.key]
    excess = report.quantity - today - yesterday
    if excess:
        # The venue closed more than is held here. The position stays the sum of its trades: the rest opens the other.
        log.error("trade %s closes %s more than is held", report.venue_trade_id, excess)
        other = PositionSide.LONG if order.position_side is PositionSide.SHORT else PositionSide.SHORT
        _open(book, account, order, other, report, excess, of_today, changes)
    return realized, today


def _take(
    book: Book, order: Order, effect: PositionEffect, position: Position, quantity: Decimal
) -> tuple[Decimal, Decimal]:
    """(today's, yesterday's) contracts that a closing fill takes: first what the order holds, then what is free."""
    today_first = effect is PositionEffect.CLOSE_TODAY or (
        effect is PositionEffect.CLOSE and book.closes_today_first(order.symbol)
    )
    today, yesterday = positions.split(quantity, order.hold_today, order.hold_yesterday, today_first)
    order.hold_today -= today
    order.hold_yesterday -= yesterday
    position.frozen_today -= today
    position.frozen_yesterday -= yesterday
    rest = quantity - today - yesterday
    if rest:
        more_today, more_yesterday = positions.split(
            rest, position.today_quantity - today, position.yesterday_quantity - yesterday, today_first
        )
        today, yesterday = today + more_today, yesterday + more_yesterday
    return today, yesterday


def _open(
    book: Book,
    account: Account,
    order: Order,
    side: PositionSide,
    report: TradeReport,
    quantity: Decimal,
    of_today: bool,
    changes: Changes,
) -> None:
    instrument = book.instruments[order.symbol]
    position = account.positions.get((order.symbol, side))
    if position is None:
        position = Position(
            account.user_id, account.account_id, order.symbol, side, order.gateway, instrument.contract_size,
            instrument.margin_rate,
        )  # fmt: skip
        account.positions[position.key] = position
    account.margin -= position.margin
    position.open(report.price, quantity, of_today)
    account.margin += position.margin
    changes.position(position)
