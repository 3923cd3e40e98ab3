import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from redfire.strategy.v1 import backtest_pb2 as _backtest_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateBacktestRequest(_message.Message):
    __slots__ = ("class_name", "symbol", "interval", "ticks", "start_time", "end_time", "parameters", "capital", "commission_rate", "slippage", "contract_size", "price_tick", "dataset", "fill_model", "display_name", "request_id", "check_lookahead")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICK_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FILL_MODEL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHECK_LOOKAHEAD_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    symbol: str
    interval: _common_pb2.Interval
    ticks: bool
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    parameters: _struct_pb2.Struct
    capital: str
    commission_rate: str
    slippage: str
    contract_size: str
    price_tick: str
    dataset: str
    fill_model: _backtest_pb2.FillModel
    display_name: str
    request_id: str
    check_lookahead: bool
    def __init__(self, class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., ticks: _Optional[bool] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., capital: _Optional[str] = ..., commission_rate: _Optional[str] = ..., slippage: _Optional[str] = ..., contract_size: _Optional[str] = ..., price_tick: _Optional[str] = ..., dataset: _Optional[str] = ..., fill_model: _Optional[_Union[_backtest_pb2.FillModel, str]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ..., check_lookahead: _Optional[bool] = ...) -> None: ...

class CreateBacktestResponse(_message.Message):
    __slots__ = ("backtest",)
    BACKTEST_FIELD_NUMBER: _ClassVar[int]
    backtest: _backtest_pb2.Backtest
    def __init__(self, backtest: _Optional[_Union[_backtest_pb2.Backtest, _Mapping]] = ...) -> None: ...

class GetBacktestRequest(_message.Message):
    __slots__ = ("backtest_id",)
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    def __init__(self, backtest_id: _Optional[str] = ...) -> None: ...

class GetBacktestResponse(_message.Message):
    __slots__ = ("backtest",)
    BACKTEST_FIELD_NUMBER: _ClassVar[int]
    backtest: _backtest_pb2.Backtest
    def __init__(self, backtest: _Optional[_Union[_backtest_pb2.Backtest, _Mapping]] = ...) -> None: ...

class ListBacktestsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "status", "class_name", "symbol", "order")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    status: _backtest_pb2.JobStatus
    class_name: str
    symbol: str
    order: _backtest_pb2.BacktestOrder
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., status: _Optional[_Union[_backtest_pb2.JobStatus, str]] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., order: _Optional[_Union[_backtest_pb2.BacktestOrder, str]] = ...) -> None: ...

class ListBacktestsResponse(_message.Message):
    __slots__ = ("backtests", "next_page_token")
    BACKTESTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backtests: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.Backtest]
    next_page_token: str
    def __init__(self, backtests: _Optional[_Iterable[_Union[_backtest_pb2.Backtest, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteBacktestRequest(_message.Message):
    __slots__ = ("backtest_id",)
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    def __init__(self, backtest_id: _Optional[str] = ...) -> None: ...

class DeleteBacktestResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelBacktestRequest(_message.Message):
    __slots__ = ("backtest_id",)
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    def __init__(self, backtest_id: _Optional[str] = ...) -> None: ...

class CancelBacktestResponse(_message.Message):
    __slots__ = ("backtest",)
    BACKTEST_FIELD_NUMBER: _ClassVar[int]
    backtest: _backtest_pb2.Backtest
    def __init__(self, backtest: _Optional[_Union[_backtest_pb2.Backtest, _Mapping]] = ...) -> None: ...

class WatchBacktestRequest(_message.Message):
    __slots__ = ("backtest_id", "heartbeat_interval")
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, backtest_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchBacktestResponse(_message.Message):
    __slots__ = ("backtest", "progress", "heartbeat", "end")
    BACKTEST_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    backtest: _backtest_pb2.Backtest
    progress: _backtest_pb2.JobProgress
    heartbeat: _timestamp_pb2.Timestamp
    end: str
    def __init__(self, backtest: _Optional[_Union[_backtest_pb2.Backtest, _Mapping]] = ..., progress: _Optional[_Union[_backtest_pb2.JobProgress, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[str] = ...) -> None: ...

class ListBacktestTradesRequest(_message.Message):
    __slots__ = ("backtest_id", "page_size", "page_token")
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    page_size: int
    page_token: str
    def __init__(self, backtest_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBacktestTradesResponse(_message.Message):
    __slots__ = ("trades", "next_page_token")
    TRADES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    trades: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.BacktestTrade]
    next_page_token: str
    def __init__(self, trades: _Optional[_Iterable[_Union[_backtest_pb2.BacktestTrade, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListBacktestDaysRequest(_message.Message):
    __slots__ = ("backtest_id", "page_size", "page_token")
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    page_size: int
    page_token: str
    def __init__(self, backtest_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBacktestDaysResponse(_message.Message):
    __slots__ = ("days", "next_page_token")
    DAYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.BacktestDay]
    next_page_token: str
    def __init__(self, days: _Optional[_Iterable[_Union[_backtest_pb2.BacktestDay, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetBacktestReportRequest(_message.Message):
    __slots__ = ("backtest_id", "lang")
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    lang: str
    def __init__(self, backtest_id: _Optional[str] = ..., lang: _Optional[str] = ...) -> None: ...

class GetBacktestReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: _httpbody_pb2.HttpBody
    def __init__(self, report: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ...) -> None: ...

class CreateOptimizationRequest(_message.Message):
    __slots__ = ("class_name", "symbol", "interval", "ticks", "start_time", "end_time", "parameters", "capital", "commission_rate", "slippage", "contract_size", "price_tick", "dataset", "fill_model", "display_name", "request_id", "ranges", "target", "method")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICK_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FILL_MODEL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    symbol: str
    interval: _common_pb2.Interval
    ticks: bool
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    parameters: _struct_pb2.Struct
    capital: str
    commission_rate: str
    slippage: str
    contract_size: str
    price_tick: str
    dataset: str
    fill_model: _backtest_pb2.FillModel
    display_name: str
    request_id: str
    ranges: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.ParameterRange]
    target: str
    method: _backtest_pb2.OptimizationMethod
    def __init__(self, class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., ticks: _Optional[bool] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., capital: _Optional[str] = ..., commission_rate: _Optional[str] = ..., slippage: _Optional[str] = ..., contract_size: _Optional[str] = ..., price_tick: _Optional[str] = ..., dataset: _Optional[str] = ..., fill_model: _Optional[_Union[_backtest_pb2.FillModel, str]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[_backtest_pb2.ParameterRange, _Mapping]]] = ..., target: _Optional[str] = ..., method: _Optional[_Union[_backtest_pb2.OptimizationMethod, str]] = ...) -> None: ...

class CreateOptimizationResponse(_message.Message):
    __slots__ = ("optimization",)
    OPTIMIZATION_FIELD_NUMBER: _ClassVar[int]
    optimization: _backtest_pb2.Optimization
    def __init__(self, optimization: _Optional[_Union[_backtest_pb2.Optimization, _Mapping]] = ...) -> None: ...

class GetOptimizationRequest(_message.Message):
    __slots__ = ("optimization_id",)
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    def __init__(self, optimization_id: _Optional[str] = ...) -> None: ...

class GetOptimizationResponse(_message.Message):
    __slots__ = ("optimization",)
    OPTIMIZATION_FIELD_NUMBER: _ClassVar[int]
    optimization: _backtest_pb2.Optimization
    def __init__(self, optimization: _Optional[_Union[_backtest_pb2.Optimization, _Mapping]] = ...) -> None: ...

class ListOptimizationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "status", "class_name", "symbol")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    status: _backtest_pb2.JobStatus
    class_name: str
    symbol: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., status: _Optional[_Union[_backtest_pb2.JobStatus, str]] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class ListOptimizationsResponse(_message.Message):
    __slots__ = ("optimizations", "next_page_token")
    OPTIMIZATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    optimizations: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.Optimization]
    next_page_token: str
    def __init__(self, optimizations: _Optional[_Iterable[_Union[_backtest_pb2.Optimization, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteOptimizationRequest(_message.Message):
    __slots__ = ("optimization_id",)
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    def __init__(self, optimization_id: _Optional[str] = ...) -> None: ...

class DeleteOptimizationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelOptimizationRequest(_message.Message):
    __slots__ = ("optimization_id",)
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    def __init__(self, optimization_id: _Optional[str] = ...) -> None: ...

class CancelOptimizationResponse(_message.Message):
    __slots__ = ("optimization",)
    OPTIMIZATION_FIELD_NUMBER: _ClassVar[int]
    optimization: _backtest_pb2.Optimization
    def __init__(self, optimization: _Optional[_Union[_backtest_pb2.Optimization, _Mapping]] = ...) -> None: ...

class WatchOptimizationRequest(_message.Message):
    __slots__ = ("optimization_id", "heartbeat_interval")
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, optimization_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchOptimizationResponse(_message.Message):
    __slots__ = ("optimization", "progress", "heartbeat", "end")
    OPTIMIZATION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    optimization: _backtest_pb2.Optimization
    progress: _backtest_pb2.JobProgress
    heartbeat: _timestamp_pb2.Timestamp
    end: str
    def __init__(self, optimization: _Optional[_Union[_backtest_pb2.Optimization, _Mapping]] = ..., progress: _Optional[_Union[_backtest_pb2.JobProgress, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[str] = ...) -> None: ...

class ListOptimizationPointsRequest(_message.Message):
    __slots__ = ("optimization_id", "page_size", "page_token")
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    page_size: int
    page_token: str
    def __init__(self, optimization_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOptimizationPointsResponse(_message.Message):
    __slots__ = ("points", "next_page_token")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[_backtest_pb2.OptimizationPoint]
    next_page_token: str
    def __init__(self, points: _Optional[_Iterable[_Union[_backtest_pb2.OptimizationPoint, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetOptimizationReportRequest(_message.Message):
    __slots__ = ("optimization_id", "lang")
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    lang: str
    def __init__(self, optimization_id: _Optional[str] = ..., lang: _Optional[str] = ...) -> None: ...

class GetOptimizationReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: _httpbody_pb2.HttpBody
    def __init__(self, report: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ...) -> None: ...
