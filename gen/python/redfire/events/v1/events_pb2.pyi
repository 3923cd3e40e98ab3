import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("event_id", "routing_key", "create_time", "user_registered", "order_accepted", "order_filled", "order_finished", "strategy_failed")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    USER_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ORDER_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FILLED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FINISHED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FAILED_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    routing_key: str
    create_time: _timestamp_pb2.Timestamp
    user_registered: UserRegistered
    order_accepted: OrderAccepted
    order_filled: OrderFilled
    order_finished: OrderFinished
    strategy_failed: StrategyFailed
    def __init__(self, event_id: _Optional[str] = ..., routing_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_registered: _Optional[_Union[UserRegistered, _Mapping]] = ..., order_accepted: _Optional[_Union[OrderAccepted, _Mapping]] = ..., order_filled: _Optional[_Union[OrderFilled, _Mapping]] = ..., order_finished: _Optional[_Union[OrderFinished, _Mapping]] = ..., strategy_failed: _Optional[_Union[StrategyFailed, _Mapping]] = ...) -> None: ...

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
