"""Rows for strategies: the columns of a dataset as vnpy's BarData and TickData, in chunks, kept or thrown away."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Bars, Dataset, Times
from services.quant.backtest.data.zone_offsets import clock_times, local_us
from services.quant.backtest.engine.vnpy_import import prepare_vnpy
from services.quant.backtest.job import TICK
from services.quant.calendar import Calendar
from services.quant.calendar.columns import trading_day_column

CHUNK = 4096
_BLOCK = 256
_GATEWAY = "DB"
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1)  # local times are compared without their zone, as vnpy's database does
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Replay:
    """The rows of a dataset in an exchange's zone; row numbers are those of the columns.

    With `keep` each row is made once and shared by all runs that use this object (about 300 bytes a bar); without,
    rows live as long as somebody holds them.
    """

    def __init__(self, data: Dataset, zone: ZoneInfo, keep: bool = True, *, symbol: str = "") -> None:
        prepare_vnpy()
        self.data = data
        self.zone = zone
        self.symbol = symbol or data.symbol
        self.is_bars = isinstance(data, Bars)
        self.interval = data.interval if isinstance(data, Bars) else TICK
        self._kept: dict[int, list[Any]] | None = {} if keep else None
        self._local_us, self._folds = local_us(data.time_ns, zone)
        days = self._local_us // _DAY_US
        self._day_starts: Times = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
        self._day_numbers = days[self._day_starts]
        self._trading: tuple[Times, Times] | None = None

    def __len__(self) -> int:
        return len(self.data)

    def first_day(self) -> date:
        """The day of the first row."""
        return date.fromordinal(_EPOCH_DAY + int(self._day_numbers[0]))

    def last_day(self) -> date:
        """The day of the last row."""
        return date.fromordinal(_EPOCH_DAY + int(self._day_numbers[-1]))

    def between(self, first: datetime, last: datetime) -> tuple[int, int]:
        """Return the range of rows of these exchange times, both included."""
        low = np.searchsorted(self._local_us, _microseconds(first), side="left")
        high = np.searchsorted(self._local_us, _microseconds(last), side="right")
        return int(low), max(int(low), int(high))

    def days(self, low: int, high: int, *, trading: bool = False) -> Iterator[tuple[date, int, int]]:
        """The days of the rows [low, high): day, first row, row after the last.

        They are dates of the exchange's clock, as vnpy counts days; with `trading` the calendar's trading days.
        """
        starts, numbers = self._trading_days() if trading else (self._day_starts, self._day_numbers)
        index = int(np.searchsorted(starts, low, side="right")) - 1
        while low < high:
            stop = int(starts[index + 1]) if index + 1 < len(starts) else len(self)
            stop = min(stop, high)
            yield date.fromordinal(_EPOCH_DAY + int(numbers[index])), low, stop
            low = stop
            index += 1

    def _trading_days(self) -> tuple[Times, Times]:
        """Return the first rows of trading days, and the days."""
        if self._trading is None:
            days = trading_day_column(Calendar.load(), self.symbol, self.data.time_ns)
            starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
            self._trading = starts, days[starts]
        return self._trading

    def rows(self, low: int, high: int) -> list[Any]:
        """The rows [low, high)."""
        if low >= high:
            return []
        if self._kept is None:
            return self._made(low, high)
        collected: list[Any] = []
        while low < high:
            chunk = low // CHUNK
            begin = chunk * CHUNK
            stop = min(high, begin + CHUNK)
            made = self._kept.get(chunk)
            if made is None:
                made = self._kept[chunk] = self._made(begin, min(begin + CHUNK, len(self)))
            collected += made[low - begin : stop - begin]
            low = stop
        return collected

    def history(self, vt_symbol: str, interval: Any, first: datetime, last: datetime) -> list[Any]:
        """Return the rows that vnpy's database would give, had it these and no others."""
        if vt_symbol != self.symbol or interval is not vnpy_interval(self.interval):
            return []
        return self.rows(*self.between(first, last))

    def _made(self, low: int, high: int) -> list[Any]:
        folds = None if self._folds is None else self._folds[low:high]
        times = clock_times(self._local_us[low:high], folds, self.zone)
        return self._bars(low, high, times) if isinstance(self.data, Bars) else self._ticks(low, high, times)

    def _bars(self, low: int, high: int, times: list[datetime]) -> list[Any]:
        from vnpy.trader.object import BarData
        from vnpy.trader.utility import extract_vt_symbol

        data = self.data
        assert isinstance(data, Bars)
        symbol, exchange = extract_vt_symbol(self.symbol)
        interval = vnpy_interval(self.interval)
        vt_symbol = self.symbol
        columns = (data.volume, data.turnover, data.open_interest, data.open, data.high, data.low, data.close)
        values = [column[low:high].tolist() for column in columns]
        made: list[Any] = []
        new = BarData.__new__
        for time, volume, turnover, open_interest, open_, high_, low_, close in zip(times, *values, strict=True):
            bar = new(BarData)
            bar.gateway_name = _GATEWAY
            bar.symbol = symbol
            bar.exchange = exchange
            bar.datetime = time
            bar.interval = interval
            bar.volume = volume
            bar.turnover = turnover
            bar.open_interest = open_interest
            bar.open_price = open_
            bar.high_price = high_
            bar.low_price = low_
            bar.close_price = close
            bar.vt_symbol = vt_symbol
            made.append(bar)
        return made

    def _ticks(self, low: int, high: int, times: list[datetime]) -> list[Any]:
        from vnpy.trader.object import TickData
        from vnpy.trader.utility import extract_vt_symbol

        data = self.data
        assert not isinstance(data, Bars)
        symbol, exchange = extract_vt_symbol(self.symbol)
        like = TickData(gateway_name=_GATEWAY, symbol=symbol, exchange=exchange, datetime=times[0])
        base = {name: 0.0 if type(value) is int else value for name, value in vars(like).items()}
        names = sorted(data.columns.keys() & base.keys())
        made: list[Any] = []
        new = TickData.__new__
        # A few at a time, column by column: what is written to then stays in the processor's cache.
        for start in range(low, high, _BLOCK):
            stop = min(high, start + _BLOCK)
            spaces = [base.copy() for _ in range(start, stop)]
            for space, time in zip(spaces, times[start - low : stop - low], strict=True):
                space["datetime"] = time
            for name in names:
                for space, value in zip(spaces, data.columns[name][start:stop].tolist(), strict=True):
                    space[name] = value
            for space in spaces:
                tick = new(TickData)
                tick.__dict__ = space
                made.append(tick)
        return made


def vnpy_interval(interval: str) -> Any:
    """vnpy's Interval for ours: any number of minutes is MINUTE, of hours HOUR."""
    from vnpy.trader.constant import Interval

    if interval == TICK:
        return Interval.TICK
    by_unit = {"m": Interval.MINUTE, "h": Interval.HOUR, "d": Interval.DAILY, "w": Interval.WEEKLY}
    return by_unit[interval[-1]]


def _microseconds(time: datetime) -> int:
    return (time.replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)
