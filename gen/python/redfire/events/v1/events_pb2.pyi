import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("event_id", "routing_key", "create_time", "user_registered", "order_accepted", "order_filled", "order_finished", "strategy_failed", "stop_rearmed", "external_activity", "margin_call", "order_uncertain", "order_group_restated")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    USER_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ORDER_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FILLED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FINISHED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FAILED_FIELD_NUMBER: _ClassVar[int]
    STOP_REARMED_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_CALL_FIELD_NUMBER: _ClassVar[int]
    ORDER_UNCERTAIN_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_RESTATED_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    routing_key: str
    create_time: _timestamp_pb2.Timestamp
    user_registered: UserRegistered
    order_accepted: OrderAccepted
    order_filled: OrderFilled
    order_finished: OrderFinished
    strategy_failed: StrategyFailed
    stop_rearmed: StopRearmed
    external_activity: ExternalActivity
    margin_call: MarginCall
    order_uncertain: OrderUncertain
    order_group_restated: OrderGroupRestated
    def __init__(self, event_id: _Optional[str] = ..., routing_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_registered: _Optional[_Union[UserRegistered, _Mapping]] = ..., order_accepted: _Optional[_Union[OrderAccepted, _Mapping]] = ..., order_filled: _Optional[_Union[OrderFilled, _Mapping]] = ..., order_finished: _Optional[_Union[OrderFinished, _Mapping]] = ..., strategy_failed: _Optional[_Union[StrategyFailed, _Mapping]] = ..., stop_rearmed: _Optional[_Union[StopRearmed, _Mapping]] = ..., external_activity: _Optional[_Union[ExternalActivity, _Mapping]] = ..., margin_call: _Optional[_Union[MarginCall, _Mapping]] = ..., order_uncertain: _Optional[_Union[OrderUncertain, _Mapping]] = ..., order_group_restated: _Optional[_Union[OrderGroupRestated, _Mapping]] = ...) -> None: ...

class StopRearmed(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id", "symbol", "reason")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    symbol: str
    reason: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OrderGroupRestated(_message.Message):
    __slots__ = ("user_id", "order_group_id", "account_id", "symbol", "cause", "quantity", "unprotected_quantity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    UNPROTECTED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_group_id: str
    account_id: str
    symbol: str
    cause: str
    quantity: str
    unprotected_quantity: str
    def __init__(self, user_id: _Optional[str] = ..., order_group_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., cause: _Optional[str] = ..., quantity: _Optional[str] = ..., unprotected_quantity: _Optional[str] = ...) -> None: ...

class ExternalActivity(_message.Message):
    __slots__ = ("gateway", "kind", "symbol", "venue_id", "quantity")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    VENUE_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    kind: str
    symbol: str
    venue_id: str
    quantity: str
    def __init__(self, gateway: _Optional[str] = ..., kind: _Optional[str] = ..., symbol: _Optional[str] = ..., venue_id: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class MarginCall(_message.Message):
    __slots__ = ("user_id", "account_id", "begins", "equity", "margin")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    begins: bool
    equity: str
    margin: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., begins: _Optional[bool] = ..., equity: _Optional[str] = ..., margin: _Optional[str] = ...) -> None: ...

class OrderUncertain(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class UserRegistered(_message.Message):
    __slots__ = ("user_id", "username", "email")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    username: str
    email: str
    def __init__(self, user_id: _Optional[str] = ..., username: _Optional[str] = ..., email: _Optional[str] = ...) -> None: ...

class OrderAccepted(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id", "symbol")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    symbol: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class OrderFilled(_message.Message):
    __slots__ = ("user_id", "order_id", "trade_id", "price", "quantity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    trade_id: str
    price: str
    quantity: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., trade_id: _Optional[str] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class OrderFinished(_message.Message):
    __slots__ = ("user_id", "order_id", "status")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    status: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class StrategyFailed(_message.Message):
    __slots__ = ("user_id", "strategy_id", "error")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    error: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
