import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.common.v1 import error_reason_pb2 as _error_reason_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SelfTradePrevention(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SELF_TRADE_PREVENTION_UNSPECIFIED: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_RESTING: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_NEW: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_OFF: _ClassVar[SelfTradePrevention]
SELF_TRADE_PREVENTION_UNSPECIFIED: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_RESTING: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_NEW: SelfTradePrevention
SELF_TRADE_PREVENTION_OFF: SelfTradePrevention

class RiskLimits(_message.Message):
    __slots__ = ("max_order_quantity", "max_order_notional", "max_position_quantity", "max_gross_notional", "max_open_orders", "max_orders_per_second", "max_daily_loss", "price_collar_ratio", "max_orders_per_day", "max_cancels_per_day", "max_cancel_ratio", "duplicate_window", "self_trade_prevention")
    MAX_ORDER_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MAX_ORDER_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    MAX_POSITION_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    MAX_GROSS_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    MAX_ORDERS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_DAILY_LOSS_FIELD_NUMBER: _ClassVar[int]
    PRICE_COLLAR_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_ORDERS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    MAX_CANCELS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    MAX_CANCEL_RATIO_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    max_order_quantity: str
    max_order_notional: str
    max_position_quantity: str
    max_gross_notional: str
    max_open_orders: int
    max_orders_per_second: int
    max_daily_loss: str
    price_collar_ratio: str
    max_orders_per_day: int
    max_cancels_per_day: int
    max_cancel_ratio: str
    duplicate_window: _duration_pb2.Duration
    self_trade_prevention: SelfTradePrevention
    def __init__(self, max_order_quantity: _Optional[str] = ..., max_order_notional: _Optional[str] = ..., max_position_quantity: _Optional[str] = ..., max_gross_notional: _Optional[str] = ..., max_open_orders: _Optional[int] = ..., max_orders_per_second: _Optional[int] = ..., max_daily_loss: _Optional[str] = ..., price_collar_ratio: _Optional[str] = ..., max_orders_per_day: _Optional[int] = ..., max_cancels_per_day: _Optional[int] = ..., max_cancel_ratio: _Optional[str] = ..., duplicate_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., self_trade_prevention: _Optional[_Union[SelfTradePrevention, str]] = ...) -> None: ...

class ReferencePrice(_message.Message):
    __slots__ = ("price", "time", "age", "gateway_name", "unconfirmed")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMED_FIELD_NUMBER: _ClassVar[int]
    price: str
    time: _timestamp_pb2.Timestamp
    age: _duration_pb2.Duration
    gateway_name: str
    unconfirmed: _duration_pb2.Duration
    def __init__(self, price: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., gateway_name: _Optional[str] = ..., unconfirmed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SymbolExposure(_message.Message):
    __slots__ = ("symbol", "long_quantity", "short_quantity", "pending_buy_quantity", "pending_sell_quantity", "net_notional", "gross_notional", "unrealized_pnl", "last_price")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    LONG_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SHORT_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PENDING_BUY_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PENDING_SELL_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    NET_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    GROSS_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    long_quantity: str
    short_quantity: str
    pending_buy_quantity: str
    pending_sell_quantity: str
    net_notional: str
    gross_notional: str
    unrealized_pnl: str
    last_price: ReferencePrice
    def __init__(self, symbol: _Optional[str] = ..., long_quantity: _Optional[str] = ..., short_quantity: _Optional[str] = ..., pending_buy_quantity: _Optional[str] = ..., pending_sell_quantity: _Optional[str] = ..., net_notional: _Optional[str] = ..., gross_notional: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., last_price: _Optional[_Union[ReferencePrice, _Mapping]] = ...) -> None: ...

class Exposure(_message.Message):
    __slots__ = ("account_id", "gross_notional", "net_notional", "open_orders", "unrealized_pnl", "daily_pnl", "symbols", "update_time")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    GROSS_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    NET_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    DAILY_PNL_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    gross_notional: str
    net_notional: str
    open_orders: int
    unrealized_pnl: str
    daily_pnl: str
    symbols: _containers.RepeatedCompositeFieldContainer[SymbolExposure]
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., gross_notional: _Optional[str] = ..., net_notional: _Optional[str] = ..., open_orders: _Optional[int] = ..., unrealized_pnl: _Optional[str] = ..., daily_pnl: _Optional[str] = ..., symbols: _Optional[_Iterable[_Union[SymbolExposure, _Mapping]]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RiskEvent(_message.Message):
    __slots__ = ("event_id", "account_id", "reason", "message", "metadata", "create_time")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    account_id: str
    reason: _error_reason_pb2.ErrorReason
    message: str
    metadata: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., account_id: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CheckOrderRequest(_message.Message):
    __slots__ = ("user_id", "account_id", "order_id", "symbol", "side", "position_effect", "type", "quantity", "price", "reference_price", "contract_size", "dry_run", "replaces", "stop_price", "gateway", "triggered")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    order_id: str
    symbol: str
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    type: _common_pb2.OrderType
    quantity: str
    price: str
    reference_price: str
    contract_size: str
    dry_run: bool
    replaces: bool
    stop_price: str
    gateway: str
    triggered: bool
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., order_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., type: _Optional[_Union[_common_pb2.OrderType, str]] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., reference_price: _Optional[str] = ..., contract_size: _Optional[str] = ..., dry_run: _Optional[bool] = ..., replaces: _Optional[bool] = ..., stop_price: _Optional[str] = ..., gateway: _Optional[str] = ..., triggered: _Optional[bool] = ...) -> None: ...

class CheckCancelRequest(_message.Message):
    __slots__ = ("user_id", "account_id", "symbol", "order_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    symbol: str
    order_id: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class ReleaseOrdersRequest(_message.Message):
    __slots__ = ("account_id", "order_ids")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    order_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, account_id: _Optional[str] = ..., order_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseOrdersResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckCancelResponse(_message.Message):
    __slots__ = ("violations",)
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[RiskViolation]
    def __init__(self, violations: _Optional[_Iterable[_Union[RiskViolation, _Mapping]]] = ...) -> None: ...

class RiskViolation(_message.Message):
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

class CheckOrderResponse(_message.Message):
    __slots__ = ("violations", "max_quantity", "cancel_first_order_ids", "last_price")
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIRST_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[RiskViolation]
    max_quantity: str
    cancel_first_order_ids: _containers.RepeatedScalarFieldContainer[str]
    last_price: ReferencePrice
    def __init__(self, violations: _Optional[_Iterable[_Union[RiskViolation, _Mapping]]] = ..., max_quantity: _Optional[str] = ..., cancel_first_order_ids: _Optional[_Iterable[str]] = ..., last_price: _Optional[_Union[ReferencePrice, _Mapping]] = ...) -> None: ...

class GetLimitsRequest(_message.Message):
    __slots__ = ("account_id", "user_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    user_id: str
    def __init__(self, account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class GetLimitsResponse(_message.Message):
    __slots__ = ("limits", "account_id", "user_id")
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    limits: RiskLimits
    account_id: str
    user_id: str
    def __init__(self, limits: _Optional[_Union[RiskLimits, _Mapping]] = ..., account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class UpdateLimitsRequest(_message.Message):
    __slots__ = ("account_id", "limits", "user_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    limits: RiskLimits
    user_id: str
    def __init__(self, account_id: _Optional[str] = ..., limits: _Optional[_Union[RiskLimits, _Mapping]] = ..., user_id: _Optional[str] = ...) -> None: ...

class UpdateLimitsResponse(_message.Message):
    __slots__ = ("limits", "account_id", "user_id")
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    limits: RiskLimits
    account_id: str
    user_id: str
    def __init__(self, limits: _Optional[_Union[RiskLimits, _Mapping]] = ..., account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class GetExposureRequest(_message.Message):
    __slots__ = ("account_id",)
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    def __init__(self, account_id: _Optional[str] = ...) -> None: ...

class GetExposureResponse(_message.Message):
    __slots__ = ("exposure",)
    EXPOSURE_FIELD_NUMBER: _ClassVar[int]
    exposure: Exposure
    def __init__(self, exposure: _Optional[_Union[Exposure, _Mapping]] = ...) -> None: ...

class GetTradingStateRequest(_message.Message):
    __slots__ = ("account_id", "user_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    user_id: str
    def __init__(self, account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class GetTradingStateResponse(_message.Message):
    __slots__ = ("state", "reason", "global_state", "account_state", "account_id", "user_id")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_STATE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_STATE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.TradingState
    reason: str
    global_state: _common_pb2.TradingState
    account_state: _common_pb2.TradingState
    account_id: str
    user_id: str
    def __init__(self, state: _Optional[_Union[_common_pb2.TradingState, str]] = ..., reason: _Optional[str] = ..., global_state: _Optional[_Union[_common_pb2.TradingState, str]] = ..., account_state: _Optional[_Union[_common_pb2.TradingState, str]] = ..., account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class SetTradingStateRequest(_message.Message):
    __slots__ = ("state", "reason", "account_id", "user_id")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.TradingState
    reason: str
    account_id: str
    user_id: str
    def __init__(self, state: _Optional[_Union[_common_pb2.TradingState, str]] = ..., reason: _Optional[str] = ..., account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class SetTradingStateResponse(_message.Message):
    __slots__ = ("state", "account_id", "user_id")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.TradingState
    account_id: str
    user_id: str
    def __init__(self, state: _Optional[_Union[_common_pb2.TradingState, str]] = ..., account_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class ListRiskEventsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "account_id", "start_time", "end_time")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    account_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., account_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListRiskEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[RiskEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[RiskEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StreamRiskEventsRequest(_message.Message):
    __slots__ = ("account_id", "heartbeat_interval")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, account_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamRiskEventsResponse(_message.Message):
    __slots__ = ("event", "heartbeat", "end")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    event: RiskEvent
    heartbeat: _timestamp_pb2.Timestamp
    end: str
    def __init__(self, event: _Optional[_Union[RiskEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[str] = ...) -> None: ...
