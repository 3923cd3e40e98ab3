import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATUS_UNSPECIFIED: _ClassVar[JobStatus]
    JOB_STATUS_QUEUED: _ClassVar[JobStatus]
    JOB_STATUS_RUNNING: _ClassVar[JobStatus]
    JOB_STATUS_FINISHED: _ClassVar[JobStatus]
    JOB_STATUS_FAILED: _ClassVar[JobStatus]
    JOB_STATUS_CANCELED: _ClassVar[JobStatus]

class JobFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_FAILURE_UNSPECIFIED: _ClassVar[JobFailure]
    JOB_FAILURE_STRATEGY_RAISED: _ClassVar[JobFailure]
    JOB_FAILURE_EXITED: _ClassVar[JobFailure]
    JOB_FAILURE_TIMED_OUT: _ClassVar[JobFailure]
    JOB_FAILURE_OUT_OF_MEMORY: _ClassVar[JobFailure]
    JOB_FAILURE_INVALID: _ClassVar[JobFailure]
    JOB_FAILURE_BAD_RESULT: _ClassVar[JobFailure]
    JOB_FAILURE_INTERRUPTED: _ClassVar[JobFailure]
    JOB_FAILURE_INTERNAL: _ClassVar[JobFailure]

class FillModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILL_MODEL_UNSPECIFIED: _ClassVar[FillModel]
    FILL_MODEL_VNPY: _ClassVar[FillModel]
    FILL_MODEL_SIM: _ClassVar[FillModel]

class BacktestOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BACKTEST_ORDER_UNSPECIFIED: _ClassVar[BacktestOrder]
    BACKTEST_ORDER_NEWEST: _ClassVar[BacktestOrder]
    BACKTEST_ORDER_OLDEST: _ClassVar[BacktestOrder]
    BACKTEST_ORDER_SHARPE_RATIO: _ClassVar[BacktestOrder]
    BACKTEST_ORDER_TOTAL_RETURN: _ClassVar[BacktestOrder]

class OptimizationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZATION_METHOD_UNSPECIFIED: _ClassVar[OptimizationMethod]
    OPTIMIZATION_METHOD_GRID: _ClassVar[OptimizationMethod]
    OPTIMIZATION_METHOD_GENETIC: _ClassVar[OptimizationMethod]
JOB_STATUS_UNSPECIFIED: JobStatus
JOB_STATUS_QUEUED: JobStatus
JOB_STATUS_RUNNING: JobStatus
JOB_STATUS_FINISHED: JobStatus
JOB_STATUS_FAILED: JobStatus
JOB_STATUS_CANCELED: JobStatus
JOB_FAILURE_UNSPECIFIED: JobFailure
JOB_FAILURE_STRATEGY_RAISED: JobFailure
JOB_FAILURE_EXITED: JobFailure
JOB_FAILURE_TIMED_OUT: JobFailure
JOB_FAILURE_OUT_OF_MEMORY: JobFailure
JOB_FAILURE_INVALID: JobFailure
JOB_FAILURE_BAD_RESULT: JobFailure
JOB_FAILURE_INTERRUPTED: JobFailure
JOB_FAILURE_INTERNAL: JobFailure
FILL_MODEL_UNSPECIFIED: FillModel
FILL_MODEL_VNPY: FillModel
FILL_MODEL_SIM: FillModel
BACKTEST_ORDER_UNSPECIFIED: BacktestOrder
BACKTEST_ORDER_NEWEST: BacktestOrder
BACKTEST_ORDER_OLDEST: BacktestOrder
BACKTEST_ORDER_SHARPE_RATIO: BacktestOrder
BACKTEST_ORDER_TOTAL_RETURN: BacktestOrder
OPTIMIZATION_METHOD_UNSPECIFIED: OptimizationMethod
OPTIMIZATION_METHOD_GRID: OptimizationMethod
OPTIMIZATION_METHOD_GENETIC: OptimizationMethod

class JobProgress(_message.Message):
    __slots__ = ("done", "total", "percent", "elapsed", "time_left")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    percent: float
    elapsed: _duration_pb2.Duration
    time_left: _duration_pb2.Duration
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., percent: _Optional[float] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DataFinding(_message.Message):
    __slots__ = ("kind", "count", "sentence")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    count: int
    sentence: str
    def __init__(self, kind: _Optional[str] = ..., count: _Optional[int] = ..., sentence: _Optional[str] = ...) -> None: ...

class Backtest(_message.Message):
    __slots__ = ("backtest_id", "display_name", "class_name", "symbol", "interval", "ticks", "dataset", "start_time", "end_time", "parameters", "capital", "commission_rate", "slippage", "contract_size", "price_tick", "fill_model", "status", "progress", "queue_position", "failure", "error", "error_detail", "statistics", "diagnostics", "findings", "logs", "variables", "trade_count", "create_time", "run_time", "end_run_time", "attempts", "check_lookahead")
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICK_FIELD_NUMBER: _ClassVar[int]
    FILL_MODEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAIL_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    END_RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_LOOKAHEAD_FIELD_NUMBER: _ClassVar[int]
    backtest_id: str
    display_name: str
    class_name: str
    symbol: str
    interval: _common_pb2.Interval
    ticks: bool
    dataset: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    parameters: _struct_pb2.Struct
    capital: str
    commission_rate: str
    slippage: str
    contract_size: str
    price_tick: str
    fill_model: FillModel
    status: JobStatus
    progress: JobProgress
    queue_position: int
    failure: JobFailure
    error: str
    error_detail: str
    statistics: _struct_pb2.Struct
    diagnostics: _containers.RepeatedScalarFieldContainer[str]
    findings: _containers.RepeatedCompositeFieldContainer[DataFinding]
    logs: _containers.RepeatedScalarFieldContainer[str]
    variables: _struct_pb2.Struct
    trade_count: int
    create_time: _timestamp_pb2.Timestamp
    run_time: _timestamp_pb2.Timestamp
    end_run_time: _timestamp_pb2.Timestamp
    attempts: int
    check_lookahead: bool
    def __init__(self, backtest_id: _Optional[str] = ..., display_name: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., ticks: _Optional[bool] = ..., dataset: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., capital: _Optional[str] = ..., commission_rate: _Optional[str] = ..., slippage: _Optional[str] = ..., contract_size: _Optional[str] = ..., price_tick: _Optional[str] = ..., fill_model: _Optional[_Union[FillModel, str]] = ..., status: _Optional[_Union[JobStatus, str]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., queue_position: _Optional[int] = ..., failure: _Optional[_Union[JobFailure, str]] = ..., error: _Optional[str] = ..., error_detail: _Optional[str] = ..., statistics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., diagnostics: _Optional[_Iterable[str]] = ..., findings: _Optional[_Iterable[_Union[DataFinding, _Mapping]]] = ..., logs: _Optional[_Iterable[str]] = ..., variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., trade_count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., check_lookahead: _Optional[bool] = ...) -> None: ...

class BacktestTrade(_message.Message):
    __slots__ = ("trade_id", "order_id", "time", "side", "position_effect", "price", "quantity", "commission", "trading_day")
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    trade_id: str
    order_id: str
    time: _timestamp_pb2.Timestamp
    side: _common_pb2.Side
    position_effect: _common_pb2.PositionEffect
    price: str
    quantity: str
    commission: str
    trading_day: int
    def __init__(self, trade_id: _Optional[str] = ..., order_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., side: _Optional[_Union[_common_pb2.Side, str]] = ..., position_effect: _Optional[_Union[_common_pb2.PositionEffect, str]] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., commission: _Optional[str] = ..., trading_day: _Optional[int] = ...) -> None: ...

class BacktestDay(_message.Message):
    __slots__ = ("date", "close_price", "pre_close", "trade_count", "start_pos", "end_pos", "turnover", "commission", "slippage", "trading_pnl", "holding_pnl", "total_pnl", "net_pnl", "balance", "drawdown", "ddpercent", "daily_return")
    DATE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_PRICE_FIELD_NUMBER: _ClassVar[int]
    PRE_CLOSE_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    START_POS_FIELD_NUMBER: _ClassVar[int]
    END_POS_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    TRADING_PNL_FIELD_NUMBER: _ClassVar[int]
    HOLDING_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PNL_FIELD_NUMBER: _ClassVar[int]
    NET_PNL_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    DRAWDOWN_FIELD_NUMBER: _ClassVar[int]
    DDPERCENT_FIELD_NUMBER: _ClassVar[int]
    DAILY_RETURN_FIELD_NUMBER: _ClassVar[int]
    date: str
    close_price: str
    pre_close: str
    trade_count: int
    start_pos: str
    end_pos: str
    turnover: str
    commission: str
    slippage: str
    trading_pnl: str
    holding_pnl: str
    total_pnl: str
    net_pnl: str
    balance: str
    drawdown: str
    ddpercent: float
    daily_return: float
    def __init__(self, date: _Optional[str] = ..., close_price: _Optional[str] = ..., pre_close: _Optional[str] = ..., trade_count: _Optional[int] = ..., start_pos: _Optional[str] = ..., end_pos: _Optional[str] = ..., turnover: _Optional[str] = ..., commission: _Optional[str] = ..., slippage: _Optional[str] = ..., trading_pnl: _Optional[str] = ..., holding_pnl: _Optional[str] = ..., total_pnl: _Optional[str] = ..., net_pnl: _Optional[str] = ..., balance: _Optional[str] = ..., drawdown: _Optional[str] = ..., ddpercent: _Optional[float] = ..., daily_return: _Optional[float] = ...) -> None: ...

class ParameterRange(_message.Message):
    __slots__ = ("name", "start", "stop", "step")
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    name: str
    start: float
    stop: float
    step: float
    def __init__(self, name: _Optional[str] = ..., start: _Optional[float] = ..., stop: _Optional[float] = ..., step: _Optional[float] = ...) -> None: ...

class OptimizationPoint(_message.Message):
    __slots__ = ("parameters", "target", "statistics", "error")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    parameters: _struct_pb2.Struct
    target: float
    statistics: _struct_pb2.Struct
    error: str
    def __init__(self, parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., target: _Optional[float] = ..., statistics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class Optimization(_message.Message):
    __slots__ = ("optimization_id", "display_name", "class_name", "symbol", "interval", "ticks", "dataset", "start_time", "end_time", "parameters", "capital", "commission_rate", "slippage", "contract_size", "price_tick", "fill_model", "status", "progress", "queue_position", "failure", "error", "error_detail", "ranges", "target", "method", "best", "point_count", "create_time", "run_time", "end_run_time", "attempts")
    OPTIMIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICK_FIELD_NUMBER: _ClassVar[int]
    FILL_MODEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAIL_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    POINT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    END_RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    optimization_id: str
    display_name: str
    class_name: str
    symbol: str
    interval: _common_pb2.Interval
    ticks: bool
    dataset: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    parameters: _struct_pb2.Struct
    capital: str
    commission_rate: str
    slippage: str
    contract_size: str
    price_tick: str
    fill_model: FillModel
    status: JobStatus
    progress: JobProgress
    queue_position: int
    failure: JobFailure
    error: str
    error_detail: str
    ranges: _containers.RepeatedCompositeFieldContainer[ParameterRange]
    target: str
    method: OptimizationMethod
    best: _containers.RepeatedCompositeFieldContainer[OptimizationPoint]
    point_count: int
    create_time: _timestamp_pb2.Timestamp
    run_time: _timestamp_pb2.Timestamp
    end_run_time: _timestamp_pb2.Timestamp
    attempts: int
    def __init__(self, optimization_id: _Optional[str] = ..., display_name: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., ticks: _Optional[bool] = ..., dataset: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., capital: _Optional[str] = ..., commission_rate: _Optional[str] = ..., slippage: _Optional[str] = ..., contract_size: _Optional[str] = ..., price_tick: _Optional[str] = ..., fill_model: _Optional[_Union[FillModel, str]] = ..., status: _Optional[_Union[JobStatus, str]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., queue_position: _Optional[int] = ..., failure: _Optional[_Union[JobFailure, str]] = ..., error: _Optional[str] = ..., error_detail: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[ParameterRange, _Mapping]]] = ..., target: _Optional[str] = ..., method: _Optional[_Union[OptimizationMethod, str]] = ..., best: _Optional[_Iterable[_Union[OptimizationPoint, _Mapping]]] = ..., point_count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ...) -> None: ...
