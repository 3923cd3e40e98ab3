"""A job: a backtest or an optimisation that was asked for, from the queue to its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from services.quant.backtest.job import BacktestJob

TIMEZONE = ZoneInfo("Asia/Shanghai")
"""The exchanges' zone, in which the days of a job begin."""


class Kind(StrEnum):
    """The kind of a job."""

    BACKTEST = "BACKTEST"
    OPTIMIZATION = "OPTIMIZATION"


class Status(StrEnum):
    """The contract's JobStatus."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def has_ended(self) -> bool:
        """True if it stays as it is."""
        return self in (Status.FINISHED, Status.FAILED, Status.CANCELED)


class Failure(StrEnum):
    """The contract's JobFailure."""

    NONE = "UNSPECIFIED"
    STRATEGY_RAISED = "STRATEGY_RAISED"
    EXITED = "EXITED"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    INVALID = "INVALID"
    BAD_RESULT = "BAD_RESULT"
    INTERRUPTED = "INTERRUPTED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a parameter that varies: `start`, `start + step`, … not above `stop`."""

    name: str
    start: float
    stop: float
    step: float

    @property
    def count(self) -> int:
        """The number of values; half a billionth of a step is forgiven, as floats are."""
        steps = (self.stop - self.start) / self.step
        # What floats cannot hold is infinite here.
        return int(min(steps, 1e18) + 5e-10) + 1


@dataclass(frozen=True, slots=True)
class Search:
    """The search of an optimisation, beside a backtest's settings."""

    ranges: tuple[Range, ...]
    target: str
    method: str
    """grid or genetic."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of a job as its owner asked for them, with what was left out filled in."""

    class_name: str
    symbol: str
    interval: str
    dataset: str
    start_time: datetime | None
    end_time: datetime | None
    parameters: Mapping[str, Any]
    capital: Decimal
    commission_rate: Decimal
    slippage: Decimal
    contract_size: Decimal
    price_tick: Decimal
    fill_model: str = "vnpy"
    check_lookahead: bool = False
    search: Search | None = None

    def backtest_job(self) -> BacktestJob:
        """The job of the backtest library. Raises: BacktestError."""
        return BacktestJob(
            class_name=self.class_name,
            symbol=self.symbol,
            interval=self.interval,
            parameters=self.parameters,
            start=_day(self.start_time),
            end=_day(self.end_time),
            rate=float(self.commission_rate),
            slippage=float(self.slippage),
            size=float(self.contract_size),
            pricetick=float(self.price_tick),
            capital=float(self.capital),
            fill=self.fill_model,
            timezone=TIMEZONE.key,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON for the database and for workers."""
        amounts = {name: str(getattr(self, name)) for name in _AMOUNTS}
        times = {name: (time.isoformat() if (time := getattr(self, name)) else None) for name in _TIMES}
        search = None
        if self.search is not None:
            ranges = [[item.name, item.start, item.stop, item.step] for item in self.search.ranges]
            search = {"ranges": ranges, "target": self.search.target, "method": self.search.method}
        texts = {name: getattr(self, name) for name in _PLAIN}
        return {**texts, **amounts, **times, "parameters": dict(self.parameters), "search": search}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Setup":
        """The same back."""
        values: dict[str, Any] = {name: document[name] for name in _PLAIN}
        values |= {name: Decimal(document[name]) for name in _AMOUNTS}
        values |= {name: datetime.fromisoformat(document[name]) if document[name] else None for name in _TIMES}
        if search := document["search"]:
            ranges = tuple(Range(*item) for item in search["ranges"])
            values["search"] = Search(ranges, search["target"], search["method"])
        return cls(**values, parameters=document["parameters"])


_PLAIN = ("class_name", "symbol", "interval", "dataset", "fill_model", "check_lookahead")
_AMOUNTS = ("capital", "commission_rate", "slippage", "contract_size", "price_tick")
_TIMES = ("start_time", "end_time")


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: rows of data, of an optimisation points."""

    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0
    prepared_s: float = 0.0
    """Seconds until the first row could be run."""

    @property
    def percent(self) -> float:
        """0 to 100."""
        return 100.0 * min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until the end, if it goes on at this pace; None where nothing is known yet."""
        if not self.total or not self.done:
            return None
        return (self.elapsed_s - self.prepared_s) * max(self.total - self.done, 0) / self.done


@dataclass(frozen=True, slots=True)
class Job:
    """A backtest or an optimisation. `result`: what it brought, in JSON; `progress` is kept when it ends."""

    user_id: str
    job_id: str
    kind: Kind
    display_name: str
    setup: Setup
    create_time: datetime
    status: Status = Status.QUEUED
    progress: Progress = Progress()
    failure: Failure = Failure.NONE
    error: str = ""
    error_detail: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    run_time: datetime | None = None
    end_time: datetime | None = None
    attempts: int = 0
    queue_position: int = 0

    def begun(self, now: datetime) -> "Job":
        """Running, once more."""
        return replace(self, status=Status.RUNNING, run_time=now, attempts=self.attempts + 1, queue_position=0)

    def ended(self, now: datetime, status: Status) -> "Job":
        """Finished or canceled."""
        return replace(self, status=status, end_time=now, queue_position=0, error="")

    def interrupted(self) -> "Job":
        """Waiting again, since the platform stopped while it ran; until it ends it says so."""
        error = "interrupted: the platform stopped while it ran; it runs again from its beginning"
        return replace(self, status=Status.QUEUED, progress=Progress(), error=error)

    def failed(self, now: datetime, failure: Failure, error: str, detail: str = "") -> "Job":
        """Failed; `error` is one line."""
        return replace(self.ended(now, Status.FAILED), failure=failure, error=error, error_detail=detail)


def _day(time: datetime | None) -> date | None:
    try:
        return None if time is None else time.astimezone(TIMEZONE).date()
    except OverflowError:
        return date.max
