import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.strategy.v1 import strategy_pb2 as _strategy_pb2
from redfire.trading.v1 import trading_pb2 as _trading_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchAssignmentsRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class WatchAssignmentsResponse(_message.Message):
    __slots__ = ("start", "stop", "token", "heartbeat", "worker_token")
    class Start(_message.Message):
        __slots__ = ("strategy", "access_token", "resume", "orders")
        STRATEGY_FIELD_NUMBER: _ClassVar[int]
        ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
        RESUME_FIELD_NUMBER: _ClassVar[int]
        ORDERS_FIELD_NUMBER: _ClassVar[int]
        strategy: _strategy_pb2.Strategy
        access_token: str
        resume: bool
        orders: _containers.RepeatedCompositeFieldContainer[_trading_pb2.Order]
        def __init__(self, strategy: _Optional[_Union[_strategy_pb2.Strategy, _Mapping]] = ..., access_token: _Optional[str] = ..., resume: _Optional[bool] = ..., orders: _Optional[_Iterable[_Union[_trading_pb2.Order, _Mapping]]] = ...) -> None: ...
    class Stop(_message.Message):
        __slots__ = ("strategy_id",)
        STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
        strategy_id: str
        def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...
    class Token(_message.Message):
        __slots__ = ("strategy_id", "access_token")
        STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
        ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
        strategy_id: str
        access_token: str
        def __init__(self, strategy_id: _Optional[str] = ..., access_token: _Optional[str] = ...) -> None: ...
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WORKER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    start: WatchAssignmentsResponse.Start
    stop: WatchAssignmentsResponse.Stop
    token: WatchAssignmentsResponse.Token
    heartbeat: _timestamp_pb2.Timestamp
    worker_token: str
    def __init__(self, start: _Optional[_Union[WatchAssignmentsResponse.Start, _Mapping]] = ..., stop: _Optional[_Union[WatchAssignmentsResponse.Stop, _Mapping]] = ..., token: _Optional[_Union[WatchAssignmentsResponse.Token, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., worker_token: _Optional[str] = ...) -> None: ...

class ReportStrategiesRequest(_message.Message):
    __slots__ = ("worker_id", "reports")
    class Report(_message.Message):
        __slots__ = ("strategy_id", "status", "variables", "position", "error", "logs")
        STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
        STATUS_FIELD_NUMBER: _ClassVar[int]
        VARIABLES_FIELD_NUMBER: _ClassVar[int]
        POSITION_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        LOGS_FIELD_NUMBER: _ClassVar[int]
        strategy_id: str
        status: _strategy_pb2.StrategyStatus
        variables: _struct_pb2.Struct
        position: str
        error: str
        logs: _containers.RepeatedCompositeFieldContainer[_strategy_pb2.StrategyLog]
        def __init__(self, strategy_id: _Optional[str] = ..., status: _Optional[_Union[_strategy_pb2.StrategyStatus, str]] = ..., variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., position: _Optional[str] = ..., error: _Optional[str] = ..., logs: _Optional[_Iterable[_Union[_strategy_pb2.StrategyLog, _Mapping]]] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    reports: _containers.RepeatedCompositeFieldContainer[ReportStrategiesRequest.Report]
    def __init__(self, worker_id: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[ReportStrategiesRequest.Report, _Mapping]]] = ...) -> None: ...

class ReportStrategiesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReportClassesRequest(_message.Message):
    __slots__ = ("worker_id", "classes")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    classes: _containers.RepeatedCompositeFieldContainer[_strategy_pb2.StrategyClass]
    def __init__(self, worker_id: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[_strategy_pb2.StrategyClass, _Mapping]]] = ...) -> None: ...

class ReportClassesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
