"""Workers' reports as ours. What runs in a worker is strangers' code, and has the worker's token: a report is what such
code wrote, so all of it is bounded, and texts are made such that every database takes them.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import worker_pb2

from services.kernel.errors import Invalid
from services.quant.sdk.strategy_class import ClassDescription, Family, Parameter
from services.strategy.jobs.execution.job_result import cleaned
from services.strategy.strategy import LogLine, Report, Status

MAX_VARIABLES_BYTES = 65_536
"""Bytes of a Struct that a strategy may show, or be started with."""
_MOST_LINES, _MOST_CLASSES, _MOST_PARAMETERS = 1_000, 10_000, 1_000
_LONGEST_TEXT, _LONGEST_NAME = 20_000, 255
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})
_MOST_DIGITS = 15
_STEP, _NOTHING = Decimal("0.00000001"), Decimal(0)


def report_from_pb(message: worker_pb2.ReportStrategiesRequest.Report, now: datetime) -> Report:
    """A worker's report on a strategy. Raises Invalid for a state that there is not."""
    return Report(
        strategy_id=message.strategy_id,
        status=_status(message.status),
        variables=_variables(message.variables),
        position=_position(message.position),
        error=_text(message.error),
        lines=tuple(_line(log, now) for log in message.logs[-_MOST_LINES:]),
    )


def class_from_pb(message: pb.StrategyClass) -> ClassDescription:
    """A class that a worker reports. Raises Invalid."""
    if message.family not in pb.StrategyFamily.values():
        raise Invalid("there is no such family of strategies", field="family")
    family = Family(pb.StrategyFamily.Name(message.family).removeprefix("STRATEGY_FAMILY_"))
    parameters = tuple(_parameter(item) for item in message.parameters[:_MOST_PARAMETERS])
    name = _text(message.name, _LONGEST_NAME)
    return ClassDescription(name, family, _text(message.doc), _text(message.error), parameters)


def classes_from_pb(message: worker_pb2.ReportClassesRequest) -> list[ClassDescription]:
    """The classes that a worker reports. Raises Invalid."""
    if len(message.classes) > _MOST_CLASSES:
        raise Invalid(f"more than {_MOST_CLASSES:,} classes", field="classes")
    return [class_from_pb(item) for item in message.classes]


def _parameter(message: pb.StrategyParameter) -> Parameter:
    default = _plain(message.default_value)
    if message.type == "int" and isinstance(default, float) and default.is_integer():
        default = int(default)
    return Parameter(_text(message.name, _LONGEST_NAME), _text(message.type, _LONGEST_NAME), default)


def _plain(value: Value) -> Any:
    """A value as JSON has it; None where it has a number that JSON has not."""
    try:
        return cleaned(MessageToDict(value))
    except ValueError:
        return None


def _variables(struct: Struct) -> dict[str, Any]:
    """A Struct's values; where they cannot be kept, the reason instead."""
    if struct.ByteSize() > MAX_VARIABLES_BYTES:
        return {"error": f"more than {MAX_VARIABLES_BYTES:,} bytes"}
    try:
        return dict(cleaned(MessageToDict(struct)))
    except ValueError as error:
        return {"error": _text(str(error), _LONGEST_NAME)}


def _position(text: str) -> Decimal:
    """Contracts; 0 where it is no such number: one with an exponent of nine digits would be a text of a gigabyte."""
    try:
        position = Decimal(text[:64] or 0)
        is_small = position.is_finite() and position.adjusted() < _MOST_DIGITS
        return position.quantize(_STEP) if is_small else _NOTHING
    except ArithmeticError:
        return _NOTHING


def _status(value: int) -> Status:
    if value not in pb.StrategyStatus.values():
        raise Invalid("there is no such state of strategies", field="status")
    return Status(pb.StrategyStatus.Name(value).removeprefix("STRATEGY_STATUS_")) if value else Status.STARTING


def _line(log: pb.StrategyLog, now: datetime) -> LogLine:
    return LogLine(log.level if log.level in _LEVELS else "INFO", _text(log.message), _time(log.create_time, now))


def _time(stamp: Timestamp, now: datetime) -> datetime:
    """The time of a line; now where it is none or one to come."""
    try:
        return min(stamp.ToDatetime(UTC), now)
    except (ValueError, OverflowError):
        return now


def _text(text: str, most: int = _LONGEST_TEXT) -> str:
    return text[:most].replace("\0", "")
