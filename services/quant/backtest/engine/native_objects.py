"""Rows of a backtest as BaseStrategy has them: ticks, bars, and bars resampled to longer ones."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.quant.backtest.data.zone_offsets import utc_us
from services.quant.calendar import Calendar
from services.quant.calendar.days import to_date
from services.quant.sdk.bar_builder import BarBuilder
from services.quant.sdk.events import Bar, Tick

DAY_S = 86_400
_LEVELS = [
    tuple(f"{side}_{what}_{level}" for side in ("bid", "ask") for what in ("price", "volume")) for level in range(1, 6)
]


class TickMaker:
    """Makes ticks of vnpy's TickData, with as many levels of the book as the data have."""

    def __init__(self, symbol: str, columns: Iterable[str]) -> None:
        self._symbol = symbol
        has = set(columns)
        self._levels = [names for names in _LEVELS if has & set(names)]
        self._count = 0

    def __call__(self, row: Any) -> Tick:
        """The tick of a row; levels without price or quantity are left out, as SIM does."""
        self._count += 1
        bids: list[tuple[float, float]] = []
        asks: list[tuple[float, float]] = []
        for bid, bid_volume, ask, ask_volume in self._levels:
            if (price := getattr(row, bid)) and (volume := getattr(row, bid_volume)):
                bids.append((price, volume))
            if (price := getattr(row, ask)) and (volume := getattr(row, ask_volume)):
                asks.append((price, volume))
        return Tick(
            self._symbol,
            utc_us(row.datetime) * 1000,
            row.last_price,
            row.volume,
            row.turnover,
            row.open_interest,
            row.last_volume,
            row.open_price,
            row.high_price,
            row.low_price,
            row.pre_close,
            row.limit_up,
            row.limit_down,
            tuple(price for price, _ in bids),
            tuple(volume for _, volume in bids),
            tuple(price for price, _ in asks),
            tuple(volume for _, volume in asks),
            self._count,
        )


def bar_of(symbol: str, row: Any) -> Bar:
    """The bar of vnpy's BarData."""
    return Bar(
        symbol,
        row.datetime,
        row.open_price,
        row.high_price,
        row.low_price,
        row.close_price,
        row.volume,
        row.turnover,
        row.open_interest,
    )


def closing_tick(symbol: str, row: Any, seconds: int) -> Tick:
    """Return a bar as a tick: its last price at its end, without a book."""
    return Tick(
        symbol,
        utc_us(row.datetime) * 1000 + seconds * 1_000_000_000,
        row.close_price,
        row.volume,
        row.turnover,
        row.open_interest,
        open_price=row.open_price,
        high_price=row.high_price,
        low_price=row.low_price,
    )


def resampled(bars: Sequence[Bar], bar_seconds: int, seconds: int) -> list[Bar]:
    """Bars of `seconds` out of those of `bar_seconds`, as market makes them.

    A day's are the trading day's, a week's begin on Monday; both start at midnight.
    """
    longer: list[Bar] = []
    before: datetime | None = None
    calendar, length = Calendar.load(), timedelta(seconds=seconds)
    for bar in bars:
        start = bar.time.replace(hour=0, minute=0, second=0, microsecond=0)
        if seconds < DAY_S:
            start += (bar.time - start) // length * length
        else:
            if bar_seconds < DAY_S:
                day = to_date(calendar.trading_day(bar.symbol, utc_us(bar.time) * 1000))
                start = start.replace(year=day.year, month=day.month, day=day.day)
            if seconds > DAY_S:
                start -= timedelta(days=start.weekday())
        if start != before:
            before = start
            longer.append(Bar(bar.symbol, start, bar.open, bar.high, bar.low, bar.close))
        last = longer[-1]
        last.high = max(last.high, bar.high)
        last.low = min(last.low, bar.low)
        last.close = bar.close
        last.volume += bar.volume
        last.turnover += bar.turnover
        last.open_interest = bar.open_interest
    return longer


def bars_from_ticks(ticks: Iterable[Tick], seconds: int) -> list[Bar]:
    """The closed bars of ticks."""
    builder = BarBuilder(seconds)
    return [bar for tick in ticks if (bar := builder.add(tick)) is not None]
