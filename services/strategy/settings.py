"""Settings of the strategy service."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from services.kernel.runtime.sections import START_ONLY, StoredSection


class StrategySettings(StoredSection):
    """The source of strategies, and the limits of the workers that run them."""

    section: ClassVar[str] = "strategy"

    strategies_dir: Path | None = Field(default=None, description="A folder of the user's own strategy files (*.py).")
    sandbox: Literal["on", "off"] = Field(
        default="on",
        description="`off`: strategies and backtests run unconfined, and read what the platform reads. Read at start.",
        json_schema_extra=START_ONLY,
    )
    callback_timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Run time of a strategy's callback at most, seconds; then its worker is killed.",
    )
    import_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="Time to import a strategy file at most, seconds."
    )
    worker_memory_bytes: int = Field(
        default=1 << 30, ge=64 << 20, description="Resident memory at which a worker is killed."
    )
    stop_with_session: bool = Field(
        default=True,
        description="A strategy stops when the session that started it ends; with an API key it always does.",
    )
    worker_disk_bytes: int = Field(
        default=256 << 20, ge=1 << 20, description="Size of what a user's strategies may write, bytes."
    )
    max_strategies: int = Field(default=100, ge=1, le=1000, description="Strategies that a user may have.")
    max_running: int = Field(default=200, ge=1, le=1000, description="Strategies of all users that may run.")
    log_lines: int = Field(default=1000, ge=10, le=100_000, description="Lines of its log that a strategy keeps.")
    stop_timeout_s: float = Field(
        default=6.0,
        gt=0,
        le=60,
        description="Time that StopStrategy waits for the end before it answers STOPPING, seconds.",
    )
    max_backtests: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Backtests and optimisations that all replicas run at the same time, the others wait; "
        "0: one for each core of each replica.",
    )
    backtest_queue: int = Field(
        default=100, ge=1, le=10_000, description="Backtests and optimisations of a user that may wait."
    )
    backtest_timeout_s: float = Field(
        default=1800.0, gt=0, le=86400 * 7, description="Run time of a backtest at most, seconds; then it is killed."
    )
    backtest_memory_bytes: int = Field(
        default=2 << 30,
        ge=128 << 20,
        description="Resident memory at which a backtest is killed; of an optimisation, for each of its processes.",
    )
    backtest_result_bytes: int = Field(
        default=256 << 20, ge=1 << 20, description="Size of a backtest's result files at most, bytes."
    )
    backtest_keep_days: float = Field(
        default=90.0, gt=0, le=36500, description="Days after which an ended backtest or optimisation is deleted."
    )
    backtest_keep: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Ended backtests and optimisations that a user keeps; beyond, the oldest are deleted.",
    )
    optimization_timeout_s: float = Field(
        default=14400.0,
        gt=0,
        le=86400 * 30,
        description="Run time of an optimisation at most, seconds; then it is killed.",
    )
    optimization_workers: int = Field(
        default=0, ge=0, le=1024, description="Processes of an optimisation; 0: one for each core."
    )
    optimization_points: int = Field(
        default=100_000, ge=1, le=1_000_000, description="Points that the ranges of an optimisation may have."
    )
