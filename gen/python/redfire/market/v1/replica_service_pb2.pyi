import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.market.v1 import market_pb2 as _market_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchBarsRequest(_message.Message):
    __slots__ = ("heartbeat_interval",)
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchBarsResponse(_message.Message):
    __slots__ = ("bars", "feed_state", "heartbeat")
    class FeedState(_message.Message):
        __slots__ = ("ended",)
        ENDED_FIELD_NUMBER: _ClassVar[int]
        ended: bool
        def __init__(self, ended: _Optional[bool] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    BARS_FIELD_NUMBER: _ClassVar[int]
    FEED_STATE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    bars: _containers.RepeatedCompositeFieldContainer[_market_pb2.Bar]
    feed_state: WatchBarsResponse.FeedState
    heartbeat: WatchBarsResponse.Heartbeat
    def __init__(self, bars: _Optional[_Iterable[_Union[_market_pb2.Bar, _Mapping]]] = ..., feed_state: _Optional[_Union[WatchBarsResponse.FeedState, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchBarsResponse.Heartbeat, _Mapping]] = ...) -> None: ...

class ReadUnarchivedTicksRequest(_message.Message):
    __slots__ = ("symbol", "start_ns", "end_ns", "after", "limit")
    class Place(_message.Message):
        __slots__ = ("time_ns", "sequence", "trading_day")
        TIME_NS_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
        time_ns: int
        sequence: int
        trading_day: int
        def __init__(self, time_ns: _Optional[int] = ..., sequence: _Optional[int] = ..., trading_day: _Optional[int] = ...) -> None: ...
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    start_ns: int
    end_ns: int
    after: ReadUnarchivedTicksRequest.Place
    limit: int
    def __init__(self, symbol: _Optional[str] = ..., start_ns: _Optional[int] = ..., end_ns: _Optional[int] = ..., after: _Optional[_Union[ReadUnarchivedTicksRequest.Place, _Mapping]] = ..., limit: _Optional[int] = ...) -> None: ...

class ReadUnarchivedTicksResponse(_message.Message):
    __slots__ = ("archived_until", "valid_from_ns", "runs")
    class Run(_message.Message):
        __slots__ = ("epoch", "trading_day", "first_ns", "last_ns", "ticks")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
        FIRST_NS_FIELD_NUMBER: _ClassVar[int]
        LAST_NS_FIELD_NUMBER: _ClassVar[int]
        TICKS_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        trading_day: int
        first_ns: int
        last_ns: int
        ticks: bytes
        def __init__(self, epoch: _Optional[int] = ..., trading_day: _Optional[int] = ..., first_ns: _Optional[int] = ..., last_ns: _Optional[int] = ..., ticks: _Optional[bytes] = ...) -> None: ...
    ARCHIVED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_NS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    archived_until: int
    valid_from_ns: int
    runs: _containers.RepeatedCompositeFieldContainer[ReadUnarchivedTicksResponse.Run]
    def __init__(self, archived_until: _Optional[int] = ..., valid_from_ns: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[ReadUnarchivedTicksResponse.Run, _Mapping]]] = ...) -> None: ...

class ReadUnarchivedBarsRequest(_message.Message):
    __slots__ = ("symbol", "interval", "start_ns", "end_ns")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: _common_pb2.Interval
    start_ns: int
    end_ns: int
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., start_ns: _Optional[int] = ..., end_ns: _Optional[int] = ...) -> None: ...

class ReadUnarchivedBarsResponse(_message.Message):
    __slots__ = ("archived_until", "valid_from_ns", "bars", "trading_days")
    ARCHIVED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_NS_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAYS_FIELD_NUMBER: _ClassVar[int]
    archived_until: int
    valid_from_ns: int
    bars: _containers.RepeatedCompositeFieldContainer[_market_pb2.Bar]
    trading_days: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, archived_until: _Optional[int] = ..., valid_from_ns: _Optional[int] = ..., bars: _Optional[_Iterable[_Union[_market_pb2.Bar, _Mapping]]] = ..., trading_days: _Optional[_Iterable[int]] = ...) -> None: ...

class ReadLogRequest(_message.Message):
    __slots__ = ("max_bytes",)
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_bytes: int
    def __init__(self, max_bytes: _Optional[int] = ...) -> None: ...

class ReadLogResponse(_message.Message):
    __slots__ = ("records",)
    class Record(_message.Message):
        __slots__ = ("position", "message")
        POSITION_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        position: int
        message: bytes
        def __init__(self, position: _Optional[int] = ..., message: _Optional[bytes] = ...) -> None: ...
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[ReadLogResponse.Record]
    def __init__(self, records: _Optional[_Iterable[_Union[ReadLogResponse.Record, _Mapping]]] = ...) -> None: ...

class UpdateStreamRequest(_message.Message):
    __slots__ = ("owner", "update", "starts_feed")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    STARTS_FEED_FIELD_NUMBER: _ClassVar[int]
    owner: str
    update: _market_pb2.UpdateSubscriptionRequest
    starts_feed: bool
    def __init__(self, owner: _Optional[str] = ..., update: _Optional[_Union[_market_pb2.UpdateSubscriptionRequest, _Mapping]] = ..., starts_feed: _Optional[bool] = ...) -> None: ...

class UpdateStreamResponse(_message.Message):
    __slots__ = ("symbols",)
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ...) -> None: ...
