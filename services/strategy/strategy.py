"""A strategy, its log, and the states it goes through."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from services.strategy.starter import Starter


class Status(StrEnum):
    """The state of a strategy; the names are the contract's."""

    CREATED = "CREATED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ERROR = "ERROR"

    @property
    def is_active(self) -> bool:
        """True if a worker has or will have it."""
        return self in (Status.STARTING, Status.RUNNING, Status.STOPPING)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy as it is now. `ran`: it was RUNNING before, so its variables are worth restoring; `starter`: who
    started it last, None where that was before this was written down."""

    user_id: str
    strategy_id: str
    display_name: str
    class_name: str
    symbol: str
    account_id: str
    parameters: dict[str, Any]
    create_time: datetime
    update_time: datetime
    variables: dict[str, Any] = field(default_factory=dict)
    status: Status = Status.CREATED
    position: Decimal = Decimal(0)
    error: str = ""
    ran: bool = False
    starter: Starter | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a strategy, or the platform about it, wrote. `sequence` is 0 until it is kept."""

    level: str
    message: str
    create_time: datetime
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's report on one of its strategies."""

    strategy_id: str
    status: Status
    variables: dict[str, Any]
    position: Decimal
    error: str
    lines: tuple[LogLine, ...] = ()
