import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_KIND_UNSPECIFIED: _ClassVar[SessionKind]
    SESSION_KIND_AUCTION: _ClassVar[SessionKind]
    SESSION_KIND_CONTINUOUS: _ClassVar[SessionKind]

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_AUCTION: _ClassVar[SessionState]
    SESSION_STATE_OPEN: _ClassVar[SessionState]
    SESSION_STATE_BREAK: _ClassVar[SessionState]
    SESSION_STATE_CLOSED: _ClassVar[SessionState]
SESSION_KIND_UNSPECIFIED: SessionKind
SESSION_KIND_AUCTION: SessionKind
SESSION_KIND_CONTINUOUS: SessionKind
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_AUCTION: SessionState
SESSION_STATE_OPEN: SessionState
SESSION_STATE_BREAK: SessionState
SESSION_STATE_CLOSED: SessionState

class SessionSpan(_message.Message):
    __slots__ = ("start_time", "end_time", "kind")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    kind: SessionKind
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[SessionKind, str]] = ...) -> None: ...

class TradingDay(_message.Message):
    __slots__ = ("trading_day", "sessions", "provisional")
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    trading_day: int
    sessions: _containers.RepeatedCompositeFieldContainer[SessionSpan]
    provisional: bool
    def __init__(self, trading_day: _Optional[int] = ..., sessions: _Optional[_Iterable[_Union[SessionSpan, _Mapping]]] = ..., provisional: _Optional[bool] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("symbol", "state", "trading_day", "next_state", "next_change_time")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    NEXT_STATE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    state: SessionState
    trading_day: int
    next_state: SessionState
    next_change_time: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., state: _Optional[_Union[SessionState, str]] = ..., trading_day: _Optional[int] = ..., next_state: _Optional[_Union[SessionState, str]] = ..., next_change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListTradingDaysRequest(_message.Message):
    __slots__ = ("exchange", "start_date", "end_date", "product", "symbol", "page_size", "page_token")
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    START_DATE_FIELD_NUMBER: _ClassVar[int]
    END_DATE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    exchange: str
    start_date: str
    end_date: str
    product: str
    symbol: str
    page_size: int
    page_token: str
    def __init__(self, exchange: _Optional[str] = ..., start_date: _Optional[str] = ..., end_date: _Optional[str] = ..., product: _Optional[str] = ..., symbol: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTradingDaysResponse(_message.Message):
    __slots__ = ("days", "next_page_token")
    DAYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedCompositeFieldContainer[TradingDay]
    next_page_token: str
    def __init__(self, days: _Optional[_Iterable[_Union[TradingDay, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class StreamSessionsRequest(_message.Message):
    __slots__ = ("symbols", "heartbeat_interval")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamSessionsResponse(_message.Message):
    __slots__ = ("session", "heartbeat", "end")
    class Heartbeat(_message.Message):
        __slots__ = ("time",)
        TIME_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class End(_message.Message):
        __slots__ = ("reason",)
        REASON_FIELD_NUMBER: _ClassVar[int]
        reason: str
        def __init__(self, reason: _Optional[str] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    session: Session
    heartbeat: StreamSessionsResponse.Heartbeat
    end: StreamSessionsResponse.End
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ..., heartbeat: _Optional[_Union[StreamSessionsResponse.Heartbeat, _Mapping]] = ..., end: _Optional[_Union[StreamSessionsResponse.End, _Mapping]] = ...) -> None: ...
