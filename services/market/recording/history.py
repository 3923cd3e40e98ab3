"""Queries of recorded ticks and bars: the archive's rows merged with those that are not archived yet.

Queries run in threads of their own.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import groupby, islice
from typing import TypeVar

from redfire.market.v1 import market_pb2 as pb

from services.market.convert import LATEST_NS, parse_ticks, tick_from_row
from services.market.recording.recorder import Recorder
from services.market.recording.tick_store import Segment, TickStore
from services.quant.archive.archive import Archive, MovedError
from services.quant.bars import Bar, Interval, LocalClock

R = TypeVar("R")
_LONGEST_HOLIDAY_DAYS = 15
"""A night session belongs to the trading day after the holiday."""


class History:
    """Reads what the recorder recorded."""

    def __init__(self, recorder: Recorder, store: TickStore, clock: LocalClock) -> None:
        self._recorder = recorder
        self._ticks = store.ticks
        self._bars = store.bars
        self._clock = clock
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="market-query")

    def close(self) -> None:
        """End the query threads; queries that wait for one are cancelled."""
        self._readers.shutdown(cancel_futures=True)

    async def list_ticks(
        self, symbol: str, start_ns: int | None, end_ns: int | None, after: tuple[int, int] | None, limit: int
    ) -> list[pb.Tick]:
        """Ticks, at most `limit`, from `start_ns` on and before `end_ns`, oldest first, after a (time, sequence)."""
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        low = max(low, after[0]) if after else low
        since = max(low, self._recorder.valid_from_ns(symbol))

        def read(segments: list[Segment], until: int) -> list[pb.Tick]:
            ticks = (tick for segment in segments for batch in segment.batches for tick in parse_ticks(batch))
            fresh = sorted((t for t in ticks if t.symbol == symbol and since <= t.time_ns < high), key=_tick_order)
            ticks_in_order = merge(self._archived_ticks(symbol, low, high, until), fresh, key=_tick_order)
            return list(islice((tick for tick in ticks_in_order if after is None or _tick_order(tick) > after), limit))

        return await self._read(read)

    async def list_bars(
        self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None, after: int | None, limit: int
    ) -> list[Bar]:
        """Closed bars, at most `limit`, that start from `start_ns` on and before `end_ns`, oldest first."""
        low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
        low = max(low, after + 1) if after is not None else low
        since = max(low, self._recorder.valid_from_ns(symbol))

        def read(segments: list[Segment], until: int) -> list[Bar]:
            days = self._days(self._bars, symbol, low, high)
            archived = (bar for day in days for bar in self._archived_bars(symbol, interval, day, low, high, until))
            bars_in_order = merge(archived, _fresh_bars(segments, symbol, interval, since, high), key=_bar_order)
            # The same bar again is a replay's that was run twice: the later one counts.
            return list(islice((list(same)[-1] for _, same in groupby(bars_in_order, key=_bar_order)), limit))

        return await self._read(read)

    async def bars_before(self, symbol: str, interval: Interval, end_ns: int | None, count: int) -> list[Bar]:
        """The last `count` closed bars that start before `end_ns`, oldest first."""
        high = LATEST_NS if end_ns is None else end_ns
        since = self._recorder.valid_from_ns(symbol)

        def read(segments: list[Segment], until: int) -> list[Bar]:
            bars: dict[int, Bar] = {}
            for day in reversed(self._days(self._bars, symbol, 0, high)):
                bars.update((bar.start_ns, bar) for bar in self._archived_bars(symbol, interval, day, 0, high, until))
                if len(bars) >= count:
                    break
            bars.update((bar.start_ns, bar) for bar in _fresh_bars(segments, symbol, interval, since, high))
            return [bars[start_ns] for start_ns in sorted(bars)[-count:]] if count else []

        return await self._read(read)

    async def knows(self, symbol: str) -> bool:
        """Return true when ticks or bars of this symbol are recorded."""
        if self._recorder.has_seen(symbol):
            return True

        def read() -> bool:
            return bool(self._bars.days(symbol) or self._ticks.days(symbol))

        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    async def _read(self, read: Callable[[list[Segment], int], list[R]]) -> list[R]:
        for _ in range(8):
            segments = self._recorder.unarchived()
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._readers, read, segments, segments[0].checkpoint - 1
                )
            except MovedError:
                continue
        raise MovedError

    def _days(self, archive: Archive, symbol: str, low_ns: int, high_ns: int) -> list[int]:
        """Trading days that may have rows of this time, oldest first."""
        holiday_ns = _LONGEST_HOLIDAY_DAYS * Interval.DAY.length_ns
        first = self._clock.date_number(low_ns - Interval.DAY.length_ns)  # days in UTC are behind
        last = self._clock.date_number(high_ns + holiday_ns) if high_ns < LATEST_NS else 99_999_999
        return [day for day in archive.days(symbol) if first <= day <= last]

    def _archived_ticks(self, symbol: str, low_ns: int, high_ns: int, until: int) -> Iterator[pb.Tick]:
        for day in self._days(self._ticks, symbol, low_ns, high_ns):
            for row in self._ticks.rows(symbol, day, until, low_ns, high_ns, self._recorder.valid_from_ns(symbol)):
                yield tick_from_row(symbol, row)

    def _archived_bars(
        self, symbol: str, interval: Interval, day: int, low_ns: int, high_ns: int, until: int
    ) -> Iterator[Bar]:
        for row in self._bars.rows(symbol, day, until, low_ns, high_ns, self._recorder.valid_from_ns(symbol)):
            if row.pop("interval") == interval:
                del row["checkpoint"]
                yield Bar(symbol=symbol, interval=interval, trading_day=day, **row)


def _fresh_bars(segments: Iterable[Segment], symbol: str, interval: Interval, low_ns: int, high_ns: int) -> list[Bar]:
    bars = (bar for segment in segments for bar in segment.bars)
    of_symbol = (bar for bar in bars if bar.symbol == symbol and bar.interval == interval)
    return sorted((bar for bar in of_symbol if low_ns <= bar.start_ns < high_ns), key=_bar_order)


def _tick_order(tick: pb.Tick) -> tuple[int, int]:
    return tick.time_ns, tick.sequence


def _bar_order(bar: Bar) -> int:
    return bar.start_ns
