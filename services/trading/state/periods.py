"""Periods of time by which the commit log is partitioned: a day has four, and their numbers come again in four days."""

from services.trading.models import PERIODS

PERIOD_NS = 6 * 3600 * 10**9


def period_of(time_ns: int) -> int:
    """The number of a time's period."""
    return time_ns // PERIOD_NS % PERIODS


def is_over(period: int, time_ns: int) -> bool:
    """Test for a period in which nothing is written now, nor by a replica whose clock is a period early or late."""
    return (period - period_of(time_ns) + 1) % PERIODS > 2


def periods_to_empty(time_ns: int) -> list[int]:
    """The oldest periods: their numbers come again, and what is in them has to be gone by then."""
    return [(period_of(time_ns) + ahead) % PERIODS for ahead in (2, 3)]
