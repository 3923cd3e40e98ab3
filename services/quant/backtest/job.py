"""The job of a backtest: the settings, validated once, that every entrance (command line, RPC) makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.quant.calendar import Calendar
from services.quant.calendar.days import to_date

TICK = "tick"
INTERVALS_S: Mapping[str, int] = {
    "1m": 60, "3m": 180, "5m": 300, "10m": 600, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400,
    "1d": 86400, "1w": 604800,
}  # fmt: skip
"""The lengths of bars that backtests run on, by name; ticks are TICK."""
FILLS = ("vnpy", "sim")
"""The fill models; see models.py."""
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)
"""Between which data can lie."""


class BacktestError(ValueError):
    """A backtest cannot be run as asked: one line for its user; `field` names what is wrong with it."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def check_interval(interval: str) -> None:
    """Raises BacktestError for what is neither a bar's length nor TICK."""
    if interval != TICK and interval not in INTERVALS_S:
        raise BacktestError(f"interval {interval!r} is none of {', '.join((*INTERVALS_S, TICK))}", "interval")


def check_days(start: date | None, end: date | None) -> None:
    """Raises BacktestError for days that no data can have, or none between them."""
    for day in (start, end):
        if day and not FIRST_DAY <= day <= LAST_DAY:
            raise BacktestError(f"{day} is not between {FIRST_DAY} and {LAST_DAY}", "start_time")
    if start and end and start > end:
        raise BacktestError(f"the dates are empty: from {start} to {end}", "start_time")


@dataclass(frozen=True, slots=True)
class BacktestJob:
    """One run. Rates are fractions of turnover, slippage is in price units a contract, capital in currency.

    The names are vnpy's. `start` and `end` are exchange days, both included; rows before `start` only warm the
    strategy up (load_bar). None: from the first row, to the last.
    """

    class_name: str
    symbol: str
    interval: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    start: date | None = None
    end: date | None = None
    rate: float = 1e-4
    slippage: float = 1.0
    size: float = 10.0
    pricetick: float = 1.0
    capital: float = 1_000_000.0
    fill: str = "vnpy"
    risk_free: float = 0.0
    annual_days: int = 240
    half_life: int = 120
    timezone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        check_interval(self.interval)
        check_days(self.start, self.end)
        for name in ("size", "pricetick", "capital"):
            if not getattr(self, name) > 0:
                raise BacktestError(f"{name} must be above 0, not {getattr(self, name)}", name)
        for name in ("rate", "slippage"):
            if not getattr(self, name) >= 0:
                raise BacktestError(f"{name} must be 0 or above, not {getattr(self, name)}", name)
        if self.fill not in FILLS:
            raise BacktestError(f"fill model {self.fill!r} is none of {', '.join(FILLS)}", "fill")
        if self.symbol.count(".") != 1 or not all(self.symbol.split(".")):
            raise BacktestError(f"symbol {self.symbol!r} is not of the form rb2501.SHFE", "symbol")

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's time zone: where days begin."""
        return ZoneInfo(self.timezone)

    @property
    def is_intraday(self) -> bool:
        """True if the data are ticks or bars shorter than a day."""
        return INTERVALS_S.get(self.interval, 0) < INTERVALS_S["1d"]

    def trading_day(self, time: datetime) -> date:
        """The trading day of a trade: the calendar's, of a day's bar the bar's date."""
        if not self.is_intraday:
            return time.astimezone(self.zone).date()
        return to_date(Calendar.load().trading_day(self.symbol, int(time.timestamp()) * 1_000_000_000))
