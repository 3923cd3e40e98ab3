"""The price chart's data: rows of the data set in whole price steps, packed small enough for a page to carry."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from services.quant.backtest.analysis.round_trip import RoundTrip
from services.quant.backtest.data.dataset import Bars, Dataset, Floats, Times
from services.quant.backtest.data.times import SECOND_NS, day_start_ns
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import BacktestResult, Day, Fill

MAX_ROWS = 150_000
"""A year of a future's minute bars, night sessions included, is carried whole; longer data in groups of rows."""

MAX_TRADES = 50_000
_FINEST_STEP = 1e-6


def price_series(result: BacktestResult, data: Dataset | None, trips: Sequence[RoundTrip]) -> dict[str, Any] | None:
    """Return the prices on which charts.js draws trades; None when there is neither data nor a day.

    Columns are packed (see `packed`): `time` in seconds of the exchange's own clock, prices in steps of `step`,
    trades and round trips by the row that they happened in.
    """
    job = result.job
    rows = _Rows.of(data, result.days, job.zone) if data is not None else None
    if rows is None or not len(rows.time_ns):
        rows = _Rows.of_days(result.days, job.zone)
    if not len(rows.time_ns):
        return None
    rows, grouped = rows.reduced(MAX_ROWS)
    step = _step(job, rows)
    fills = [fill for fill in result.trades if fill.volume > 0][:MAX_TRADES]
    trips = trips[:MAX_TRADES]
    return {
        "rows": len(rows.time_ns),
        "grouped": grouped,
        "daily": rows.daily,
        "cut": len(result.trades) > MAX_TRADES,
        "maxTrades": MAX_TRADES,
        "step": step,
        "decimals": _decimals(step),
        "time": packed(to_local(rows.time_ns, job.zone) // SECOND_NS),
        "open": packed(_steps(rows.open, step)),
        "high": packed(_steps(rows.high, step)),
        "low": packed(_steps(rows.low, step)),
        "close": packed(_steps(rows.close, step)),
        "trades": _trades(fills, rows, step, job.zone),
        "trips": {
            "count": len(trips),
            "openRow": packed(rows.rows_at([trip.open_time for trip in trips])),
            "closeRow": packed(rows.rows_at([trip.close_time for trip in trips])),
            "open": packed(_steps([trip.open_price for trip in trips], step)),
            "close": packed(_steps([trip.close_price for trip in trips], step)),
            "net": packed(_steps([trip.net_pnl for trip in trips], 1)),
        },
    }


def packed(values: npt.NDArray[np.int64]) -> str:
    """Differences of `values` as little-endian int32, gzipped, in base64: about a byte a value for prices."""
    differences = np.diff(values, prepend=np.int64(0))
    limit = np.iinfo(np.int32)
    differences = np.clip(differences, limit.min, limit.max).astype("<i4")
    # Bytes of one significance lie together: most are equal, which is what gzip likes.
    planes = differences.view(np.uint8).reshape(-1, 4).T.tobytes()
    return base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode()


class _Rows:
    """Open, high, low and close by time (ns since 1970 UTC), of bars, ticks or, lacking both, days."""

    def __init__(
        self, time_ns: Times, columns: tuple[Floats, Floats, Floats, Floats], zone: ZoneInfo, *, daily: bool = False
    ) -> None:
        self.time_ns = time_ns
        self.open, self.high, self.low, self.close = columns
        self.daily = daily
        self._zone = zone

    @classmethod
    def of(cls, data: Dataset, days: Sequence[Day], zone: ZoneInfo) -> "_Rows":
        if isinstance(data, Bars):
            columns = (data.open, data.high, data.low, data.close)
        else:
            price = data.columns.get("last_price", np.zeros(0))
            columns = (price, price, price, price)
        if len(columns[0]) != len(data.time_ns) or not len(data.time_ns):
            return cls(np.zeros(0, np.int64), (np.zeros(0),) * 4, zone)
        # Rows before the first day only warmed the strategy up.
        begin = day_start_ns(days[0].date, zone) if days else int(data.time_ns[0])
        end = day_start_ns(days[-1].date + timedelta(days=1), zone) if days else int(data.time_ns[-1]) + 1
        first, last = (int(row) for row in np.searchsorted(data.time_ns, [begin, end]))
        time_ns = np.asarray(data.time_ns[first:last])
        cut = tuple(np.asarray(column[first:last], dtype=np.float64) for column in columns)
        # A price of 0 is how feeds write "none yet".
        good = np.logical_and.reduce([np.isfinite(column) & (column != 0) for column in cut])
        return cls(time_ns[good], cast(tuple[Floats, Floats, Floats, Floats], tuple(c[good] for c in cut)), zone)

    @classmethod
    def of_days(cls, days: Sequence[Day], zone: ZoneInfo) -> "_Rows":
        time_ns = np.array([day_start_ns(day.date, zone) for day in days], dtype=np.int64)
        close = np.array([day.close_price for day in days], dtype=np.float64)
        return cls(time_ns, (close, close, close, close), zone, daily=True)

    def reduced(self, limit: int) -> tuple["_Rows", int]:
        """Rows, at most `limit`: each stands for the returned number of consecutive rows."""
        count = len(self.time_ns)
        group = -(-count // limit)
        if group <= 1:
            return self, 1
        starts = np.arange(0, count, group)
        ends = np.append(starts[1:], count) - 1
        columns = (
            self.open[starts],
            np.maximum.reduceat(self.high, starts),
            np.minimum.reduceat(self.low, starts),
            self.close[ends],
        )
        return _Rows(self.time_ns[starts], columns, self._zone, daily=self.daily), group

    def rows_at(self, times: Sequence[datetime]) -> npt.NDArray[np.int64]:
        """The row that each time falls into."""
        at = np.array([round(time.timestamp() * 1e6) * 1000 for time in times], dtype=np.int64)
        rows = np.searchsorted(self.time_ns, at, side="right") - 1
        return np.clip(rows, 0, len(self.time_ns) - 1).astype(np.int64)


def _trades(fills: Sequence[Fill], rows: _Rows, step: float, zone: ZoneInfo) -> Mapping[str, Any]:
    local = [int(fill.time.astimezone(zone).replace(tzinfo=ZoneInfo("UTC")).timestamp()) for fill in fills]
    kinds = [(0 if fill.direction == "LONG" else 2) + (0 if fill.offset == "OPEN" else 1) for fill in fills]
    return {
        "count": len(fills),
        "row": packed(rows.rows_at([fill.time for fill in fills])),
        "time": packed(np.array(local, dtype=np.int64)),
        "kind": packed(np.array(kinds, dtype=np.int64)),
        "price": packed(_steps([fill.price for fill in fills], step)),
        "milliVolume": packed(_steps([fill.volume for fill in fills], 1e-3)),
    }


def _step(job: BacktestJob, rows: _Rows) -> float:
    """The price tick where all prices are multiples of it, or else what seven digits of the price are made of."""
    closes = rows.close / job.pricetick
    if np.all(np.abs(closes - np.round(closes)) < _FINEST_STEP * np.maximum(1, np.abs(closes))):
        return job.pricetick / 10  # fills at an average of prices lie between ticks
    return float(10.0 ** (np.floor(np.log10(float(np.max(np.abs(rows.close))))) - 6))


def _decimals(step: float) -> int:
    return max(0, int(-np.floor(np.log10(step * 10) + 1e-9)))


def _steps(values: npt.ArrayLike, step: float) -> npt.NDArray[np.int64]:
    return np.round(np.asarray(values, dtype=np.float64) / step).astype(np.int64)
