import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.common.v1 import error_reason_pb2 as _error_reason_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderGroupKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_GROUP_KIND_UNSPECIFIED: _ClassVar[OrderGroupKind]
    ORDER_GROUP_KIND_OCO: _ClassVar[OrderGroupKind]
    ORDER_GROUP_KIND_BRACKET: _ClassVar[OrderGroupKind]

class OrderGroupStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_GROUP_STATUS_UNSPECIFIED: _ClassVar[OrderGroupStatus]
    ORDER_GROUP_STATUS_ACTIVE: _ClassVar[OrderGroupStatus]
    ORDER_GROUP_STATUS_DONE: _ClassVar[OrderGroupStatus]

class AccountKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCOUNT_KIND_UNSPECIFIED: _ClassVar[AccountKind]
    ACCOUNT_KIND_PAPER: _ClassVar[AccountKind]
    ACCOUNT_KIND_LIVE: _ClassVar[AccountKind]

class LedgerEntryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_ENTRY_KIND_UNSPECIFIED: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_DEPOSIT: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_WITHDRAWAL: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_COMMISSION: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_REALIZED_PNL: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_SETTLEMENT: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_REVERSAL: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_ADJUSTMENT: _ClassVar[LedgerEntryKind]
ORDER_GROUP_KIND_UNSPECIFIED: OrderGroupKind
ORDER_GROUP_KIND_OCO: OrderGroupKind
ORDER_GROUP_KIND_BRACKET: OrderGroupKind
ORDER_GROUP_STATUS_UNSPECIFIED: OrderGroupStatus
ORDER_GROUP_STATUS_ACTIVE: OrderGroupStatus
ORDER_GROUP_STATUS_DONE: OrderGroupStatus
ACCOUNT_KIND_UNSPECIFIED: AccountKind
ACCOUNT_KIND_PAPER: AccountKind
ACCOUNT_KIND_LIVE: AccountKind
LEDGER_ENTRY_KIND_UNSPECIFIED: LedgerEntryKind
LEDGER_ENTRY_KIND_DEPOSIT: LedgerEntryKind
LEDGER_ENTRY_KIND_WITHDRAWAL: LedgerEntryKind
LEDGER_ENTRY_KIND_COMMISSION: LedgerEntryKind
LEDGER_ENTRY_KIND_REALIZED_PNL: LedgerEntryKind
LEDGER_ENTRY_KIND_SETTLEMENT: LedgerEntryKind
LEDGER_ENTRY_KIND_REVERSAL: LedgerEntryKind
LEDGER_ENTRY_KIND_ADJUSTMENT: LedgerEntryKind

class Order(_message.Message):
    __slots__ = ("order_id", "client_order_id", "account_id", "symbol", "side", "type", "time_in_force", "position_effect", "quantity", "price", "stop_price", "trailing_offset", "status", "cumulative_quantity", "leaves_quantity", "average_price", "commission", "reject_reason", "reject_message", "venue_order_id", "strategy_id", "trace_id", "create_time", "update_time", "expire_time", "triggered", "order_group_id", "reduce_only", "post_only", "hold_reason", "trading_day")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TRAILING_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LEAVES_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    REJECT_REASON_FIELD_NUMBER: _ClassVar[int]
    REJECT_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    HOLD_REASON_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    client_order_id: str
    account_id: str
    symbol: str
    side: _common_pb2.Side
    type: _common_pb2.OrderType
    time_in_force: _common_pb2.TimeInForce
    position_effect: _common_pb2.PositionEffect
    quantity: str
    price: str
    stop_price: str
    trailing_offset: str
    status: _common_pb2.OrderStatus
    cumulative_quantity: str
    leaves_quantity: str
    average_price: str
    commission: str
    reject_reason: _error_reason_pb2.ErrorReason
    reject_message: str
    venue_order_id: str
    strategy_id: str
    trace_id: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    triggered: bool
    order_group_id: str
    reduce_only: bool
    post_only: bool
    hold_reason: _error_reason_pb2.ErrorReason
    trading_day: int
    def __init__(self, order_id: _Optional[str] = ..., client_order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., time_in_force: _Optional[_Union[_common_pb2.TimeInForce, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., stop_price: _Optional[str] = ..., trailing_offset: _Optional[str] = ..., status: _Optional[_Union[_common_pb2.OrderStatus, str]] = ..., cumulative_quantity: _Optional[str] = ..., leaves_quantity: _Optional[str] = ..., average_price: _Optional[str] = ..., commission: _Optional[str] = ..., reject_reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., reject_message: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., trace_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., triggered: _Optional[bool] = ..., order_group_id: _Optional[str] = ..., reduce_only: _Optional[bool] = ..., post_only: _Optional[bool] = ..., hold_reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., trading_day: _Optional[int] = ...) -> None: ...

class OrderGroup(_message.Message):
    __slots__ = ("order_group_id", "client_order_group_id", "kind", "orders", "account_id", "status", "create_time", "update_time", "unprotected_quantity")
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNPROTECTED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    order_group_id: str
    client_order_group_id: str
    kind: OrderGroupKind
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    account_id: str
    status: OrderGroupStatus
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    unprotected_quantity: str
    def __init__(self, order_group_id: _Optional[str] = ..., client_order_group_id: _Optional[str] = ..., kind: _Optional[_Union[OrderGroupKind, str]] = ..., orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., account_id: _Optional[str] = ..., status: _Optional[_Union[OrderGroupStatus, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unprotected_quantity: _Optional[str] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("account_id", "display_name", "kind", "gateway", "currency", "balance", "available", "margin", "frozen", "unrealized_pnl", "realized_pnl", "equity", "commission", "create_time", "venue", "margin_call")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_CALL_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    display_name: str
    kind: AccountKind
    gateway: str
    currency: str
    balance: str
    available: str
    margin: str
    frozen: str
    unrealized_pnl: str
    realized_pnl: str
    equity: str
    commission: str
    create_time: _timestamp_pb2.Timestamp
    venue: VenueAccount
    margin_call: bool
    def __init__(self, account_id: _Optional[str] = ..., display_name: _Optional[str] = ..., kind: _Optional[_Union[AccountKind, str]] = ..., gateway: _Optional[str] = ..., currency: _Optional[str] = ..., balance: _Optional[str] = ..., available: _Optional[str] = ..., margin: _Optional[str] = ..., frozen: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., equity: _Optional[str] = ..., commission: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., venue: _Optional[_Union[VenueAccount, _Mapping]] = ..., margin_call: _Optional[bool] = ...) -> None: ...

class VenueAccount(_message.Message):
    __slots__ = ("venue_account_id", "currency", "balance", "available", "margin", "frozen", "update_time", "balance_difference")
    VENUE_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BALANCE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    venue_account_id: str
    currency: str
    balance: str
    available: str
    margin: str
    frozen: str
    update_time: _timestamp_pb2.Timestamp
    balance_difference: str
    def __init__(self, venue_account_id: _Optional[str] = ..., currency: _Optional[str] = ..., balance: _Optional[str] = ..., available: _Optional[str] = ..., margin: _Optional[str] = ..., frozen: _Optional[str] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., balance_difference: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("account_id", "symbol", "side", "quantity", "today_quantity", "yesterday_quantity", "frozen_quantity", "average_price", "last_price", "unrealized_pnl", "realized_pnl", "margin", "venue_difference")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TODAY_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    YESTERDAY_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    FROZEN_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    VENUE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    symbol: str
    side: _common_pb2.PositionSide
    quantity: str
    today_quantity: str
    yesterday_quantity: str
    frozen_quantity: str
    average_price: str
    last_price: str
    unrealized_pnl: str
    realized_pnl: str
    margin: str
    venue_difference: str
    def __init__(self, account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.PositionSide, str]] = ..., quantity: _Optional[str] = ..., today_quantity: _Optional[str] = ..., yesterday_quantity: _Optional[str] = ..., frozen_quantity: _Optional[str] = ..., average_price: _Optional[str] = ..., last_price: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., margin: _Optional[str] = ..., venue_difference: _Optional[str] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("trade_id", "order_id", "account_id", "symbol", "side", "position_effect", "price", "quantity", "commission", "realized_pnl", "time", "venue_trade_id", "strategy_id", "trading_day", "busted", "corrects_trade_id", "trace_id")
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VENUE_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    BUSTED_FIELD_NUMBER: _ClassVar[int]
    CORRECTS_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    trade_id: str
    order_id: str
    account_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    price: str
    quantity: str
    commission: str
    realized_pnl: str
    time: _timestamp_pb2.Timestamp
    venue_trade_id: str
    strategy_id: str
    trading_day: int
    busted: bool
    corrects_trade_id: str
    trace_id: str
    def __init__(self, trade_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., commission: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., venue_trade_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., trading_day: _Optional[int] = ..., busted: _Optional[bool] = ..., corrects_trade_id: _Optional[str] = ..., trace_id: _Optional[str] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("entry_id", "transaction_id", "ledger_account", "amount", "kind", "reference", "create_time", "account_id")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    LEDGER_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    transaction_id: str
    ledger_account: str
    amount: str
    kind: LedgerEntryKind
    reference: str
    create_time: _timestamp_pb2.Timestamp
    account_id: str
    def __init__(self, entry_id: _Optional[str] = ..., transaction_id: _Optional[str] = ..., ledger_account: _Optional[str] = ..., amount: _Optional[str] = ..., kind: _Optional[_Union[LedgerEntryKind, str]] = ..., reference: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., account_id: _Optional[str] = ...) -> None: ...
