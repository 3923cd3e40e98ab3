import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.common.v1 import error_reason_pb2 as _error_reason_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from redfire.trading.v1 import trading_pb2 as _trading_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Violation(_message.Message):
    __slots__ = ("reason", "message", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateOrderRequest(_message.Message):
    __slots__ = ("client_order_id", "account_id", "symbol", "side", "type", "quantity", "price", "stop_price", "trailing_offset", "time_in_force", "expire_time", "position_effect", "strategy_id", "reduce_only", "post_only")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TRAILING_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    account_id: str
    symbol: str
    side: _common_pb2.Side
    type: _common_pb2.OrderType
    quantity: str
    price: str
    stop_price: str
    trailing_offset: str
    time_in_force: _common_pb2.TimeInForce
    expire_time: _timestamp_pb2.Timestamp
    position_effect: _common_pb2.PositionEffect
    strategy_id: str
    reduce_only: bool
    post_only: bool
    def __init__(self, client_order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., stop_price: _Optional[str] = ..., trailing_offset: _Optional[str] = ..., time_in_force: _Optional[_Union[_common_pb2.TimeInForce, str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., strategy_id: _Optional[str] = ..., reduce_only: _Optional[bool] = ..., post_only: _Optional[bool] = ...) -> None: ...

class CreateOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class GroupOrder(_message.Message):
    __slots__ = ("client_order_id", "symbol", "side", "type", "quantity", "price", "stop_price", "trailing_offset", "time_in_force", "expire_time", "position_effect", "strategy_id", "reduce_only", "post_only")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TRAILING_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    symbol: str
    side: _common_pb2.Side
    type: _common_pb2.OrderType
    quantity: str
    price: str
    stop_price: str
    trailing_offset: str
    time_in_force: _common_pb2.TimeInForce
    expire_time: _timestamp_pb2.Timestamp
    position_effect: _common_pb2.PositionEffect
    strategy_id: str
    reduce_only: bool
    post_only: bool
    def __init__(self, client_order_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., stop_price: _Optional[str] = ..., trailing_offset: _Optional[str] = ..., time_in_force: _Optional[_Union[_common_pb2.TimeInForce, str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., strategy_id: _Optional[str] = ..., reduce_only: _Optional[bool] = ..., post_only: _Optional[bool] = ...) -> None: ...

class CreateOrderGroupRequest(_message.Message):
    __slots__ = ("client_order_group_id", "kind", "orders", "account_id")
    CLIENT_ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    client_order_group_id: str
    kind: _trading_pb2.OrderGroupKind
    orders: _containers.RepeatedCompositeFieldContainer[GroupOrder]
    account_id: str
    def __init__(self, client_order_group_id: _Optional[str] = ..., kind: _Optional[_Union[_trading_pb2.OrderGroupKind, str]] = ..., orders: _Optional[_Iterable[_Union[GroupOrder, _Mapping]]] = ..., account_id: _Optional[str] = ...) -> None: ...

class CreateOrderGroupResponse(_message.Message):
    __slots__ = ("order_group",)
    ORDER_GROUP_FIELD_NUMBER: _ClassVar[int]
    order_group: _trading_pb2.OrderGroup
    def __init__(self, order_group: _Optional[_Union[_trading_pb2.OrderGroup, _Mapping]] = ...) -> None: ...

class PreviewOrderGroupRequest(_message.Message):
    __slots__ = ("client_order_group_id", "kind", "orders", "account_id")
    CLIENT_ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    client_order_group_id: str
    kind: _trading_pb2.OrderGroupKind
    orders: _containers.RepeatedCompositeFieldContainer[GroupOrder]
    account_id: str
    def __init__(self, client_order_group_id: _Optional[str] = ..., kind: _Optional[_Union[_trading_pb2.OrderGroupKind, str]] = ..., orders: _Optional[_Iterable[_Union[GroupOrder, _Mapping]]] = ..., account_id: _Optional[str] = ...) -> None: ...

class PreviewOrderGroupResponse(_message.Message):
    __slots__ = ("would_accept", "violations", "orders", "reserved_funds", "closing_quantity", "max_quantity", "cancel_on_disconnect")
    WOULD_ACCEPT_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FUNDS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MAX_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    would_accept: bool
    violations: _containers.RepeatedCompositeFieldContainer[Violation]
    orders: _containers.RepeatedCompositeFieldContainer[PreviewOrderResponse]
    reserved_funds: str
    closing_quantity: str
    max_quantity: str
    cancel_on_disconnect: _duration_pb2.Duration
    def __init__(self, would_accept: _Optional[bool] = ..., violations: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., orders: _Optional[_Iterable[_Union[PreviewOrderResponse, _Mapping]]] = ..., reserved_funds: _Optional[str] = ..., closing_quantity: _Optional[str] = ..., max_quantity: _Optional[str] = ..., cancel_on_disconnect: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetOrderGroupRequest(_message.Message):
    __slots__ = ("order_group_id",)
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    order_group_id: str
    def __init__(self, order_group_id: _Optional[str] = ...) -> None: ...

class GetOrderGroupResponse(_message.Message):
    __slots__ = ("order_group",)
    ORDER_GROUP_FIELD_NUMBER: _ClassVar[int]
    order_group: _trading_pb2.OrderGroup
    def __init__(self, order_group: _Optional[_Union[_trading_pb2.OrderGroup, _Mapping]] = ...) -> None: ...

class CancelOrderGroupRequest(_message.Message):
    __slots__ = ("order_group_id",)
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    order_group_id: str
    def __init__(self, order_group_id: _Optional[str] = ...) -> None: ...

class CancelOrderGroupResponse(_message.Message):
    __slots__ = ("order_group",)
    ORDER_GROUP_FIELD_NUMBER: _ClassVar[int]
    order_group: _trading_pb2.OrderGroup
    def __init__(self, order_group: _Optional[_Union[_trading_pb2.OrderGroup, _Mapping]] = ...) -> None: ...

class PreviewOrderRequest(_message.Message):
    __slots__ = ("client_order_id", "account_id", "symbol", "side", "type", "quantity", "price", "stop_price", "trailing_offset", "time_in_force", "expire_time", "position_effect", "strategy_id", "reduce_only", "post_only")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TRAILING_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    account_id: str
    symbol: str
    side: _common_pb2.Side
    type: _common_pb2.OrderType
    quantity: str
    price: str
    stop_price: str
    trailing_offset: str
    time_in_force: _common_pb2.TimeInForce
    expire_time: _timestamp_pb2.Timestamp
    position_effect: _common_pb2.PositionEffect
    strategy_id: str
    reduce_only: bool
    post_only: bool
    def __init__(self, client_order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., stop_price: _Optional[str] = ..., trailing_offset: _Optional[str] = ..., time_in_force: _Optional[_Union[_common_pb2.TimeInForce, str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., strategy_id: _Optional[str] = ..., reduce_only: _Optional[bool] = ..., post_only: _Optional[bool] = ...) -> None: ...

class PreviewOrderResponse(_message.Message):
    __slots__ = ("would_accept", "violations", "margin", "commission", "max_quantity", "reference_price", "cancel_on_disconnect")
    WOULD_ACCEPT_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    MAX_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    would_accept: bool
    violations: _containers.RepeatedCompositeFieldContainer[Violation]
    margin: str
    commission: str
    max_quantity: str
    reference_price: str
    cancel_on_disconnect: _duration_pb2.Duration
    def __init__(self, would_accept: _Optional[bool] = ..., violations: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., margin: _Optional[str] = ..., commission: _Optional[str] = ..., max_quantity: _Optional[str] = ..., reference_price: _Optional[str] = ..., cancel_on_disconnect: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class GetOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class LookupOrderRequest(_message.Message):
    __slots__ = ("client_order_id", "account_id")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    account_id: str
    def __init__(self, client_order_id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class LookupOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "account_id", "symbol", "statuses", "start_time", "end_time", "open_only", "strategy_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_ONLY_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    account_id: str
    symbol: str
    statuses: _containers.RepeatedScalarFieldContainer[_common_pb2.OrderStatus]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    open_only: bool
    strategy_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[_common_pb2.OrderStatus, str]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open_only: _Optional[bool] = ..., strategy_id: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_trading_pb2.Order]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[_trading_pb2.Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReplaceOrderRequest(_message.Message):
    __slots__ = ("order_id", "quantity", "price", "stop_price")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    quantity: str
    price: str
    stop_price: str
    def __init__(self, order_id: _Optional[str] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., stop_price: _Optional[str] = ...) -> None: ...

class ReplaceOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class CancelAllOrdersRequest(_message.Message):
    __slots__ = ("account_id", "symbol")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    symbol: str
    def __init__(self, account_id: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class CancelAllOrdersResponse(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_trading_pb2.Order]
    def __init__(self, orders: _Optional[_Iterable[_Union[_trading_pb2.Order, _Mapping]]] = ...) -> None: ...

class StreamOrdersRequest(_message.Message):
    __slots__ = ("account_id", "resume_after_sequence", "heartbeat_interval", "cancel_on_disconnect", "cancel_protective_stops")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_PROTECTIVE_STOPS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    resume_after_sequence: int
    heartbeat_interval: _duration_pb2.Duration
    cancel_on_disconnect: _duration_pb2.Duration
    cancel_protective_stops: bool
    def __init__(self, account_id: _Optional[str] = ..., resume_after_sequence: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cancel_on_disconnect: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cancel_protective_stops: _Optional[bool] = ...) -> None: ...

class StreamOrdersResponse(_message.Message):
    __slots__ = ("sequence", "order", "trade", "position", "account", "snapshot_complete", "heartbeat", "gap", "end", "lease", "order_group")
    class SnapshotComplete(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ("time",)
        TIME_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class Gap(_message.Message):
        __slots__ = ("first_sequence", "last_sequence")
        FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        first_sequence: int
        last_sequence: int
        def __init__(self, first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...
    class End(_message.Message):
        __slots__ = ("reason", "resume_after_sequence")
        REASON_FIELD_NUMBER: _ClassVar[int]
        RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        reason: str
        resume_after_sequence: int
        def __init__(self, reason: _Optional[str] = ..., resume_after_sequence: _Optional[int] = ...) -> None: ...
    class Lease(_message.Message):
        __slots__ = ("account_id", "cancel_on_disconnect", "cancel_protective_stops")
        ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
        CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
        CANCEL_PROTECTIVE_STOPS_FIELD_NUMBER: _ClassVar[int]
        account_id: str
        cancel_on_disconnect: _duration_pb2.Duration
        cancel_protective_stops: bool
        def __init__(self, account_id: _Optional[str] = ..., cancel_on_disconnect: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cancel_protective_stops: _Optional[bool] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    order: _trading_pb2.Order
    trade: _trading_pb2.Trade
    position: _trading_pb2.Position
    account: _trading_pb2.Account
    snapshot_complete: StreamOrdersResponse.SnapshotComplete
    heartbeat: StreamOrdersResponse.Heartbeat
    gap: StreamOrdersResponse.Gap
    end: StreamOrdersResponse.End
    lease: StreamOrdersResponse.Lease
    order_group: _trading_pb2.OrderGroup
    def __init__(self, sequence: _Optional[int] = ..., order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ..., trade: _Optional[_Union[_trading_pb2.Trade, _Mapping]] = ..., position: _Optional[_Union[_trading_pb2.Position, _Mapping]] = ..., account: _Optional[_Union[_trading_pb2.Account, _Mapping]] = ..., snapshot_complete: _Optional[_Union[StreamOrdersResponse.SnapshotComplete, _Mapping]] = ..., heartbeat: _Optional[_Union[StreamOrdersResponse.Heartbeat, _Mapping]] = ..., gap: _Optional[_Union[StreamOrdersResponse.Gap, _Mapping]] = ..., end: _Optional[_Union[StreamOrdersResponse.End, _Mapping]] = ..., lease: _Optional[_Union[StreamOrdersResponse.Lease, _Mapping]] = ..., order_group: _Optional[_Union[_trading_pb2.OrderGroup, _Mapping]] = ...) -> None: ...

class WatchTradingRequest(_message.Message):
    __slots__ = ("resume_after_sequence",)
    RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    resume_after_sequence: int
    def __init__(self, resume_after_sequence: _Optional[int] = ...) -> None: ...

class WatchTradingResponse(_message.Message):
    __slots__ = ("user_id", "update")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    update: StreamOrdersResponse
    def __init__(self, user_id: _Optional[str] = ..., update: _Optional[_Union[StreamOrdersResponse, _Mapping]] = ...) -> None: ...

class WatchShardsRequest(_message.Message):
    __slots__ = ("missed_after",)
    class MissedAfterEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    MISSED_AFTER_FIELD_NUMBER: _ClassVar[int]
    missed_after: _containers.ScalarMap[int, int]
    def __init__(self, missed_after: _Optional[_Mapping[int, int]] = ...) -> None: ...

class WatchShardsResponse(_message.Message):
    __slots__ = ("user_id", "update", "taken", "ready", "lost")
    class Taken(_message.Message):
        __slots__ = ("epochs",)
        class EpochsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: int
            value: int
            def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
        EPOCHS_FIELD_NUMBER: _ClassVar[int]
        epochs: _containers.ScalarMap[int, int]
        def __init__(self, epochs: _Optional[_Mapping[int, int]] = ...) -> None: ...
    class Ready(_message.Message):
        __slots__ = ("sequences",)
        class SequencesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: int
            value: int
            def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
        SEQUENCES_FIELD_NUMBER: _ClassVar[int]
        sequences: _containers.ScalarMap[int, int]
        def __init__(self, sequences: _Optional[_Mapping[int, int]] = ...) -> None: ...
    class Lost(_message.Message):
        __slots__ = ("shards",)
        SHARDS_FIELD_NUMBER: _ClassVar[int]
        shards: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, shards: _Optional[_Iterable[int]] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    update: StreamOrdersResponse
    taken: WatchShardsResponse.Taken
    ready: WatchShardsResponse.Ready
    lost: WatchShardsResponse.Lost
    def __init__(self, user_id: _Optional[str] = ..., update: _Optional[_Union[StreamOrdersResponse, _Mapping]] = ..., taken: _Optional[_Union[WatchShardsResponse.Taken, _Mapping]] = ..., ready: _Optional[_Union[WatchShardsResponse.Ready, _Mapping]] = ..., lost: _Optional[_Union[WatchShardsResponse.Lost, _Mapping]] = ...) -> None: ...

class CancelAccountOrdersRequest(_message.Message):
    __slots__ = ("user_id", "account_id", "opening_only", "reason")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OPENING_ONLY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    opening_only: bool
    reason: _error_reason_pb2.ErrorReason
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., opening_only: _Optional[bool] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ...) -> None: ...

class CancelAccountOrdersResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...
