"""Trades of a LIVE account that no order of ours made: what its gateway holds is the account's.

There is one LIVE account for a gateway, so what is traded by hand at the broker, and what was held before RedFire was
connected, is that account's. Two kinds of facts come into its books as trades without an order:

- **A hand trade** that the gateway reports is booked at once, by our terms: the account's report corrects its cost.
- **A position adjustment** stands for trades that nobody reported: a position that the gateway has and the books do not
  is opened at the gateway's price, without commission, as contracts of today or before as the gateway has it; one that
  the gateway has no more is closed at the last price, so that equity does not change by it.

**Nothing is booked twice.** A trade that is reported later takes back what stands for it: the same trade booked as
nobody's (an administrator, or the gateway itself, has identified the order), or an adjustment of the same symbol,
side and effect of an earlier moment and the same day, as far as it goes. What is taken back is marked busted and
reversed in the ledger, never deleted: positions stay the sum of the trades that count, at every step.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from redfire.enums import OrderType, PositionEffect, PositionSide, Side, TimeInForce

from services.kernel.decimals import plain
from services.kernel.identifiers import new_id
from services.trading import metrics
from services.trading.domain import ledger, money, position_booking
from services.trading.domain.account import Account
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.external_order import ExternalActivity
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.report import FillReport, TradeKind
from services.trading.domain.trade import Trade

log = logging.getLogger(__name__)
ADJUSTMENT = "adjustment:"
# The time after which a trade may be reported once more: over a holiday.
REMEMBERED_NS = 12 * 86_400 * 1_000_000_000
MOST_REMEMBERED = 2000
# How far the venue's clock may be ahead of ours, and how coarse it is.
CLOCKS_DIFFER_NS = 5_000_000_000


def remember(account: Account, trade: Trade) -> None:
    """Recognise a trade without an order when it is reported once more."""
    account.external_trades[trade.venue_trade_id] = trade
    while len(account.external_trades) > MOST_REMEMBERED:
        del account.external_trades[next(iter(account.external_trades))]


def book_external(cache: TradingCache, account: Account, report: FillReport, changes: ChangeSet) -> None:
    """Book what a gateway reports of a hand trade: a fill, its bust, or its correction. Its instrument is known."""
    booked = account.external_trades.get(report.venue_trade_id)
    if report.kind is TradeKind.NEW:
        if booked is None and report.side is not None:
            _book_new(cache, account, report, changes)
    elif booked is not None:
        correction = report if report.kind is TradeKind.CORRECTION else None
        reverse_trade(cache, account, booked, changes, correction=correction)
        if correction is not None:
            again = replace(report, side=booked.side, position_effect=booked.position_effect)
            again = replace(again, venue_trade_id=f"{report.venue_trade_id}#1", trading_day=booked.trading_day)
            _book_new(cache, account, again, changes, corrects_trade_id=booked.trade_id)


def _book_new(
    cache: TradingCache, account: Account, report: FillReport, changes: ChangeSet, corrects_trade_id: str = ""
) -> None:
    assert report.side is not None
    order = _order(account, report.symbol, report.side, report.position_effect, report.quantity)
    stands_for = superseded_trades(cache, account, report, report.side, report.position_effect)
    if order.is_closing:
        reverse_superseded(cache, account, report, stands_for, changes)
        position = account.positions.get((order.symbol, order.position_side))
        missing = report.quantity - (position.quantity if position is not None else ZERO)
        if missing > 0:  # it was held at the venue, or it could not have been closed
            of_today = report.position_effect is PositionEffect.CLOSE_TODAY
            opened = missing if of_today else ZERO
            adjust(cache, account, order.symbol, order.position_side, opened, missing - opened, report.price,
                   report.time_ns, changes)  # fmt: skip
    trading_day = cache.learn_day(account.gateway, report.symbol, report.trading_day, changes)
    _book(cache, account, order, report, trading_day, True, changes, corrects_trade_id)
    if not order.is_closing:
        reverse_superseded(cache, account, report, stands_for, changes)


def adjust(
    cache: TradingCache,
    account: Account,
    symbol: str,
    side: PositionSide,
    today: Decimal,
    older: Decimal,
    price: Decimal,
    seen_ns: int,
    changes: ChangeSet,
) -> None:
    """Open so many contracts, or close them when negative, of today and of before; as the venue had it at `seen_ns`."""
    day = cache.days.of(account.gateway, symbol)
    for quantity, of_today in ((older, False), (today, True)):
        if not quantity:
            continue
        opens = quantity > 0
        effect = PositionEffect.OPEN
        if not opens:
            effect = PositionEffect.CLOSE_TODAY if of_today else PositionEffect.CLOSE_YESTERDAY
        bought = opens is (side is PositionSide.LONG)
        order = _order(account, symbol, Side.BUY if bought else Side.SELL, effect, abs(quantity))
        report = FillReport(
            account.gateway, "", ADJUSTMENT + new_id(), symbol, price, abs(quantity), seen_ns, side=order.side,
            position_effect=effect,
        )  # fmt: skip
        # What was opened before today is of no day that anybody reported.
        trading_day = day if of_today or not opens else 0
        if opens and not of_today:
            cache.roll(position_booking.position_of(cache, account, order, side), changes)
        trade = _book(cache, account, order, report, trading_day, False, changes, "")
        metrics.adjusted.labels(account.gateway).inc()
        log.warning(
            "account %s: %s %s of %s at %s, as gateway %s has it",
            account.account_id, side.name, plain(quantity), symbol, plain(price), account.gateway,
        )  # fmt: skip
        changes.external.append(ExternalActivity(account.gateway, "position", symbol, trade.venue_trade_id, quantity))


def _book(
    cache: TradingCache,
    account: Account,
    order: Order,
    report: FillReport,
    trading_day: int,
    costs: bool,
    changes: ChangeSet,
    corrects_trade_id: str,
) -> Trade:
    effect, trade_id = order.position_effect, new_id()
    realized, closed_today = ZERO, ZERO
    if order.is_closing or not corrects_trade_id:  # a corrected opening was booked as the first one was taken out
        realized, closed_today = position_booking.book_position(
            cache, account, order, effect, report, trading_day, changes
        )
    commission = ZERO
    if costs:
        commission = cache.terms(account, order.symbol).commission(report.price, report.quantity, closed_today)
    changes.entries += ledger.post_trade(account, commission, realized, trade_id, changes.now_ns)
    trade = Trade(
        trade_id, "", account.user_id, account.account_id, order.symbol, order.side, effect, report.price,
        report.quantity, commission, realized, report.time_ns, changes.now_ns, account.gateway, report.venue_trade_id,
        "", trading_day, False, corrects_trade_id, closed_today=closed_today,
    )  # fmt: skip
    changes.trades.append(trade)
    instrument = cache.instruments[order.symbol]
    if instrument not in changes.instruments:
        changes.instruments.append(instrument)
    changes.account(account)
    remember(account, trade)
    return trade


def superseded_trades(
    cache: TradingCache, account: Account, report: FillReport, side: Side, effect: PositionEffect
) -> list[Trade]:
    """Trades booked in place of a reported one of this side and effect: itself as nobody's, else adjustments."""
    same = account.external_trades.get(report.venue_trade_id)
    if same is not None:
        return [same]
    adjustments = [
        trade
        for trade in account.external_trades.values()
        if trade.venue_trade_id.startswith(ADJUSTMENT)
        and (trade.symbol, trade.side) == (report.symbol, side)
        and (trade.position_effect is PositionEffect.OPEN) == (effect is PositionEffect.OPEN)
        and report.time_ns <= trade.time_ns + CLOCKS_DIFFER_NS
        and _is_of_its_day(cache, account, trade, report)
    ]
    return sorted(
        adjustments, key=lambda trade: trade.time_ns
    )  # what is reported now was in the first that came after it


def _is_of_its_day(cache: TradingCache, account: Account, trade: Trade, report: FillReport) -> bool:
    today = cache.days.of(account.gateway, report.symbol)
    reported = report.trading_day or today
    return reported == trade.trading_day if trade.trading_day else reported < today


def reverse_superseded(
    cache: TradingCache, account: Account, report: FillReport, stands_for: Iterable[Trade], changes: ChangeSet
) -> None:
    """Take back what stands for a reported trade: before a closing one is booked, after an opening one.

    Together as many contracts as it has; the rest of the last one stays.
    """
    quantity = report.quantity
    for trade in stands_for:
        if quantity <= 0:
            return
        taken = min(quantity, trade.quantity)
        quantity -= taken
        reverse_trade(cache, account, trade, changes, taken)


def reverse_trade(
    cache: TradingCache,
    account: Account,
    trade: Trade,
    changes: ChangeSet,
    quantity: Decimal | None = None,
    correction: FillReport | None = None,
) -> None:
    """Reverse a trade without an order, as a bust does; where only so much of it is reversed, the rest is another.

    A `correction` takes its place in the same step.
    """
    account.external_trades.pop(trade.venue_trade_id, None)
    changes.trade_updates.append(replace(trade, busted=True))
    if quantity is not None and quantity < trade.quantity:
        realized = money.share(trade.realized_pnl, quantity, trade.quantity)
        closed_today = min(quantity, trade.closed_today)
        rest = replace(
            trade,
            trade_id=new_id(),
            venue_trade_id=ADJUSTMENT + new_id(),
            quantity=trade.quantity - quantity,
            realized_pnl=trade.realized_pnl - realized,
            closed_today=trade.closed_today - closed_today,
            create_time_ns=changes.now_ns,
            corrects_trade_id=trade.trade_id,
        )
        changes.trades.append(rest)
        remember(account, rest)
        trade = replace(trade, quantity=quantity, realized_pnl=realized, closed_today=closed_today)
    left = position_booking.unbook_position(cache, account, trade, changes, correction)
    changes.entries += ledger.reverse_trade(
        account, trade.commission, trade.realized_pnl - left, trade.trade_id, changes.now_ns
    )
    changes.account(account)


def _order(account: Account, symbol: str, side: Side, effect: PositionEffect, quantity: Decimal) -> Order:
    """The order that positions are booked by; none of the cache, and holds nothing."""
    return Order(
        "", "", account.user_id, account.account_id, account.gateway, symbol, side, OrderType.LIMIT, TimeInForce.DAY,
        effect, quantity, None, None, None, 0, "", "", "", 0, 0, ZERO,
    )  # fmt: skip
