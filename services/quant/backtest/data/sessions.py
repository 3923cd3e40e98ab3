"""Sessions as the data themselves show them, and the rows missing inside of them, nights and holidays aside."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.quant.backtest.data.dataset import Times
from services.quant.backtest.data.times import DAY_NS

_USUAL = 0.5
"""A slot of the day belongs to a session when at least this part of days has it."""
_FEWEST_DAYS = 3
"""Fewer days of a weekday or a month are no pattern of their own."""
_SLOTS_TOGETHER = 1 << 18


def missing_slots(local_ns: Times, length_ns: int, days: Times) -> tuple[Times, Times]:
    """Return the gaps inside sessions: the first missing moment of each place, and how many.

    `local_ns` is sorted, on the exchange's clock, `days` the trading day of each. A slot of the day is expected where
    most days have it, by weekday and by month. It is missing when trading went on that day before and after it, or
    when it continues what was traded right before or begins what is traded right after.
    """
    at = np.flatnonzero(np.diff(local_ns) > length_ns)
    if not len(at):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    expected = _Pattern(local_ns, length_ns)
    # Some pauses at a time: every night of years of minutes has hundreds of slots to look at.
    together = max(1, _SLOTS_TOGETHER * length_ns // (2 * DAY_NS))
    parts = [
        _missing_in(at[i : i + together], local_ns, length_ns, days, expected) for i in range(0, len(at), together)
    ]
    return np.concatenate([moments for moments, _ in parts]), np.concatenate([counts for _, counts in parts])


def _missing_in(
    at: npt.NDArray[np.intp], local_ns: Times, length_ns: int, days: Times, expected: "_Pattern"
) -> tuple[Times, Times]:
    """The same for the pauses after these rows alone."""
    steps = local_ns[at + 1] - local_ns[at]
    # Of a long pause only the day after its begin and the one before its end can belong to sessions.
    per_day = DAY_NS // length_ns
    between = (steps - 1) // length_ns
    head = np.minimum(between, per_day)
    tail = np.minimum(between - head, per_day)
    pair, offset = _ranges(head + tail)
    offset = np.where(offset < head[pair], offset + 1, between[pair] - (head + tail)[pair] + offset + 1)
    moments = local_ns[at][pair] + offset * length_ns
    in_session = expected.has(moments)
    first = np.append(0, (head + tail).cumsum())[:-1]
    last = (head + tail).cumsum() - 1
    position = np.arange(len(pair))
    # Up to the first slot that is not expected, and from the last such one on.
    stop = np.minimum.reduceat(np.where(in_session, len(pair), position), first)
    resume = np.maximum.reduceat(np.where(in_session, -1, position), first)
    same_day = ((days[at] == days[at + 1]) & (steps < DAY_NS))[pair]
    counted = in_session & (same_day | (position < stop[pair]) | (position > resume[pair]))
    counts = np.add.reduceat(counted.astype(np.int64), first)
    begins = np.minimum.reduceat(np.where(counted, position, last[pair]), first)
    there = counts > 0
    return moments[begins][there], counts[there]


_Small: TypeAlias = npt.NDArray[np.int32]


class _Pattern:
    """The usual slots of the day, by weekday and by month."""

    def __init__(self, local_ns: Times, length_ns: int) -> None:
        self._length = length_ns
        self._per_day = -(-DAY_NS // length_ns)
        day, slot = self._split(local_ns)
        dates = np.unique(day)
        self._first_month = self._months(dates[:1])[0]
        months = self._months(day) - self._first_month
        date_months = self._months(dates) - self._first_month
        self._weekdays = self._usual(_weekday(day), slot, np.bincount(_weekday(dates), minlength=7), None)
        overall = np.bincount(slot, minlength=self._per_day) >= _USUAL * len(dates)
        self._by_month = self._usual(months, slot, np.bincount(date_months), overall)

    def has(self, local_ns: Times) -> npt.NDArray[np.bool_]:
        """Return whether these moments are expected to be there."""
        day, slot = self._split(local_ns)
        months = np.clip(self._months(day) - self._first_month, 0, len(self._by_month) - 1)
        expected: npt.NDArray[np.bool_] = self._weekdays[_weekday(day), slot] & self._by_month[months, slot]
        return expected

    def _usual(
        self, group: _Small, slot: _Small, dates: npt.NDArray[np.int64], otherwise: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.bool_]:
        """Slots that most dates of a group have; for a group of too few dates `otherwise`, or all where it traded."""
        counts = np.bincount(group * self._per_day + slot, minlength=len(dates) * self._per_day)
        usual = counts.reshape(len(dates), self._per_day) >= np.maximum(_USUAL * dates, 1)[:, None]
        few = dates < _FEWEST_DAYS
        usual[few] = (dates[few] > 0)[:, None] if otherwise is None else otherwise
        return usual

    def _split(self, local_ns: Times) -> tuple[_Small, _Small]:
        # Both are small numbers: of millions of rows, half of the memory.
        day = (local_ns // DAY_NS).astype(np.int32)
        return day, (local_ns % DAY_NS // self._length).astype(np.int32)

    def _months(self, day: _Small) -> _Small:
        return day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int32)


def _weekday(day: _Small) -> _Small:
    return (day + 3) % 7


def _ranges(lengths: Times) -> tuple[Times, Times]:
    """0…n-1 for each of the lengths in a row: which range, and the place in it."""
    which = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.append(0, lengths.cumsum())[:-1]
    return which, np.arange(len(which)) - starts[which]
