"""Longer bars made of shorter ones."""

from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.data.interval_detection import length_ns
from services.quant.backtest.data.times import DAY_NS, to_utc
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.calendar import Calendar
from services.quant.calendar.columns import trading_day_column


def resample(bars: Bars, interval: str, zone: ZoneInfo) -> Bars:
    """Bars of a longer interval, as market makes them: they start at multiples of their length from local midnight;
    a day's covers the trading day, night session included, and a week's begins on Monday."""
    length, local = length_ns(interval), to_local(bars.time_ns, zone)
    if length < DAY_NS:
        starts = local - local % length
        starts -= starts % DAY_NS % length
    else:
        if length_ns(bars.interval) < DAY_NS:
            days = trading_day_column(Calendar.load(), bars.symbol, bars.time_ns)
        else:
            days = local // DAY_NS
        starts = (days if length == DAY_NS else days - (days + 3) % 7) * DAY_NS
    first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
    last = np.append(first[1:], len(starts)) - 1
    return Bars(
        bars.symbol,
        interval,
        to_utc(starts[first], zone),
        open=bars.open[first],
        high=np.maximum.reduceat(bars.high, first),
        low=np.minimum.reduceat(bars.low, first),
        close=bars.close[last],
        volume=np.add.reduceat(bars.volume, first),
        turnover=np.add.reduceat(bars.turnover, first),
        open_interest=bars.open_interest[last],
        findings=bars.findings,
    )
