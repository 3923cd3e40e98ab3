"""Rows of lists, as texts of the database, to encoded messages.

What a text becomes depends on it alone, so those of late are remembered: clients read the same pages again and again,
and of orders only those that changed since are new texts.
"""

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

from redfire.trading.v1 import account_service_pb2, order_service_pb2, trading_pb2

from services.kernel.decimals import plain
from services.kernel.rpc.encoded import ListEncoder
from services.trading.convert import reason_to_pb, time_to_pb
from services.trading.domain import money
from services.trading.domain.order import FINISHED, STOP_TYPES

# Some 600 bytes each, of which a half is the text.
REMEMBERED = 8192
ORDERS = ListEncoder(order_service_pb2.ListOrdersResponse, "orders")
TRADES = ListEncoder(account_service_pb2.ListTradesResponse, "trades")
ENTRIES = ListEncoder(account_service_pb2.ListLedgerEntriesResponse, "entries")
_FINISHED = frozenset(map(int, FINISHED))
_STOPS = frozenset(map(int, STOP_TYPES))


@lru_cache(REMEMBERED)
def order_to_part(text: str) -> bytes:
    """An order of its ORDER_COLUMNS, as an item of a ListOrdersResponse."""
    return ORDERS.item(order_row_to_pb(*json.loads(text)))


@lru_cache(REMEMBERED)
def trade_to_part(text: str) -> bytes:
    """A trade of its TRADE_COLUMNS, as an item of a ListTradesResponse."""
    return TRADES.item(trade_row_to_pb(*json.loads(text)))


@lru_cache(REMEMBERED)
def entry_to_part(text: str) -> bytes:
    """A ledger entry of its ENTRY_COLUMNS, as an item of a ListLedgerEntriesResponse."""
    return ENTRIES.item(entry_row_to_pb(*json.loads(text)))


def order_row_to_pb(
    create_time_ns: int, order_id: str, client_order_id: str, account_id: str, symbol: str, side: Any, type: Any,
    time_in_force: Any, position_effect: Any, quantity: str, price: str | None, stop_price: str | None,
    trailing_offset: str | None, status: Any, cumulative_quantity: str, filled_notional: str, commission: str,
    reject_reason: str, reject_message: str, venue_order_id: str, strategy_id: str, trace_id: str, update_time_ns: int,
    expire_time_ns: int, triggered: int, details: str, trading_day: int,
) -> trading_pb2.Order:  # fmt: skip
    """The same as `convert.order_to_pb` makes of the row's order."""
    filled = cumulative_quantity != "0"
    leaves = "0" if status in _FINISHED else quantity
    if filled and status not in _FINISHED:
        leaves = plain(max(Decimal(quantity) - Decimal(cumulative_quantity), money.ZERO))
    message = trading_pb2.Order(
        order_id=order_id,
        client_order_id=client_order_id,
        account_id=account_id,
        symbol=symbol,
        side=side,
        type=type,
        time_in_force=time_in_force,
        position_effect=position_effect,
        quantity=quantity,
        status=status,
        cumulative_quantity=cumulative_quantity,
        leaves_quantity=leaves,
        commission=commission,
        venue_order_id=venue_order_id,
        strategy_id=strategy_id,
        trace_id=trace_id,
        create_time=time_to_pb(create_time_ns),
        update_time=time_to_pb(update_time_ns),
        trading_day=trading_day,
    )
    if price is not None:
        message.price = price
    if filled:
        message.average_price = plain(money.quotient(Decimal(filled_notional), Decimal(cumulative_quantity)))
    if type in _STOPS:
        message.stop_price, message.trailing_offset = stop_price or "", trailing_offset or ""
        message.triggered = bool(triggered)
    if reject_reason or reject_message:
        message.reject_reason, message.reject_message = reason_to_pb(reject_reason), reject_message
    if details:
        written = json.loads(details)
        message.order_group_id = written.get("order_group_id", "")
        message.reduce_only = bool(written.get("reduce_only"))
        message.post_only = bool(written.get("post_only"))
        message.hold_reason = reason_to_pb(written.get("hold_reason", ""))
    if expire_time_ns:
        message.expire_time.CopyFrom(time_to_pb(expire_time_ns))
    return message


def trade_row_to_pb(
    create_time_ns: int, trade_id: str, order_id: str, account_id: str, symbol: str, side: Any, position_effect: Any,
    price: str, quantity: str, commission: str, realized_pnl: str, time_ns: int, venue_trade_id: str, strategy_id: str,
    busted: int, corrects_trade_id: str, trace_id: str, trading_day: int,
) -> trading_pb2.Trade:  # fmt: skip
    """The same as `convert.trade_to_pb` makes of the row's trade."""
    return trading_pb2.Trade(
        trade_id=trade_id,
        order_id=order_id,
        account_id=account_id,
        symbol=symbol,
        side=side,
        position_effect=position_effect,
        price=price,
        quantity=quantity,
        commission=commission,
        realized_pnl=realized_pnl,
        time=time_to_pb(time_ns),
        venue_trade_id=venue_trade_id,
        strategy_id=strategy_id,
        busted=bool(busted),
        corrects_trade_id=corrects_trade_id,
        trace_id=trace_id,
        trading_day=trading_day,
    )


def entry_row_to_pb(
    create_time_ns: int, entry_id: str, transaction_id: str, ledger_account: str, amount: str, kind: Any,
    reference: str, account_id: str,
) -> trading_pb2.LedgerEntry:  # fmt: skip
    """The same as `convert.entry_to_pb` makes of the row's entry."""
    return trading_pb2.LedgerEntry(
        entry_id=entry_id,
        transaction_id=transaction_id,
        ledger_account=ledger_account,
        amount=amount,
        kind=kind,
        reference=reference,
        create_time=time_to_pb(create_time_ns),
        account_id=account_id,
    )
