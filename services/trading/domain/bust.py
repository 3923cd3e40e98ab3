"""Trades that a venue takes back or corrects (FIX 150=H, 150=G): reversing entries, never a deletion.

A bust is booked as if the trade had never been: what it opened leaves the position at the trade's own price, what it
closed comes back at the cost that it took away, and commission and realised profit return as REVERSAL entries. What
does not fit any more, because it was closed since, is realised. A correction is a bust and a new trade: what an opening
one had opened and was closed since stays closed, and the difference of the prices is realised.

What was busted trades no more: an order that still works is for so much less from then on, as the venue has no more of
it. The exits of a group are for what its entry filled and they have not closed, and so protect again what a busted one
had closed (see group_restatement).
"""

import logging
from dataclasses import replace

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.trading import metrics
from services.trading.domain import ledger, money
from services.trading.domain.account import Account
from services.trading.domain.apply_reports import apply_trade_report
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.order_states import move
from services.trading.domain.position_booking import unbook_position
from services.trading.domain.report import FillReport
from services.trading.domain.trade import Trade

log = logging.getLogger(__name__)


def bust(
    cache: TradingCache, order: Order, trade: Trade, changes: ChangeSet, correction: FillReport | None = None
) -> None:
    """Bust a booked trade; a `correction` takes its place in the same step."""
    account = cache.accounts[order.account_id]
    log.warning("trade %s of order %s is busted", trade.venue_trade_id, order.order_id)
    metrics.busted.labels(trade.gateway).inc()
    realized = unbook_position(cache, account, trade, changes, correction)
    if correction is not None and order.is_closing and order.is_open:
        _hold_again(account, order, trade)
    changes.entries += ledger.reverse_trade(
        account, trade.commission, trade.realized_pnl - realized, trade.trade_id, changes.now_ns
    )
    changes.trade_updates.append(replace(trade, busted=True))
    if correction is None:
        _trade_no_more(cache, order, trade, changes)
    order.cumulative_quantity -= trade.quantity
    order.filled_notional -= money.product(trade.price, trade.quantity)
    order.commission -= trade.commission
    if order.status is OrderStatus.FILLED and order.cumulative_quantity < order.quantity:
        move(order, OrderStatus.CANCELED)
        order.reject_reason = Reason.TRADE_BUSTED
    elif order.status is OrderStatus.PARTIALLY_FILLED and not order.cumulative_quantity:
        move(order, OrderStatus.NEW)
    cache.reserve(order)
    changes.order(order)
    changes.account(account)


def _hold_again(account: Account, order: Order, trade: Trade) -> None:
    """Hold what a corrected fill had closed, so that its close takes nothing of what is held for the order's rest."""
    position = account.positions[order.symbol, order.position_side]
    today = trade.closed_today if trade.trading_day == position.trading_day else ZERO
    order.hold_today += today
    order.hold_yesterday += trade.quantity - today
    position.freeze(today, trade.quantity - today)


def _trade_no_more(cache: TradingCache, order: Order, trade: Trade, changes: ChangeSet) -> None:
    group = cache.groups.get(order.order_group_id)
    if group is not None and any(order.order_id == member.order_id for member in group.members):
        if group.closes:
            return  # its group decides
        group.quantity -= trade.quantity
        changes.groups[group.order_group_id] = group
    if order.leaves_quantity:
        order.quantity -= trade.quantity
        if order.pending_quantity is not None:
            order.pending_quantity -= trade.quantity


def correct(
    cache: TradingCache, order: Order, trade: Trade, report: FillReport, version: int, changes: ChangeSet
) -> None:
    """Book the corrected trade in place of the booked one."""
    bust(cache, order, trade, changes, report)
    leg = order.find_leg(report.reference)
    if leg is not None:
        leg.filled -= trade.quantity
    name = f"{report.venue_trade_id}#{version}"
    # What was traded stays of its day, whenever it is corrected.
    again = replace(report, venue_trade_id=name, trading_day=trade.trading_day or report.trading_day)
    apply_trade_report(cache, order, again, changes, corrects=trade)
    if order.status is OrderStatus.FILLED and order.reject_reason == Reason.TRADE_BUSTED:
        order.reject_reason = ""
