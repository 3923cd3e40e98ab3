"""Moments as people in Shanghai write them."""

from datetime import datetime
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")


def ns(text: str) -> int:
    """`2026-11-24 17:30` in nanoseconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1_000_000_000


def text(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, ZONE).strftime("%Y-%m-%d %H:%M")
