"""Queries of recorded ticks and bars: the archive's rows merged with those that are not archived yet.

Queries run in threads of their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from services.kernel.errors import Unavailable
from services.market.convert import LATEST_NS
from services.market.recording.archived_bars import ArchivedBars
from services.market.recording.archived_ticks import ArchivedTicks
from services.market.recording.tick_sources import (
    ArchivedSource,
    DayOfTicks,
    RecordedTick,
    UnarchivedSource,
    range_of_day,
)
from services.market.recording.unarchived import Tail, TickPosition, TickRun, Unarchived
from services.quant.archive.archive import Archive, MovedError
from services.quant.archive.parquet_files import load_library
from services.quant.bars import Bar, Interval, LocalClock

_log = logging.getLogger(__name__)

R = TypeVar("R")
T = TypeVar("T")
BarPosition = tuple[int, int]
"""A bar's trading day and start (ns): the order in which bars are listed."""
_LONGEST_HOLIDAY_DAYS = 15
"""A night session belongs to the trading day after the holiday."""


class History:
    """Reads what is recorded, here or by another replica that shares the archive's folder."""

    def __init__(self, unarchived: Unarchived, ticks: Archive, bars: Archive, clock: LocalClock) -> None:
        self._unarchived = unarchived
        self._archives = ticks, bars
        self._ticks = ArchivedTicks(ticks)
        self._bars = ArchivedBars(bars)
        self._clock = clock
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="market-query")

    async def prepare(self) -> None:
        """Import what reads archives, in a thread of those that query, if there is anything archived."""

        def load() -> None:
            if any(archive.symbols() for archive in self._archives):
                load_library()

        with suppress(Unavailable):  # it is imported with the first query
            await self.run(load)

    def close(self) -> None:
        """End the query threads; queries that wait for one are cancelled."""
        self._readers.shutdown(cancel_futures=True)

    async def list_ticks(
        self, symbol: str, start_ns: int | None, end_ns: int | None, after: TickPosition | None, limit: int
    ) -> list[RecordedTick]:
        """Ticks, at most `limit`, from `start_ns` on and before `end_ns`, in the order of their positions."""
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        first_day = after.trading_day if after else 0

        def read(tail: Tail, before_day: int = 99_999_999) -> list[RecordedTick]:
            days = {*self._ticks.days(symbol), *(run.day for run in tail.runs)}
            ticks: list[RecordedTick] = []
            for day in self._days((day for day in days if first_day <= day < before_day), low, high):
                if len(ticks) >= limit:
                    break
                rows = self._day_of_ticks(symbol, day, tail, [run for run in tail.runs if run.day == day])
                asked = range_of_day(day, low, high, after, limit - len(ticks))
                ticks += [RecordedTick(day, tick) for tick in rows.ticks(asked)]
            return ticks

        def read_archived(tail: Tail) -> list[RecordedTick]:
            return read(tail, min((run.day for run in tail.runs), default=99_999_999))

        find_tail = partial(self._unarchived.ticks, symbol, low, high, after)
        if self._unarchived.is_remote:  # most pages end before what is not archived: its ticks need not come for them
            ticks = await self._read(partial(find_tail, 0), read_archived)
            if len(ticks) == limit:
                return ticks
        return await self._read(partial(find_tail, limit), read)

    async def list_bars(
        self,
        symbol: str,
        interval: Interval,
        start_ns: int | None,
        end_ns: int | None,
        after: BarPosition | None,
        limit: int,
    ) -> list[Bar]:
        """Closed bars, at most `limit`, that start from `start_ns` on and before `end_ns`, by trading day and start.

        Bars of two trading days may start alike, where one ends within their span, or where a feed states a wrong one.
        """
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        after_day, after_ns = after or (0, 0)

        def read(tail: Tail) -> list[Bar]:
            fresh = _fresh_bars(tail, low, high)
            bars: list[Bar] = []
            for day in self._days((day for day in {*self._bars.days(symbol), *fresh} if day >= after_day), low, high):
                if len(bars) >= limit:
                    break
                of_day = self._bars_of_day(symbol, interval, day, low, high, tail, fresh.get(day, {}))
                bars += of_day if day > after_day else [bar for bar in of_day if bar.start_ns > after_ns]
            return bars[:limit]

        return await self._read(partial(self._unarchived.bars, symbol, interval, low, high), read)

    async def bars_before(self, symbol: str, interval: Interval, end_ns: int | None, count: int) -> list[Bar]:
        """The last `count` closed bars that start before `end_ns`, in the order of `list_bars`."""
        high = LATEST_NS if end_ns is None else end_ns

        def read(tail: Tail) -> list[Bar]:
            fresh = _fresh_bars(tail, 0, high)
            bars: list[Bar] = []
            for day in reversed(self._days({*self._bars.days(symbol), *fresh}, 0, high)):
                if len(bars) >= count:
                    break
                bars = self._bars_of_day(symbol, interval, day, 0, high, tail, fresh.get(day, {})) + bars
            return bars[-count:] if count else []

        return await self._read(partial(self._unarchived.bars, symbol, interval, 0, high), read)

    async def knows(self, symbol: str) -> bool:
        """Return true when ticks or bars of this symbol are recorded."""

        def read() -> bool:
            return bool(self._bars.days(symbol) or self._ticks.days(symbol))

        return await self.run(read) or await self._unarchived.has_seen(symbol)

    async def run(self, query: Callable[[], T]) -> T:
        """Run a query in a thread of those that query. Raises: Unavailable when the archive cannot be read."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, query)
        except OSError as error:
            _log.warning("the archive cannot be read: %s", error)
            raise Unavailable("the archive of ticks and bars cannot be read at present") from error

    async def _read(self, find_tail: Callable[[], Awaitable[Tail]], read: Callable[[Tail], list[R]]) -> list[R]:
        for _ in range(8):
            tail = await find_tail()
            try:
                return await self.run(partial(read, tail))
            except MovedError:
                continue
        raise MovedError

    def _days(self, days: Iterable[int], low_ns: int, high_ns: int) -> list[int]:
        """Those trading days that may have rows of this time, oldest first."""
        holiday_ns = _LONGEST_HOLIDAY_DAYS * Interval.DAY.length_ns
        first = self._clock.date_number(low_ns - Interval.DAY.length_ns)  # days in UTC are behind
        last = self._clock.date_number(high_ns + holiday_ns) if high_ns < LATEST_NS else 99_999_999
        return sorted(day for day in days if first <= day <= last)

    def _day_of_ticks(self, symbol: str, day: int, tail: Tail, runs: Iterable[TickRun]) -> DayOfTicks:
        rows = DayOfTicks(tail.valid_from_ns)
        recorded, imported = self._ticks.row_groups(symbol, day, tail.until)
        for group in recorded:
            rows.add(ArchivedSource(symbol, self._ticks, group), group.epoch)
        for group in imported:
            rows.add_imported(ArchivedSource(symbol, self._ticks, group))
        for run in runs:
            rows.add(UnarchivedSource(run), run.epoch)
        return rows

    def _bars_of_day(
        self, symbol: str, interval: Interval, day: int, low_ns: int, high_ns: int, tail: Tail, fresh: dict[int, Bar]
    ) -> list[Bar]:
        """A trading day's bars, in order. The same bar again is a replay's that was run twice: the later one counts."""
        archived = self._bars.read(symbol, interval, day, low_ns, high_ns, tail.until, tail.valid_from_ns)
        if not fresh:
            return archived
        bars = {bar.start_ns: bar for bar in archived} | fresh
        return [bars[start_ns] for start_ns in sorted(bars)]


def _fresh_bars(tail: Tail, low_ns: int, high_ns: int) -> dict[int, dict[int, Bar]]:
    """Bars that are not archived, by trading day and start."""
    since = max(low_ns, tail.valid_from_ns)
    days: dict[int, dict[int, Bar]] = {}
    for bar in tail.bars():
        if since <= bar.start_ns < high_ns:
            days.setdefault(bar.trading_day, {})[bar.start_ns] = bar
    return days
