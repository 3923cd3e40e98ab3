"""The table of backtests and optimisations. Its key leads with the owner, by whom it would be sharded."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from services.kernel.data.columns import JsonDocument, UtcTime
from services.strategy.models import Base

NO_STATISTIC = -1e308
"""Sorts last where the largest comes first; no database agrees with another on where NULL goes."""


class JobRow(Base):
    """A job. `request_id` is its own id where the client gave none: it is unique per owner and kind."""

    __tablename__ = "strategy_jobs"
    __table_args__ = (
        Index("strategy_jobs_by_request", "user_id", "kind", "request_id", unique=True),
        Index("strategy_jobs_by_status", "status"),
        Index("strategy_jobs_by_end", "end_time"),
    )

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str] = mapped_column(String(128))
    class_name: Mapped[str] = mapped_column(String(128))
    symbol: Mapped[str] = mapped_column(String(40))
    setup: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    status: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)
    elapsed_s: Mapped[float] = mapped_column(Float)
    failure: Mapped[str] = mapped_column(String(32))
    error: Mapped[str] = mapped_column(Text)
    error_detail: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any]] = mapped_column("found", JsonDocument)
    sharpe_ratio: Mapped[float] = mapped_column(Float)
    total_return: Mapped[float] = mapped_column(Float)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    run_time: Mapped[datetime | None] = mapped_column(UtcTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcTime)
    attempts: Mapped[int] = mapped_column(Integer)
