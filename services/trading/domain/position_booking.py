"""Puts fills into positions and takes them out again: what a fill opens, closes and realises."""

import logging
from decimal import Decimal

from redfire.enums import PositionEffect, PositionSide

from services.trading.domain import money
from services.trading.domain.account import Account
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.position import Position, split
from services.trading.domain.report import FillReport
from services.trading.domain.trade import Trade

log = logging.getLogger(__name__)


def book_position(
    cache: TradingCache,
    account: Account,
    order: Order,
    effect: PositionEffect,
    report: FillReport,
    trading_day: int,
    changes: ChangeSet,
) -> tuple[Decimal, Decimal]:
    """Put a fill of a trading day, which had `effect` at the venue, into the positions.

    Answers (what it realised, how much of it closed contracts of its own trading day).
    """
    account.traded = True
    if not order.is_closing:
        _open(cache, account, order, order.position_side, report, report.quantity, trading_day, changes)
        return ZERO, ZERO
    position = account.positions.get((order.symbol, order.position_side))
    if position is None:
        today = yesterday = ZERO
    else:
        _roll(cache, position, trading_day, changes)
        today, yesterday = _closed_contracts(cache, order, effect, position, report.quantity, trading_day)
    realized = ZERO
    if position is not None and today + yesterday:
        account.margin -= position.margin
        realized = position.close(report.price, today, yesterday)
        account.margin += position.margin
        changes.position(position)
        cache.trim_holds(position, changes)
        account.drop_flat(position)
    excess = report.quantity - today - yesterday
    if excess:
        # The venue closed more than is held here. The position stays the sum of its trades: the rest opens the other.
        log.error("trade %s closes %s more than is held", report.venue_trade_id, excess)
        other = PositionSide.LONG if order.position_side is PositionSide.SHORT else PositionSide.SHORT
        _open(cache, account, order, other, report, excess, trading_day, changes)
    return realized, today


def _roll(cache: TradingCache, position: Position, trading_day: int, changes: ChangeSet) -> None:
    """Bring the position into the fill's day; not when the fill is late, and the position in a later day already."""
    if trading_day > position.trading_day or trading_day == cache.days.of(position.gateway, position.symbol):
        cache.roll(position, changes, trading_day)


def _closed_contracts(
    cache: TradingCache, order: Order, effect: PositionEffect, position: Position, quantity: Decimal, trading_day: int
) -> tuple[Decimal, Decimal]:
    """(today's, yesterday's) contracts that a closing fill takes.

    First what the order holds, then what is free, and of a venue's overfill what other orders hold.
    """
    today_first = effect is PositionEffect.CLOSE_TODAY or (
        effect is PositionEffect.CLOSE and cache.closes_today_first(order.symbol)
    )
    if trading_day != position.trading_day:
        today_first = False  # it is of an earlier day, on which these were not there
    today, yesterday = split(quantity, order.hold_today, order.hold_yesterday, today_first)
    order.hold_today -= today
    order.hold_yesterday -= yesterday
    position.freeze(-today, -yesterday)
    for frozen_day, frozen_older in ((position.frozen_day, position.frozen_older), (ZERO, ZERO)):
        rest = quantity - today - yesterday
        if rest:
            more_today, more_yesterday = split(
                rest,
                position.day_quantity - frozen_day - today,
                position.older_quantity - frozen_older - yesterday,
                today_first,
            )
            today, yesterday = today + more_today, yesterday + more_yesterday
    return today, yesterday


def position_of(cache: TradingCache, account: Account, order: Order | Trade, side: PositionSide) -> Position:
    """The account's position on this side of the instrument of an order or a trade, a flat one where there is none."""
    position = account.positions.get((order.symbol, side))
    if position is None:
        instrument = cache.terms(account, order.symbol)
        position = Position(
            account.user_id, account.account_id, order.symbol, side, order.gateway, instrument.contract_size,
            instrument.margin_rate, realized_pnl=account.realized_of.pop((order.symbol, side), ZERO), days=cache.days,
        )  # fmt: skip
        account.positions[position.key] = position
    return position


def _open(
    cache: TradingCache,
    account: Account,
    order: Order,
    side: PositionSide,
    report: FillReport,
    quantity: Decimal,
    trading_day: int,
    changes: ChangeSet,
) -> None:
    position = position_of(cache, account, order, side)
    _roll(cache, position, trading_day, changes)
    account.margin -= position.margin
    position.open(report.price, quantity, position.trading_day == trading_day)
    account.margin += position.margin
    changes.position(position)


def unbook_position(
    cache: TradingCache, account: Account, trade: Trade, changes: ChangeSet, correction: FillReport | None = None
) -> Decimal:
    """Remove a trade from the positions; return what that realises, where it does not fit any more.

    Where a `correction` takes the place of an opening trade, its opening is booked with it: what was closed since is
    closed still, and has another price, and what working orders are to close stays held for them.
    """
    account.traded = True
    side = trade.position_side
    if trade.position_effect is PositionEffect.OPEN:
        return _reverse_opening(cache, account, side, trade, changes, correction)
    position = position_of(cache, account, trade, side)
    cache.roll(position, changes)
    value = money.amount(money.product(trade.price, trade.quantity, position.contract_size))
    cost = value - trade.realized_pnl if side is PositionSide.LONG else value + trade.realized_pnl
    # Not by its effect: what an order sent yesterday closes of today's contracts is yesterday's when it trades.
    today = trade.closed_today if trade.trading_day == position.trading_day else ZERO
    account.margin -= position.margin
    position.reverse_closing(cost, today, trade.quantity - today)
    # What it realised is taken back from the ledger, and from the position's sum.
    position.realized_pnl -= trade.realized_pnl
    account.margin += position.margin
    changes.position(position)
    return ZERO


def _reverse_opening(
    cache: TradingCache,
    account: Account,
    side: PositionSide,
    trade: Trade,
    changes: ChangeSet,
    correction: FillReport | None,
) -> Decimal:
    position = account.positions.get((trade.symbol, side))
    if position is None and correction is not None:
        position = position_of(cache, account, trade, side)
    taken, still_closed, realized = ZERO, ZERO, ZERO
    if position is not None:
        cache.roll(position, changes)
        taken = min(trade.quantity, position.quantity)
        today_first = trade.trading_day == position.trading_day
        today, older = split(taken, position.day_quantity, position.older_quantity, today_first)
        account.margin -= position.margin
        if correction is not None:
            still_closed = min(trade.quantity - taken, correction.quantity)
            position.open(correction.price, correction.quantity - still_closed, today_first)
        realized = position.reverse_opening(trade.price, today, older)
        if correction is not None:
            realized += position.correct_closed(trade.price, correction.price, still_closed)
        account.margin += position.margin
        changes.position(position)
        cache.trim_holds(position, changes)
        account.drop_flat(position)
    if excess := trade.quantity - taken - still_closed:
        # Closed since: the contracts that never were are missing now, which is the other side.
        log.error("busted trade %s: %s of it was closed since", trade.venue_trade_id, excess)
        other = PositionSide.LONG if side is PositionSide.SHORT else PositionSide.SHORT
        opposite = position_of(cache, account, trade, other)
        cache.roll(opposite, changes)
        account.margin -= opposite.margin
        opposite.open(trade.price, excess, trade.trading_day == opposite.trading_day)
        account.margin += opposite.margin
        changes.position(opposite)
    return realized
