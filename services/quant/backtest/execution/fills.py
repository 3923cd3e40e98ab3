"""The trades of a run in columns: 1 million of them in 60 MB, each shown as a Fill when somebody looks at it."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, overload
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.zone_offsets import clock_times, local_us, utc_us
from services.quant.backtest.execution.costs import FeeModel
from services.quant.backtest.result import Fill
from services.quant.calendar import Calendar
from services.quant.calendar.columns import trading_day_column

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
_BLOCK = 4096


class Fills(Sequence[Fill]):
    """The trades so far, oldest first; their ids are counted from 1, as in vnpy."""

    def __init__(self, zone: ZoneInfo, size: float, fee: FeeModel, trading_days_of: str = "") -> None:
        """`trading_days_of`: the symbol whose trading days are counted; empty: dates of the zone, as vnpy does."""
        self._zone = zone
        self._trading_days_of = trading_days_of
        self._size = size
        self._fee = fee
        self._times = array("q")
        self._orders = array("q")
        self._prices = array("d")
        self._volumes = array("d")
        self._kinds = array("H")
        self._names: list[tuple[str, str]] = []
        """Direction and offset of each kind of trade that there was."""
        self._known: dict[tuple[int, int], int] = {}
        self._held: list[tuple[Any, Any]] = []
        """The objects of `_known`, whose ids must stay theirs."""

    def extend(self, trades: Iterable[tuple[Any, int, Any, Any, float, Any]]) -> None:
        """Take trades from a core: (time, order number, direction, offset, price, volume)."""
        before: tuple[Any, int] = (None, 0)
        for time, order, direction, offset, price, volume in trades:
            if time is not before[0]:  # trades of one row have one time
                before = time, utc_us(time)
            self._times.append(before[1])
            self._orders.append(order)
            self._prices.append(price)
            self._volumes.append(volume)
            self._kinds.append(self._kind(direction, offset))

    def by_day(self) -> dict[date, list[int]]:
        """The numbers, from 0, of each day's trades."""
        times = np.array(self._times, dtype=np.int64) * 1000
        if self._trading_days_of:
            days = trading_day_column(Calendar.load(), self._trading_days_of, times) + _EPOCH_DAY
        else:
            days = local_us(times, self._zone)[0] // _DAY_US + _EPOCH_DAY
        numbers = np.argsort(days, kind="stable")
        starts = np.flatnonzero(np.diff(days[numbers], prepend=-1))
        parts = np.split(numbers, starts[1:])
        return {date.fromordinal(int(days[part[0]])): part.tolist() for part in parts if len(part)}

    def plain(self, number: int) -> tuple[str, str, float, float]:
        """A trade's direction, offset, price and volume: what most of the counting up needs."""
        return *self._names[self._kinds[number]], self._prices[number], self._volumes[number]

    def __len__(self) -> int:
        return len(self._times)

    @overload
    def __getitem__(self, index: int) -> Fill: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fill]: ...
    def __getitem__(self, index: int | slice) -> Fill | list[Fill]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return list(self._made(numbers))
        return next(self._made(range(numbers, numbers + 1)))

    def __iter__(self) -> Iterator[Fill]:
        for start in range(0, len(self), _BLOCK):
            yield from self._made(range(start, min(start + _BLOCK, len(self))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _kind(self, direction: Any, offset: Any) -> int:
        # By identity: vnpy's enums are hashed by a Python function, and strategies may send what has no hash.
        kind = self._known.get((id(direction), id(offset)))
        if kind is None:
            kind = self._known[id(direction), id(offset)] = len(self._names)
            self._names.append((_name(direction), _name(offset)))
            self._held.append((direction, offset))
        return kind

    def _made(self, numbers: range) -> Iterator[Fill]:
        """The trades of these numbers, counted from 0."""
        time_us = np.array([self._times[number] for number in numbers], dtype=np.int64)
        times = clock_times(*local_us(time_us * 1000, self._zone), self._zone)
        for number, time in zip(numbers, times, strict=True):
            direction, offset = self._names[self._kinds[number]]
            price, volume = self._prices[number], self._volumes[number]
            commission = self._fee.commission(price, volume, volume * self._size * price, offset, number + 1)
            order = str(self._orders[number])
            yield Fill(str(number + 1), order, time, direction, offset, price, volume, commission)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
