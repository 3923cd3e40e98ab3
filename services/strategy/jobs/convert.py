"""Jobs and what they result as the contract's messages, and requests as ours."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2
from redfire.strategy.v1 import backtest_pb2 as pb

from services.kernel.clock import Clock
from services.kernel.decimals import from_text, plain
from services.kernel.errors import Invalid
from services.quant.backtest.job import TICK
from services.quant.sdk.vnpy_names import OFFSETS
from services.strategy.jobs.job import Job, Progress, Range, Search, Status
from services.strategy.jobs.repository import Order
from services.strategy.jobs.service import BacktestRequest
from services.strategy.jobs.watchers import JobUpdate

_HEARTBEAT_S = 10.0
_SIDES = {"LONG": common_pb2.SIDE_BUY, "SHORT": common_pb2.SIDE_SELL}
_EFFECTS = {name: f"POSITION_EFFECT_{effect}" for effect, name in OFFSETS.items()}
_METHODS = {"grid": pb.OPTIMIZATION_METHOD_GRID, "genetic": pb.OPTIMIZATION_METHOD_GENETIC}
_MONEY = (
    "close_price", "pre_close", "start_pos", "end_pos", "turnover", "commission", "slippage", "trading_pnl",
    "holding_pnl", "total_pnl", "net_pnl", "balance", "drawdown",
)  # fmt: skip


def request_from_pb(request: Any, search: Search | None = None) -> BacktestRequest:
    """The settings that CreateBacktest and CreateOptimization share."""
    interval = common_pb2.Interval.Name(request.interval).removeprefix("INTERVAL_").lower()
    return BacktestRequest(
        class_name=request.class_name,
        symbol=request.symbol,
        interval=TICK if request.ticks else interval,
        dataset=request.dataset,
        start_time=request.start_time.ToDatetime(UTC) if request.HasField("start_time") else None,
        end_time=request.end_time.ToDatetime(UTC) if request.HasField("end_time") else None,
        parameters=_parameters(request.parameters),
        capital=from_text(request.capital),
        commission_rate=from_text(request.commission_rate),
        slippage=from_text(request.slippage),
        contract_size=from_text(request.contract_size),
        price_tick=from_text(request.price_tick),
        fill_model=pb.FillModel.Name(request.fill_model or pb.FILL_MODEL_VNPY).removeprefix("FILL_MODEL_").lower(),
        check_lookahead=search is None and request.check_lookahead,
        search=search,
    )


def _parameters(struct: Struct) -> dict[str, Any]:
    """A Struct's values; JSON, in which they are kept, has no NaN."""
    values = {}
    for name, value in struct.fields.items():
        try:
            values[name] = MessageToDict(value)
        except ValueError:
            raise Invalid(f"{name} must be a finite number", field=f"parameters.{name}") from None
    return values


def search_from_pb(request: Any) -> Search:
    """The search of CreateOptimization."""
    return Search(
        ranges=tuple(Range(item.name, item.start, item.stop, item.step) for item in request.ranges),
        target=request.target,
        method="genetic" if request.method == pb.OPTIMIZATION_METHOD_GENETIC else "grid",
    )


def status_from_pb(value: int) -> Status | None:
    """A status; None when unspecified."""
    return Status(pb.JobStatus.Name(value).removeprefix("JOB_STATUS_")) if value else None


def order_from_pb(value: int) -> Order:
    """The order of a list."""
    return Order(pb.BacktestOrder.Name(value or pb.BACKTEST_ORDER_NEWEST).removeprefix("BACKTEST_ORDER_"))


def heartbeat_s(request: Any) -> float:
    """Seconds between heartbeats of a stream."""
    return request.heartbeat_interval.ToNanoseconds() / 1e9 or _HEARTBEAT_S


def backtest_to_pb(job: Job, with_logs: bool = True) -> pb.Backtest:
    """A backtest."""
    result = job.result
    made = pb.Backtest(
        backtest_id=job.job_id,
        diagnostics=result.get("diagnostics", ()),
        findings=[pb.DataFinding(**finding) for finding in result.get("findings", ())],
        logs=result.get("logs", ()) if with_logs else (),
        trade_count=result.get("trade_count", 0),
    )
    made.check_lookahead = job.setup.check_lookahead
    _fill(made, job)
    if "statistics" in result:
        made.statistics.CopyFrom(ParseDict(result["statistics"], Struct()))
        made.variables.CopyFrom(ParseDict(result.get("variables", {}), Struct()))
    return made


def optimization_to_pb(job: Job) -> pb.Optimization:
    """An optimisation."""
    made = pb.Optimization(
        optimization_id=job.job_id,
        best=[_point(**point) for point in job.result.get("best", ())],
        point_count=job.result.get("point_count", 0),
    )
    _fill(made, job)
    search = job.setup.search
    assert search is not None
    for item in search.ranges:
        made.ranges.add(name=item.name, start=item.start, stop=item.stop, step=item.step)
    made.target = search.target
    made.method = _METHODS[search.method]
    return made


def trade_to_pb(row: Mapping[str, Any]) -> pb.BacktestTrade:
    """A trade."""
    made = pb.BacktestTrade(
        trade_id=row["trade_id"],
        order_id=row["order_id"],
        side=_SIDES.get(row["direction"], common_pb2.SIDE_UNSPECIFIED),
        position_effect=_EFFECTS.get(row["offset"], "POSITION_EFFECT_UNSPECIFIED"),
        price=_decimal(row["price"]),
        quantity=_decimal(row["volume"]),
        commission=_decimal(row["commission"]),
        trading_day=row.get("trading_day", 0),
    )
    made.time.FromNanoseconds(row["time_ns"])
    return made


def day_to_pb(row: Mapping[str, Any]) -> pb.BacktestDay:
    """A day."""
    return pb.BacktestDay(
        date=row["date"],
        trade_count=row["trade_count"],
        ddpercent=row["ddpercent"],
        daily_return=row["daily_return"],
        **{name: _decimal(row[name]) for name in _MONEY},
    )


def point_to_pb(row: Mapping[str, Any]) -> pb.OptimizationPoint:
    """A point as the table has it."""
    documents = {name: json.loads(row[name]) for name in ("parameters", "statistics")}
    return _point(**documents, target=row["target"], error=row["error"])


class JobMessages:
    """Updates of one stream as its messages: the job when its status has changed, otherwise its progress alone."""

    def __init__(self, message: type[Any], noun: str, to_pb: Callable[[Job], Any], clock: Clock) -> None:
        self._message = message
        self._noun = noun
        self._to_pb = to_pb
        self._clock = clock
        self._status: Status | None = None

    def __call__(self, update: JobUpdate) -> Any:
        """The next message."""
        if update.end:
            return self._message(end=update.end)
        if update.job is None:
            return self._message(heartbeat=_time(self._clock.now()))
        if update.job.status is self._status:
            return self._message(progress=_progress(update.job.progress))
        self._status = update.job.status
        return self._message(**{self._noun: self._to_pb(update.job)})


def _fill(made: Any, job: Job) -> None:
    """Fill the fields that backtests and optimisations share."""
    setup = job.setup
    made.display_name = job.display_name
    made.class_name = setup.class_name
    made.symbol = setup.symbol
    made.dataset = setup.dataset
    made.ticks = setup.interval == TICK
    if not made.ticks:
        made.interval = common_pb2.Interval.Value(f"INTERVAL_{setup.interval.upper()}")
    made.parameters.CopyFrom(ParseDict(dict(setup.parameters), Struct()))
    for name in ("capital", "commission_rate", "slippage", "contract_size", "price_tick"):
        setattr(made, name, plain(getattr(setup, name)))
    made.fill_model = pb.FillModel.Value(f"FILL_MODEL_{setup.fill_model.upper()}")
    made.status = pb.JobStatus.Value(f"JOB_STATUS_{job.status}")
    made.progress.CopyFrom(_progress(job.progress))
    made.queue_position = job.queue_position
    made.failure = pb.JobFailure.Value(f"JOB_FAILURE_{job.failure}")
    made.error, made.error_detail = job.error, job.error_detail
    made.attempts = job.attempts
    times = {
        "start_time": setup.start_time,
        "end_time": setup.end_time,
        "create_time": job.create_time,
        "run_time": job.run_time,
        "end_run_time": job.end_time,
    }
    for name, time in times.items():
        if time is not None:
            getattr(made, name).CopyFrom(_time(time))


def _point(
    parameters: Mapping[str, Any], target: float | None, statistics: Mapping[str, Any], error: str
) -> pb.OptimizationPoint:
    return pb.OptimizationPoint(
        parameters=ParseDict(dict(parameters), Struct()),
        target=target,
        statistics=ParseDict(dict(statistics), Struct()),
        error=error,
    )


def _progress(progress: Progress) -> pb.JobProgress:
    made = pb.JobProgress(done=progress.done, total=progress.total, percent=progress.percent)
    made.elapsed.CopyFrom(_duration(progress.elapsed_s))
    if progress.left_s is not None:
        made.time_left.CopyFrom(_duration(progress.left_s))
    return made


def _decimal(value: float) -> str:
    return plain(Decimal(repr(round(value, 8)))) if math.isfinite(value) else ""


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromMilliseconds(int(min(seconds, 1e9) * 1000))
    return made


def _time(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
