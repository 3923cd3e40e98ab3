import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from redfire.trading.v1 import trading_pb2 as _trading_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExternalOrder(_message.Message):
    __slots__ = ("external_order_id", "gateway", "venue_order_id", "symbol", "side", "position_effect", "type", "quantity", "price", "cumulative_quantity", "status", "create_time", "update_time", "account_id", "order_id")
    EXTERNAL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    external_order_id: str
    gateway: str
    venue_order_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    type: _common_pb2.OrderType
    quantity: str
    price: str
    cumulative_quantity: str
    status: _common_pb2.OrderStatus
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    account_id: str
    order_id: str
    def __init__(self, external_order_id: _Optional[str] = ..., gateway: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., cumulative_quantity: _Optional[str] = ..., status: _Optional[_Union[_common_pb2.OrderStatus, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., account_id: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class ExternalTrade(_message.Message):
    __slots__ = ("external_trade_id", "external_order_id", "gateway", "venue_trade_id", "symbol", "side", "position_effect", "price", "quantity", "time", "trading_day", "amends")
    EXTERNAL_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    VENUE_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    AMENDS_FIELD_NUMBER: _ClassVar[int]
    external_trade_id: str
    external_order_id: str
    gateway: str
    venue_trade_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    price: str
    quantity: str
    time: _timestamp_pb2.Timestamp
    trading_day: int
    amends: bool
    def __init__(self, external_trade_id: _Optional[str] = ..., external_order_id: _Optional[str] = ..., gateway: _Optional[str] = ..., venue_trade_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trading_day: _Optional[int] = ..., amends: _Optional[bool] = ...) -> None: ...

class PositionDifference(_message.Message):
    __slots__ = ("gateway", "symbol", "side", "venue_quantity", "book_quantity", "quantity", "since_time")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    VENUE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    BOOK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    symbol: str
    side: _common_pb2.PositionSide
    venue_quantity: str
    book_quantity: str
    quantity: str
    since_time: _timestamp_pb2.Timestamp
    def __init__(self, gateway: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.PositionSide, str]] = ..., venue_quantity: _Optional[str] = ..., book_quantity: _Optional[str] = ..., quantity: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListExternalOrdersRequest(_message.Message):
    __slots__ = ("gateway", "symbol", "open_only", "include_adopted", "page_size", "page_token")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    OPEN_ONLY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ADOPTED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    symbol: str
    open_only: bool
    include_adopted: bool
    page_size: int
    page_token: str
    def __init__(self, gateway: _Optional[str] = ..., symbol: _Optional[str] = ..., open_only: _Optional[bool] = ..., include_adopted: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListExternalOrdersResponse(_message.Message):
    __slots__ = ("external_orders", "next_page_token")
    EXTERNAL_ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    external_orders: _containers.RepeatedCompositeFieldContainer[ExternalOrder]
    next_page_token: str
    def __init__(self, external_orders: _Optional[_Iterable[_Union[ExternalOrder, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListExternalTradesRequest(_message.Message):
    __slots__ = ("gateway", "symbol", "external_order_id", "include_adopted", "page_size", "page_token")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ADOPTED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    symbol: str
    external_order_id: str
    include_adopted: bool
    page_size: int
    page_token: str
    def __init__(self, gateway: _Optional[str] = ..., symbol: _Optional[str] = ..., external_order_id: _Optional[str] = ..., include_adopted: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListExternalTradesResponse(_message.Message):
    __slots__ = ("external_trades", "next_page_token")
    EXTERNAL_TRADES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    external_trades: _containers.RepeatedCompositeFieldContainer[ExternalTrade]
    next_page_token: str
    def __init__(self, external_trades: _Optional[_Iterable[_Union[ExternalTrade, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListPositionDifferencesRequest(_message.Message):
    __slots__ = ("gateway", "page_size", "page_token")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    page_size: int
    page_token: str
    def __init__(self, gateway: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPositionDifferencesResponse(_message.Message):
    __slots__ = ("position_differences", "next_page_token")
    POSITION_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    position_differences: _containers.RepeatedCompositeFieldContainer[PositionDifference]
    next_page_token: str
    def __init__(self, position_differences: _Optional[_Iterable[_Union[PositionDifference, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListUncertainOrdersRequest(_message.Message):
    __slots__ = ("gateway", "page_size", "page_token")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    page_size: int
    page_token: str
    def __init__(self, gateway: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUncertainOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_trading_pb2.Order]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[_trading_pb2.Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AdoptExternalOrderRequest(_message.Message):
    __slots__ = ("external_order_id", "account_id", "order_id")
    EXTERNAL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    external_order_id: str
    account_id: str
    order_id: str
    def __init__(self, external_order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class AdoptExternalOrderResponse(_message.Message):
    __slots__ = ("external_order", "order")
    EXTERNAL_ORDER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    external_order: ExternalOrder
    order: _trading_pb2.Order
    def __init__(self, external_order: _Optional[_Union[ExternalOrder, _Mapping]] = ..., order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class CancelExternalOrderRequest(_message.Message):
    __slots__ = ("external_order_id",)
    EXTERNAL_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    external_order_id: str
    def __init__(self, external_order_id: _Optional[str] = ...) -> None: ...

class CancelExternalOrderResponse(_message.Message):
    __slots__ = ("external_order",)
    EXTERNAL_ORDER_FIELD_NUMBER: _ClassVar[int]
    external_order: ExternalOrder
    def __init__(self, external_order: _Optional[_Union[ExternalOrder, _Mapping]] = ...) -> None: ...

class ClosePositionDifferenceRequest(_message.Message):
    __slots__ = ("client_order_id", "gateway", "symbol", "side", "account_id", "price", "quantity")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    gateway: str
    symbol: str
    side: _common_pb2.PositionSide
    account_id: str
    price: str
    quantity: str
    def __init__(self, client_order_id: _Optional[str] = ..., gateway: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.PositionSide, str]] = ..., account_id: _Optional[str] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class ClosePositionDifferenceResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class ResolveUncertainOrderRequest(_message.Message):
    __slots__ = ("order_id", "status", "reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    status: _common_pb2.OrderStatus
    reason: str
    def __init__(self, order_id: _Optional[str] = ..., status: _Optional[_Union[_common_pb2.OrderStatus, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ResolveUncertainOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _trading_pb2.Order
    def __init__(self, order: _Optional[_Union[_trading_pb2.Order, _Mapping]] = ...) -> None: ...

class ReconcileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReconcileResponse(_message.Message):
    __slots__ = ("unanswered_gateways",)
    UNANSWERED_GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    unanswered_gateways: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, unanswered_gateways: _Optional[_Iterable[str]] = ...) -> None: ...
