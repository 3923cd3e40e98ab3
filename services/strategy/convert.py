"""Strategies, classes, performance and logs as the contract's messages."""

from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import worker_pb2

from services.kernel.decimals import plain
from services.kernel.errors import Invalid
from services.quant.sdk.strategy_class import ClassDescription
from services.strategy.events import StrategyEvent
from services.strategy.metrics import Performance
from services.strategy.strategy import LogLine, Status, Strategy
from services.strategy.worker_convert import MAX_VARIABLES_BYTES
from services.strategy.workers import assignments


def strategy_to_pb(strategy: Strategy) -> pb.Strategy:
    """A strategy."""
    return pb.Strategy(
        strategy_id=strategy.strategy_id,
        display_name=strategy.display_name,
        class_name=strategy.class_name,
        symbol=strategy.symbol,
        account_id=strategy.account_id,
        parameters=ParseDict(strategy.parameters, Struct()),
        variables=ParseDict(strategy.variables, Struct()),
        status=f"STRATEGY_STATUS_{strategy.status}",
        position=plain(strategy.position),
        error=strategy.error,
        create_time=_time(strategy.create_time),
        update_time=_time(strategy.update_time),
    )


def status_from_pb(value: int) -> Status | None:
    """A status; None when unspecified."""
    return Status(pb.StrategyStatus.Name(value).removeprefix("STRATEGY_STATUS_")) if value else None


def values_from_pb(struct: Struct) -> dict[str, Any]:
    """A Struct's values."""
    return MessageToDict(struct)


def variables_from_pb(struct: Struct) -> dict[str, Any]:
    """A Struct's values. Raises Invalid where they are more than a strategy may keep."""
    if struct.ByteSize() > MAX_VARIABLES_BYTES:
        raise Invalid(f"variables: more than {MAX_VARIABLES_BYTES:,} bytes", field="variables")
    return MessageToDict(struct)


def class_to_pb(description: ClassDescription) -> pb.StrategyClass:
    """A class."""
    made = pb.StrategyClass(
        name=description.name,
        family=f"STRATEGY_FAMILY_{description.family}",
        doc=description.doc,
        error=description.error,
    )
    for parameter in description.parameters:
        default = ParseDict(parameter.default, Value())
        made.parameters.add(name=parameter.name, type=parameter.type, default_value=default)
    return made


def log_to_pb(line: LogLine) -> pb.StrategyLog:
    """A line of a log."""
    return pb.StrategyLog(
        sequence=line.sequence, level=line.level, message=line.message, create_time=_time(line.create_time)
    )


def event_to_pb(event: StrategyEvent, now: datetime) -> pb.StreamStrategyEventsResponse:
    """An event of a stream; one without content is a heartbeat."""
    made = pb.StreamStrategyEventsResponse(sequence=event.sequence)
    if event.strategy is not None:
        made.strategy.CopyFrom(strategy_to_pb(event.strategy))
    elif event.line is not None:
        made.log.CopyFrom(log_to_pb(event.line))
    elif event.end:
        made.end = event.end
    else:
        made.heartbeat.CopyFrom(_time(now))
    return made


def assignment_to_pb(assignment: assignments.Assignment, now: datetime) -> worker_pb2.WatchAssignmentsResponse:
    """A message to a worker."""
    made = worker_pb2.WatchAssignmentsResponse()
    match assignment:
        case assignments.Start(strategy, token, resume):
            made.start.strategy.CopyFrom(strategy_to_pb(strategy))
            made.start.access_token = token
            made.start.resume = resume
        case assignments.Stop(strategy_id):
            made.stop.strategy_id = strategy_id
        case assignments.Token(strategy_id, token):
            made.token.strategy_id = strategy_id
            made.token.access_token = token
        case _:
            made.heartbeat.CopyFrom(_time(now))
    return made


def performance_to_pb(performance: Performance) -> pb.Performance:
    """A performance."""
    made = pb.Performance(
        total_return=performance.total_return,
        annual_return=performance.annual_return,
        annual_volatility=performance.annual_volatility,
        sharpe_ratio=performance.sharpe_ratio,
        sortino_ratio=performance.sortino_ratio,
        max_drawdown=performance.max_drawdown,
        win_rate=performance.win_rate,
        profit_factor=performance.profit_factor,
        turnover=plain(performance.turnover),
        trade_count=performance.trade_count,
        realized_pnl=plain(performance.realized_pnl),
        unrealized_pnl=plain(performance.unrealized_pnl),
        commission=plain(performance.commission),
    )
    for day in performance.daily:
        made.daily.add(
            date=day.date.isoformat(),
            net_pnl=plain(day.net_pnl),
            commission=plain(day.commission),
            turnover=plain(day.turnover),
            trade_count=day.trade_count,
        )
    return made


def _time(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
