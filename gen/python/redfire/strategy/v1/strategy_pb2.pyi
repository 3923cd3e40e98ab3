import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
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

class StrategyFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_FAMILY_UNSPECIFIED: _ClassVar[StrategyFamily]
    STRATEGY_FAMILY_NATIVE: _ClassVar[StrategyFamily]
    STRATEGY_FAMILY_VNPY_CTA: _ClassVar[StrategyFamily]

class StrategyStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_STATUS_UNSPECIFIED: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_CREATED: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_STARTING: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_RUNNING: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_STOPPING: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_STOPPED: _ClassVar[StrategyStatus]
    STRATEGY_STATUS_ERROR: _ClassVar[StrategyStatus]
STRATEGY_FAMILY_UNSPECIFIED: StrategyFamily
STRATEGY_FAMILY_NATIVE: StrategyFamily
STRATEGY_FAMILY_VNPY_CTA: StrategyFamily
STRATEGY_STATUS_UNSPECIFIED: StrategyStatus
STRATEGY_STATUS_CREATED: StrategyStatus
STRATEGY_STATUS_STARTING: StrategyStatus
STRATEGY_STATUS_RUNNING: StrategyStatus
STRATEGY_STATUS_STOPPING: StrategyStatus
STRATEGY_STATUS_STOPPED: StrategyStatus
STRATEGY_STATUS_ERROR: StrategyStatus

class StrategyParameter(_message.Message):
    __slots__ = ("name", "type", "default_value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    default_value: _struct_pb2.Value
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., default_value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class StrategyClass(_message.Message):
    __slots__ = ("name", "family", "doc", "error", "parameters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    family: StrategyFamily
    doc: str
    error: str
    parameters: _containers.RepeatedCompositeFieldContainer[StrategyParameter]
    def __init__(self, name: _Optional[str] = ..., family: _Optional[_Union[StrategyFamily, str]] = ..., doc: _Optional[str] = ..., error: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[StrategyParameter, _Mapping]]] = ...) -> None: ...

class Strategy(_message.Message):
    __slots__ = ("strategy_id", "display_name", "class_name", "symbol", "account_id", "parameters", "variables", "status", "position", "error", "create_time", "update_time")
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    display_name: str
    class_name: str
    symbol: str
    account_id: str
    parameters: _struct_pb2.Struct
    variables: _struct_pb2.Struct
    status: StrategyStatus
    position: str
    error: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, strategy_id: _Optional[str] = ..., display_name: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., account_id: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., status: _Optional[_Union[StrategyStatus, str]] = ..., position: _Optional[str] = ..., error: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StrategyLog(_message.Message):
    __slots__ = ("sequence", "level", "message", "create_time")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    level: str
    message: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., level: _Optional[str] = ..., message: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DailyPerformance(_message.Message):
    __slots__ = ("date", "net_pnl", "commission", "turnover", "trade_count")
    DATE_FIELD_NUMBER: _ClassVar[int]
    NET_PNL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    date: str
    net_pnl: str
    commission: str
    turnover: str
    trade_count: int
    def __init__(self, date: _Optional[str] = ..., net_pnl: _Optional[str] = ..., commission: _Optional[str] = ..., turnover: _Optional[str] = ..., trade_count: _Optional[int] = ...) -> None: ...

class Performance(_message.Message):
    __slots__ = ("total_return", "annual_return", "annual_volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown", "win_rate", "profit_factor", "turnover", "trade_count", "realized_pnl", "unrealized_pnl", "commission", "daily")
    TOTAL_RETURN_FIELD_NUMBER: _ClassVar[int]
    ANNUAL_RETURN_FIELD_NUMBER: _ClassVar[int]
    ANNUAL_VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    SHARPE_RATIO_FIELD_NUMBER: _ClassVar[int]
    SORTINO_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_DRAWDOWN_FIELD_NUMBER: _ClassVar[int]
    WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    PROFIT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    DAILY_FIELD_NUMBER: _ClassVar[int]
    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe_ratio: float
    sortino_ratio: float
    max_drawdown: float
    win_rate: float
    profit_factor: float
    turnover: str
    trade_count: int
    realized_pnl: str
    unrealized_pnl: str
    commission: str
    daily: _containers.RepeatedCompositeFieldContainer[DailyPerformance]
    def __init__(self, total_return: _Optional[float] = ..., annual_return: _Optional[float] = ..., annual_volatility: _Optional[float] = ..., sharpe_ratio: _Optional[float] = ..., sortino_ratio: _Optional[float] = ..., max_drawdown: _Optional[float] = ..., win_rate: _Optional[float] = ..., profit_factor: _Optional[float] = ..., turnover: _Optional[str] = ..., trade_count: _Optional[int] = ..., realized_pnl: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., commission: _Optional[str] = ..., daily: _Optional[_Iterable[_Union[DailyPerformance, _Mapping]]] = ...) -> None: ...

class ListStrategyClassesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStrategyClassesResponse(_message.Message):
    __slots__ = ("classes", "next_page_token")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[StrategyClass]
    next_page_token: str
    def __init__(self, classes: _Optional[_Iterable[_Union[StrategyClass, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateStrategyRequest(_message.Message):
    __slots__ = ("display_name", "class_name", "symbol", "account_id", "parameters", "request_id", "variables")
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    class_name: str
    symbol: str
    account_id: str
    parameters: _struct_pb2.Struct
    request_id: str
    variables: _struct_pb2.Struct
    def __init__(self, display_name: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., account_id: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., request_id: _Optional[str] = ..., variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class CreateStrategyResponse(_message.Message):
    __slots__ = ("strategy",)
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    def __init__(self, strategy: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...

class GetStrategyRequest(_message.Message):
    __slots__ = ("strategy_id",)
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...

class GetStrategyResponse(_message.Message):
    __slots__ = ("strategy",)
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    def __init__(self, strategy: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...

class ListStrategiesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "status", "class_name")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    status: StrategyStatus
    class_name: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., status: _Optional[_Union[StrategyStatus, str]] = ..., class_name: _Optional[str] = ...) -> None: ...

class ListStrategiesResponse(_message.Message):
    __slots__ = ("strategies", "next_page_token")
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    strategies: _containers.RepeatedCompositeFieldContainer[Strategy]
    next_page_token: str
    def __init__(self, strategies: _Optional[_Iterable[_Union[Strategy, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateStrategyRequest(_message.Message):
    __slots__ = ("strategy_id", "display_name", "parameters")
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    display_name: str
    parameters: _struct_pb2.Struct
    def __init__(self, strategy_id: _Optional[str] = ..., display_name: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class UpdateStrategyResponse(_message.Message):
    __slots__ = ("strategy",)
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    def __init__(self, strategy: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...

class DeleteStrategyRequest(_message.Message):
    __slots__ = ("strategy_id",)
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...

class DeleteStrategyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartStrategyRequest(_message.Message):
    __slots__ = ("strategy_id",)
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...

class StartStrategyResponse(_message.Message):
    __slots__ = ("strategy",)
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    def __init__(self, strategy: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...

class StopStrategyRequest(_message.Message):
    __slots__ = ("strategy_id",)
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...

class StopStrategyResponse(_message.Message):
    __slots__ = ("strategy",)
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    def __init__(self, strategy: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...

class GetPerformanceRequest(_message.Message):
    __slots__ = ("strategy_id",)
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    def __init__(self, strategy_id: _Optional[str] = ...) -> None: ...

class GetPerformanceResponse(_message.Message):
    __slots__ = ("performance",)
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    performance: Performance
    def __init__(self, performance: _Optional[_Union[Performance, _Mapping]] = ...) -> None: ...

class ListStrategyLogsRequest(_message.Message):
    __slots__ = ("strategy_id", "page_size", "page_token", "level")
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    page_size: int
    page_token: str
    level: str
    def __init__(self, strategy_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., level: _Optional[str] = ...) -> None: ...

class ListStrategyLogsResponse(_message.Message):
    __slots__ = ("logs", "next_page_token")
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[StrategyLog]
    next_page_token: str
    def __init__(self, logs: _Optional[_Iterable[_Union[StrategyLog, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StreamStrategyEventsRequest(_message.Message):
    __slots__ = ("strategy_id", "heartbeat_interval")
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    strategy_id: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, strategy_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamStrategyEventsResponse(_message.Message):
    __slots__ = ("sequence", "strategy", "log", "heartbeat", "end")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    strategy: Strategy
    log: StrategyLog
    heartbeat: _timestamp_pb2.Timestamp
    end: str
    def __init__(self, sequence: _Optional[int] = ..., strategy: _Optional[_Union[Strategy, _Mapping]] = ..., log: _Optional[_Union[StrategyLog, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[str] = ...) -> None: ...
