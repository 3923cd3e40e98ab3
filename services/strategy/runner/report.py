"""Reports of a strategy's runner to the service: its state, its variables, new lines of its log."""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from google.protobuf.json_format import ParseDict
from redfire.strategy.v1 import worker_pb2

_LINES = 500
_LONGEST_LINE = 20_000


class Phase(StrEnum):
    """The phase of a runner; the names are the contract's."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ERROR = "ERROR"


@dataclass(slots=True)
class Line:
    """A line of a strategy's log."""

    level: str
    message: str
    time_ns: int


@dataclass(slots=True)
class Report:
    """One strategy's changes since the last report."""

    strategy_id: str
    phase: Phase = Phase.STARTING
    variables: dict[str, Any] = field(default_factory=dict)
    position: str = "0"
    error: str = ""
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=_LINES))
    dropped: int = 0
    changed: bool = True
    urgent: bool = True

    def log(self, level: str, message: str) -> None:
        """Add a line; of a strategy that writes without end the last ones are kept."""
        if len(self.lines) == _LINES:
            self.dropped += 1
        self.lines.append(Line(level, message[:_LONGEST_LINE], time.time_ns()))
        self.changed = True

    def move(self, phase: Phase, error: str = "") -> None:
        """The runner is in another phase: to be reported at once."""
        self.phase, self.error = phase, error
        self.changed = self.urgent = True

    def take(self) -> tuple[worker_pb2.ReportStrategiesRequest.Report, list[Line]]:
        """The message, and its lines in case it does not arrive."""
        lines = list(self.lines)
        if self.dropped:
            lines.insert(0, Line("WARNING", f"{self.dropped} lines were left out: too many at once", time.time_ns()))
        self.lines.clear()
        self.dropped = 0
        self.changed = self.urgent = False
        message = worker_pb2.ReportStrategiesRequest.Report(
            strategy_id=self.strategy_id,
            status=f"STRATEGY_STATUS_{self.phase}",
            position=self.position,
            error=self.error,
        )
        ParseDict(self.variables, message.variables)
        for line in lines:
            log = message.logs.add(level=line.level, message=line.message)
            log.create_time.FromNanoseconds(line.time_ns)
        return message, lines

    def put_back(self, lines: list[Line], urgent: bool) -> None:
        """Report it again: it did not arrive."""
        self.lines.extendleft(reversed(lines[-(_LINES - len(self.lines)) :] if len(self.lines) < _LINES else []))
        self.changed = True
        self.urgent = self.urgent or urgent
