import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.common.v1 import error_reason_pb2 as _error_reason_pb2
from redfire.market.v1 import market_pb2 as _market_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATEWAY_STATUS_UNSPECIFIED: _ClassVar[GatewayStatus]
    GATEWAY_STATUS_DISCONNECTED: _ClassVar[GatewayStatus]
    GATEWAY_STATUS_CONNECTING: _ClassVar[GatewayStatus]
    GATEWAY_STATUS_CONNECTED: _ClassVar[GatewayStatus]
    GATEWAY_STATUS_ERROR: _ClassVar[GatewayStatus]

class TradeUpdateKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADE_UPDATE_KIND_UNSPECIFIED: _ClassVar[TradeUpdateKind]
    TRADE_UPDATE_KIND_NEW: _ClassVar[TradeUpdateKind]
    TRADE_UPDATE_KIND_BUST: _ClassVar[TradeUpdateKind]
    TRADE_UPDATE_KIND_CORRECTION: _ClassVar[TradeUpdateKind]
GATEWAY_STATUS_UNSPECIFIED: GatewayStatus
GATEWAY_STATUS_DISCONNECTED: GatewayStatus
GATEWAY_STATUS_CONNECTING: GatewayStatus
GATEWAY_STATUS_CONNECTED: GatewayStatus
GATEWAY_STATUS_ERROR: GatewayStatus
TRADE_UPDATE_KIND_UNSPECIFIED: TradeUpdateKind
TRADE_UPDATE_KIND_NEW: TradeUpdateKind
TRADE_UPDATE_KIND_BUST: TradeUpdateKind
TRADE_UPDATE_KIND_CORRECTION: TradeUpdateKind

class Gateway(_message.Message):
    __slots__ = ("gateway_name", "status", "last_error", "connect_time", "exchanges", "simulated", "time_in_forces", "keeps_order_ids", "recorded")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    CONNECT_TIME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGES_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCES_FIELD_NUMBER: _ClassVar[int]
    KEEPS_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    status: GatewayStatus
    last_error: str
    connect_time: _timestamp_pb2.Timestamp
    exchanges: _containers.RepeatedScalarFieldContainer[str]
    simulated: bool
    time_in_forces: _containers.RepeatedScalarFieldContainer[_common_pb2.TimeInForce]
    keeps_order_ids: bool
    recorded: bool
    def __init__(self, gateway_name: _Optional[str] = ..., status: _Optional[_Union[GatewayStatus, str]] = ..., last_error: _Optional[str] = ..., connect_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exchanges: _Optional[_Iterable[str]] = ..., simulated: _Optional[bool] = ..., time_in_forces: _Optional[_Iterable[_Union[_common_pb2.TimeInForce, str]]] = ..., keeps_order_ids: _Optional[bool] = ..., recorded: _Optional[bool] = ...) -> None: ...

class ListGatewaysRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGatewaysResponse(_message.Message):
    __slots__ = ("gateways", "next_page_token")
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gateways: _containers.RepeatedCompositeFieldContainer[Gateway]
    next_page_token: str
    def __init__(self, gateways: _Optional[_Iterable[_Union[Gateway, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ConnectGatewayRequest(_message.Message):
    __slots__ = ("gateway_name",)
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    def __init__(self, gateway_name: _Optional[str] = ...) -> None: ...

class ConnectGatewayResponse(_message.Message):
    __slots__ = ("gateway",)
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ...) -> None: ...

class DisconnectGatewayRequest(_message.Message):
    __slots__ = ("gateway_name",)
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    def __init__(self, gateway_name: _Optional[str] = ...) -> None: ...

class DisconnectGatewayResponse(_message.Message):
    __slots__ = ("gateway",)
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ...) -> None: ...

class ListContractsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListContractsResponse(_message.Message):
    __slots__ = ("instruments",)
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[_market_pb2.Instrument]
    def __init__(self, instruments: _Optional[_Iterable[_Union[_market_pb2.Instrument, _Mapping]]] = ...) -> None: ...

class SendOrderRequest(_message.Message):
    __slots__ = ("gateway_name", "order_id", "account_id", "symbol", "side", "type", "time_in_force", "position_effect", "quantity", "price", "expire_time", "traceparent", "post_only", "shard", "epoch")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_id: str
    account_id: str
    symbol: str
    side: _common_pb2.Side
    type: _common_pb2.OrderType
    time_in_force: _common_pb2.TimeInForce
    position_effect: _common_pb2.PositionEffect
    quantity: str
    price: str
    expire_time: _timestamp_pb2.Timestamp
    traceparent: str
    post_only: bool
    shard: int
    epoch: int
    def __init__(self, gateway_name: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., time_in_force: _Optional[_Union[_common_pb2.TimeInForce, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., traceparent: _Optional[str] = ..., post_only: _Optional[bool] = ..., shard: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class SendOrderResponse(_message.Message):
    __slots__ = ("venue_order_id",)
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    venue_order_id: str
    def __init__(self, venue_order_id: _Optional[str] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("gateway_name", "order_id", "venue_order_id", "symbol", "shard", "epoch")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_id: str
    venue_order_id: str
    symbol: str
    shard: int
    epoch: int
    def __init__(self, gateway_name: _Optional[str] = ..., order_id: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., symbol: _Optional[str] = ..., shard: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AmendOrderRequest(_message.Message):
    __slots__ = ("gateway_name", "order_id", "venue_order_id", "quantity", "price", "shard", "epoch")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_id: str
    venue_order_id: str
    quantity: str
    price: str
    shard: int
    epoch: int
    def __init__(self, gateway_name: _Optional[str] = ..., order_id: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., shard: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class AmendOrderResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("symbols", "subscriber")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    subscriber: str
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., subscriber: _Optional[str] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("unknown_symbols",)
    UNKNOWN_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    unknown_symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, unknown_symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class UnsubscribeRequest(_message.Message):
    __slots__ = ("symbols", "subscriber")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    subscriber: str
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., subscriber: _Optional[str] = ...) -> None: ...

class UnsubscribeResponse(_message.Message):
    __slots__ = ("subscribed_symbols",)
    SUBSCRIBED_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    subscribed_symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, subscribed_symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamTicksRequest(_message.Message):
    __slots__ = ("epoch", "position", "records", "acknowledges")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGES_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    position: int
    records: bool
    acknowledges: bool
    def __init__(self, epoch: _Optional[str] = ..., position: _Optional[int] = ..., records: _Optional[bool] = ..., acknowledges: _Optional[bool] = ...) -> None: ...

class AcknowledgeTicksRequest(_message.Message):
    __slots__ = ("reader_id", "position")
    READER_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    reader_id: str
    position: int
    def __init__(self, reader_id: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...

class AcknowledgeTicksResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamTicksResponse(_message.Message):
    __slots__ = ("ticks", "started", "heartbeat", "feed_ended")
    class Started(_message.Message):
        __slots__ = ("paced", "realtime", "on_demand", "epoch", "position", "first_sequence", "sequences", "reader_id")
        class SequencesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        PACED_FIELD_NUMBER: _ClassVar[int]
        REALTIME_FIELD_NUMBER: _ClassVar[int]
        ON_DEMAND_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        POSITION_FIELD_NUMBER: _ClassVar[int]
        FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        SEQUENCES_FIELD_NUMBER: _ClassVar[int]
        READER_ID_FIELD_NUMBER: _ClassVar[int]
        paced: bool
        realtime: bool
        on_demand: bool
        epoch: str
        position: int
        first_sequence: int
        sequences: _containers.ScalarMap[str, int]
        reader_id: str
        def __init__(self, paced: _Optional[bool] = ..., realtime: _Optional[bool] = ..., on_demand: _Optional[bool] = ..., epoch: _Optional[str] = ..., position: _Optional[int] = ..., first_sequence: _Optional[int] = ..., sequences: _Optional[_Mapping[str, int]] = ..., reader_id: _Optional[str] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ("time", "watermarks_ns")
        class WatermarksNsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        TIME_FIELD_NUMBER: _ClassVar[int]
        WATERMARKS_NS_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        watermarks_ns: _containers.ScalarMap[str, int]
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., watermarks_ns: _Optional[_Mapping[str, int]] = ...) -> None: ...
    class FeedEnded(_message.Message):
        __slots__ = ("position", "gateway_name")
        POSITION_FIELD_NUMBER: _ClassVar[int]
        GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
        position: int
        gateway_name: str
        def __init__(self, position: _Optional[int] = ..., gateway_name: _Optional[str] = ...) -> None: ...
    TICKS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    FEED_ENDED_FIELD_NUMBER: _ClassVar[int]
    ticks: _containers.RepeatedCompositeFieldContainer[_market_pb2.Tick]
    started: StreamTicksResponse.Started
    heartbeat: StreamTicksResponse.Heartbeat
    feed_ended: StreamTicksResponse.FeedEnded
    def __init__(self, ticks: _Optional[_Iterable[_Union[_market_pb2.Tick, _Mapping]]] = ..., started: _Optional[_Union[StreamTicksResponse.Started, _Mapping]] = ..., heartbeat: _Optional[_Union[StreamTicksResponse.Heartbeat, _Mapping]] = ..., feed_ended: _Optional[_Union[StreamTicksResponse.FeedEnded, _Mapping]] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("resume_after_sequence", "epoch")
    RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    resume_after_sequence: int
    epoch: str
    def __init__(self, resume_after_sequence: _Optional[int] = ..., epoch: _Optional[str] = ...) -> None: ...

class OrderUpdate(_message.Message):
    __slots__ = ("gateway_name", "order_id", "venue_order_id", "symbol", "side", "position_effect", "quantity", "price", "cumulative_quantity", "status", "reason", "message", "time", "amend_rejected", "type")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    AMEND_REJECTED_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_id: str
    venue_order_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    quantity: str
    price: str
    cumulative_quantity: str
    status: _common_pb2.OrderStatus
    reason: _error_reason_pb2.ErrorReason
    message: str
    time: _timestamp_pb2.Timestamp
    amend_rejected: bool
    type: _common_pb2.OrderType
    def __init__(self, gateway_name: _Optional[str] = ..., order_id: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., cumulative_quantity: _Optional[str] = ..., status: _Optional[_Union[_common_pb2.OrderStatus, str]] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., amend_rejected: _Optional[bool] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ...) -> None: ...

class TradeUpdate(_message.Message):
    __slots__ = ("gateway_name", "order_id", "venue_order_id", "venue_trade_id", "symbol", "side", "position_effect", "price", "quantity", "time", "trading_day", "kind")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_id: str
    venue_order_id: str
    venue_trade_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    price: str
    quantity: str
    time: _timestamp_pb2.Timestamp
    trading_day: int
    kind: TradeUpdateKind
    def __init__(self, gateway_name: _Optional[str] = ..., order_id: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., venue_trade_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trading_day: _Optional[int] = ..., kind: _Optional[_Union[TradeUpdateKind, str]] = ...) -> None: ...

class AccountUpdate(_message.Message):
    __slots__ = ("gateway_name", "venue_account_id", "currency", "balance", "available", "margin", "frozen", "time")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    VENUE_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    venue_account_id: str
    currency: str
    balance: str
    available: str
    margin: str
    frozen: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, gateway_name: _Optional[str] = ..., venue_account_id: _Optional[str] = ..., currency: _Optional[str] = ..., balance: _Optional[str] = ..., available: _Optional[str] = ..., margin: _Optional[str] = ..., frozen: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PositionUpdate(_message.Message):
    __slots__ = ("gateway_name", "symbol", "side", "quantity", "yesterday_quantity", "average_price")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    YESTERDAY_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    symbol: str
    side: _common_pb2.PositionSide
    quantity: str
    yesterday_quantity: str
    average_price: str
    def __init__(self, gateway_name: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.PositionSide, str]] = ..., quantity: _Optional[str] = ..., yesterday_quantity: _Optional[str] = ..., average_price: _Optional[str] = ...) -> None: ...

class TradingDayUpdate(_message.Message):
    __slots__ = ("gateway_name", "trading_day")
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    trading_day: int
    def __init__(self, gateway_name: _Optional[str] = ..., trading_day: _Optional[int] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("sequence", "started", "order", "trade", "position", "gateway", "trading_day", "heartbeat", "account")
    class Started(_message.Message):
        __slots__ = ("epoch", "resumed", "sequence", "heartbeat_interval")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        RESUMED_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
        epoch: str
        resumed: bool
        sequence: int
        heartbeat_interval: _duration_pb2.Duration
        def __init__(self, epoch: _Optional[str] = ..., resumed: _Optional[bool] = ..., sequence: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    started: StreamEventsResponse.Started
    order: OrderUpdate
    trade: TradeUpdate
    position: PositionUpdate
    gateway: Gateway
    trading_day: TradingDayUpdate
    heartbeat: _timestamp_pb2.Timestamp
    account: AccountUpdate
    def __init__(self, sequence: _Optional[int] = ..., started: _Optional[_Union[StreamEventsResponse.Started, _Mapping]] = ..., order: _Optional[_Union[OrderUpdate, _Mapping]] = ..., trade: _Optional[_Union[TradeUpdate, _Mapping]] = ..., position: _Optional[_Union[PositionUpdate, _Mapping]] = ..., gateway: _Optional[_Union[Gateway, _Mapping]] = ..., trading_day: _Optional[_Union[TradingDayUpdate, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., account: _Optional[_Union[AccountUpdate, _Mapping]] = ...) -> None: ...

class QueryStateRequest(_message.Message):
    __slots__ = ("gateway_name", "order_ids", "trades_cursor", "epochs", "give_up_order_ids")
    class EpochsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    TRADES_CURSOR_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    gateway_name: str
    order_ids: _containers.RepeatedScalarFieldContainer[str]
    trades_cursor: str
    epochs: _containers.ScalarMap[int, int]
    give_up_order_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, gateway_name: _Optional[str] = ..., order_ids: _Optional[_Iterable[str]] = ..., trades_cursor: _Optional[str] = ..., epochs: _Optional[_Mapping[int, int]] = ..., give_up_order_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class QueryStateResponse(_message.Message):
    __slots__ = ("sequence", "epoch", "orders", "trades", "positions", "trading_day", "complete", "next_trades_cursor", "more_trades", "uncertain_order_ids", "accounts", "refused_order_ids")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRADES_CURSOR_FIELD_NUMBER: _ClassVar[int]
    MORE_TRADES_FIELD_NUMBER: _ClassVar[int]
    UNCERTAIN_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    epoch: str
    orders: _containers.RepeatedCompositeFieldContainer[OrderUpdate]
    trades: _containers.RepeatedCompositeFieldContainer[TradeUpdate]
    positions: _containers.RepeatedCompositeFieldContainer[PositionUpdate]
    trading_day: int
    complete: bool
    next_trades_cursor: str
    more_trades: bool
    uncertain_order_ids: _containers.RepeatedScalarFieldContainer[str]
    accounts: _containers.RepeatedCompositeFieldContainer[AccountUpdate]
    refused_order_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sequence: _Optional[int] = ..., epoch: _Optional[str] = ..., orders: _Optional[_Iterable[_Union[OrderUpdate, _Mapping]]] = ..., trades: _Optional[_Iterable[_Union[TradeUpdate, _Mapping]]] = ..., positions: _Optional[_Iterable[_Union[PositionUpdate, _Mapping]]] = ..., trading_day: _Optional[int] = ..., complete: _Optional[bool] = ..., next_trades_cursor: _Optional[str] = ..., more_trades: _Optional[bool] = ..., uncertain_order_ids: _Optional[_Iterable[str]] = ..., accounts: _Optional[_Iterable[_Union[AccountUpdate, _Mapping]]] = ..., refused_order_ids: _Optional[_Iterable[str]] = ...) -> None: ...
