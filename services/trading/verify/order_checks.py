"""Checks of orders: against their trades, and of what open ones hold of money and positions."""

from collections.abc import AsyncIterator, Callable, Mapping

from redfire.enums import OrderStatus

from services.trading.domain import money
from services.trading.domain.account import Account
from services.trading.domain.cache import TradingCache
from services.trading.domain.money import ZERO
from services.trading.domain.order import STOP_TYPES, Order
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade
from services.trading.verify.books_repository import OpenBooks
from services.trading.verify.finding import Finding, Findings

PASSING = frozenset(
    {OrderStatus.PENDING_NEW, OrderStatus.PENDING_CANCEL, OrderStatus.PENDING_REPLACE, OrderStatus.UNKNOWN}
)
"""Statuses that only last until the venue answers."""


async def check_orders(
    orders: AsyncIterator[tuple[Order, bool]],
    trades: AsyncIterator[Trade],
    accounts: Mapping[str, Account],
    findings: Findings,
    progress: Callable[[], None],
) -> None:
    """Compare each order with its trades; both come by the orders' ids."""
    trade = await anext(trades, None)
    async for order, is_open in orders:
        progress()
        if is_open != order.is_open:
            message = "an order counts as open, or as finished, and its status says otherwise"
            findings.add(
                Finding("order_open", message, order.status.name, "open" if is_open else "finished", **of_order(order))
            )
        while trade is not None and trade.order_id < order.order_id:
            _report_orphan(trade, findings)
            trade = await anext(trades, None)
        booked: list[Trade] = []
        while trade is not None and trade.order_id == order.order_id:
            booked.append(trade)
            trade = await anext(trades, None)
        _check_order(order, booked, accounts.get(order.account_id), findings)
    while trade is not None:
        _report_orphan(trade, findings)
        trade = await anext(trades, None)


def _report_orphan(trade: Trade, findings: Findings) -> None:
    of = {"user_id": trade.user_id, "account_id": trade.account_id, "order_id": trade.order_id}
    findings.add(
        Finding("trade_order", "a trade of an order that is not there", subject=f"trade {trade.trade_id}", **of)
    )


def _check_order(order: Order, booked: list[Trade], account: Account | None, findings: Findings) -> None:
    of = of_order(order)
    if account is None or account.user_id != order.user_id:
        findings.add(Finding("order_account", "an order of an account that is not there", **of))
    for trade in booked:
        mine = (order.user_id, order.account_id, order.symbol, order.side)
        if (trade.user_id, trade.account_id, trade.symbol, trade.side) != mine:
            subject = f"trade {trade.trade_id}"
            findings.add(
                Finding("trade_order", "a trade of another account or instrument than its order", subject=subject, **of)
            )
    counted = [trade for trade in booked if not trade.busted]
    filled = money.total(trade.quantity for trade in counted)
    message = "an order's cumulative quantity is not the sum of its trades"
    findings.differ("order_trades", message, filled, order.cumulative_quantity, **of)
    notional = money.total(money.product(trade.price, trade.quantity) for trade in counted)
    message = "an order's filled value is not the sum of its trades"
    findings.differ("order_notional", message, notional, order.filled_notional, **of)
    commission = money.total(trade.commission for trade in counted)
    message = "an order's commission is not the sum of its trades'"
    findings.differ("order_commission", message, commission, order.commission, **of)
    if order.status is OrderStatus.FILLED and order.cumulative_quantity < order.quantity:
        message = "an order is FILLED, and not whole"
        findings.differ("order_status", message, order.quantity, order.cumulative_quantity, **of)


def check_holds(books: OpenBooks, findings: Findings) -> TradingCache:
    """Put what is open into a cache, as trading does at its start, and check what orders hold. Answers the cache."""
    cache = TradingCache()
    for instrument in books.instruments:
        cache.instruments[instrument.symbol] = instrument
    for gateway, (trading_day, is_own) in books.gateways.items():
        cache.days.restore(gateway, trading_day, is_own)
    for account in books.accounts:
        cache.add_account(account)
    for position in books.positions:
        if position.quantity and position.account_id in cache.accounts:
            cache.add_position(position)
    for order in books.orders:
        if order.account_id not in cache.accounts:
            continue  # found with all orders
        if order.symbol not in cache.instruments:
            findings.add(
                Finding(
                    "instrument", "an open order's instrument is not there", subject=order.symbol, **of_order(order)
                )
            )
            continue
        cache.add_order(order)
        _check_hold(cache, order, findings)
    for account in cache.accounts.values():
        for position in account.positions.values():
            _check_frozen(position, findings)
    return cache


def _check_hold(cache: TradingCache, order: Order, findings: Findings) -> None:
    of = of_order(order)
    hold = order.hold_today + order.hold_yesterday
    needed = max(order.leaves_quantity, (order.pending_quantity or ZERO) - order.cumulative_quantity)
    if not order.is_closing:
        findings.differ("order_hold", "an order that closes nothing holds contracts", ZERO, hold, **of)
    elif hold > needed or min(order.hold_today, order.hold_yesterday) < ZERO:
        findings.differ("order_hold", "a closing order holds more contracts than it can close", needed, hold, **of)
    if hold and cache.find_position(order) is None:
        findings.differ("order_hold", "a closing order holds contracts that are not there", ZERO, hold, **of)


def _check_frozen(position: Position, findings: Findings) -> None:
    of = {
        "user_id": position.user_id, "account_id": position.account_id,
        "subject": f"{position.symbol} {position.side.name}",
    }  # fmt: skip
    for frozen, held in (
        (position.frozen_day, position.day_quantity),
        (position.frozen_older, position.older_quantity),
    ):
        if frozen > held:
            findings.differ("position_frozen", "open orders hold more of a position than there is", held, frozen, **of)


def unsettled(books: OpenBooks, before_ns: int) -> list[Finding]:
    """Orders whose outcome should be known by now: they are as they were before that time."""
    findings = []
    for order in books.orders:
        of = of_order(order)
        if order.update_time_ns >= before_ns:
            continue
        if order.status in PASSING and not (order.is_held and order.cancel_first):
            findings.append(
                Finding("order_unsettled", "an order's outcome is not known in time", "", order.status.name, **of)
            )
        elif order.is_held and not _may_wait(order):
            findings.append(Finding("order_stuck", "an open order is not at its venue, and waits for nothing", **of))
    return findings


def _may_wait(order: Order) -> bool:
    """Return whether an order that is not at its venue waits for something: a trigger, its group, its gateway."""
    is_stop = order.type in STOP_TYPES and not order.triggered
    return is_stop or bool(order.hold_reason or order.order_group_id or order.cancel_first or order.held_day)


def of_order(order: Order) -> dict[str, str]:
    """The ids of an order, for a finding."""
    return {"user_id": order.user_id, "account_id": order.account_id, "order_id": order.order_id}
