"""Made-up data for backtests: bars of sessions with gaps, limit days and odd hours, and ticks, from a seed."""

from datetime import date, datetime, time, timedelta

import numpy as np

from services.quant.backtest.data.dataset import Bars, Ticks
from services.quant.backtest.job import INTERVALS_S

ZONE_NS = 8 * 3600 * 10**9  # Asia/Shanghai has no summer time
DAY = ((9, 0, 75), (10, 30, 60), (13, 30, 90))
"""Sessions: hour, minute, minutes. What Shanghai has by day."""
NIGHT = (*DAY, (21, 0, 120))
ODD = ((9, 1, 37), (11, 13, 1), (14, 59, 2), (23, 30, 29))


def times_ns(days: int, sessions=DAY, step_s: float = 60, first: date = date(2020, 1, 2)) -> np.ndarray:
    parts = []
    for day in range(days):
        for hour, minute, minutes in sessions:
            start = datetime.combine(first + timedelta(days=day), time(hour, minute))
            start_ns = int((start - datetime(1970, 1, 1)).total_seconds()) * 10**9 - ZONE_NS
            parts.append(start_ns + (np.arange(int(minutes * 60 / step_s)) * step_s * 1e9).astype(np.int64))
    return np.concatenate(parts)


def bars(
    rows: int = 0,
    *,
    seed: int = 7,
    days: int = 0,
    sessions=DAY,
    interval: str = "1m",
    noise: float = 1.5,
    gaps: float = 0.0,
    limit_days: float = 0.0,
    tick: float = 1.0,
    symbol: str = "rb2501.SHFE",
) -> Bars:
    """An integer-tick random walk. `gaps`: the part of rows that is missing; `limit_days`: of days without a range."""
    random = np.random.default_rng(seed)
    per_day = sum(minutes for _, _, minutes in sessions) * 60 // INTERVALS_S[interval] or 1
    days = days or -(-rows // per_day)
    at = times_ns(days, sessions, INTERVALS_S[interval])
    at = at[:rows] if rows else at
    n = len(at)
    close = np.maximum(np.round(3500 + np.cumsum(random.normal(0, noise, n))), 200)
    open_ = np.empty(n)
    open_[0] = close[0]
    open_[1:] = np.maximum(close[:-1] + random.integers(-1, 2, n - 1), 1)
    high = np.maximum(open_, close) + random.integers(0, 4, n)
    low = np.minimum(open_, close) - random.integers(0, 4, n)
    if limit_days:
        day = np.arange(n) // per_day
        locked = random.random(day[-1] + 1)[day] < limit_days
        for column in (open_, high, low):
            column[locked] = close[locked]
    volume = random.integers(1, 1000, n).astype(float)
    columns = [column * tick for column in (open_, high, low, close)]
    columns = [np.round(column, 6) for column in columns] + [volume, np.round(volume * close, 6), np.full(n, 1e5)]
    keep = random.random(n) >= gaps
    return Bars(symbol, interval, at[keep], *(np.ascontiguousarray(column[keep], dtype=float) for column in columns))


def ticks(rows: int, *, seed: int = 7, per_day: int = 28_800, symbol: str = "rb2501.SHFE") -> Ticks:
    """Two a second, one price tick up or down."""
    random = np.random.default_rng(seed)
    last = np.maximum(3500.0 + np.cumsum(random.integers(-1, 2, rows)), 200)
    number = np.arange(rows)
    start_ns = int((datetime(2020, 1, 2, 9) - datetime(1970, 1, 1)).total_seconds()) * 10**9 - ZONE_NS
    at = start_ns + (number // per_day) * 86_400 * 10**9 + (number % per_day) * 500_000_000
    columns = {
        "volume": np.cumsum(random.integers(0, 20, rows)).astype(float),
        "last_price": last,
        "limit_up": last + 300,
        "limit_down": last - 300,
        "bid_price_1": last - 1,
        "ask_price_1": last + 1,
        "bid_volume_1": np.full(rows, 10.0),
        "ask_volume_1": np.full(rows, 10.0),
    }
    return Ticks(symbol, at, columns)
