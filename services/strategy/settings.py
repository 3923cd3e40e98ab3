"""Settings of the strategy service."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from services.kernel.settings import Section


class StrategySettings(Section):
    """Where strategies come from, and what bounds the workers that run them."""

    section: ClassVar[str] = "strategy"

    strategies_dir: Path | None = Field(default=None, description="A folder of the user's own strategy files (*.py).")
    callback_timeout_s: float = Field(
        default=5.0, gt=0, le=3600, description="How long a strategy's callback may run before its worker is killed."
    )
    import_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="How long importing a strategy file may take."
    )
    worker_memory_bytes: int = Field(
        default=1 << 30, ge=64 << 20, description="Resident memory at which a worker is killed."
    )
    max_strategies: int = Field(default=100, ge=1, le=1000, description="Strategies that a user may have.")
    max_running: int = Field(default=200, ge=1, le=1000, description="Strategies that may run at the same time.")
    log_lines: int = Field(default=1000, ge=10, le=100_000, description="Lines of its log that a strategy keeps.")
    stop_timeout_s: float = Field(
        default=6.0, gt=0, le=60, description="How long StopStrategy waits for the end before it answers STOPPING."
    )
