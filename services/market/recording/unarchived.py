"""Rows that are not in the archive yet: ticks by symbol, epoch and trading day, and closed bars.

Written on the event loop, read by other threads: rows are only added, so that a length once read stays readable.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from services.market.recording.takeovers import Takeovers
from services.quant.bars import Bar, Interval, LocalClock
from services.quant.ticks.tick_batch import Run

TICK_OVERHEAD_BYTES = 80
"""What a tick takes in memory beside its frame's bytes: the object, its places in lists."""


class TickRun:
    """The ticks of one symbol, epoch and trading day, as they came: frames, times (ns) and sequences."""

    __slots__ = ("day", "epoch", "frames", "sequences", "times")

    def __init__(self, epoch: int, day: int) -> None:
        self.epoch = epoch
        self.day = day
        self.times = array("q")
        self.sequences = array("q")
        self.frames: list[bytes] = []

    def __len__(self) -> int:
        return len(self.frames)

    def add(self, times_ns: Iterable[int], sequences: Iterable[int], frames: Iterable[bytes]) -> None:
        """Add ticks; the frames last, since their number is the run's length."""
        self.times.extend(times_ns)
        self.sequences.extend(sequences)
        self.frames.extend(frames)

    def span(self, length: int) -> tuple[int, int]:
        """The earliest and the latest time of the first `length` ticks."""
        times, _ = self.columns(length)
        return int(times.min()), int(times.max())

    def columns(self, length: int) -> tuple[Any, Any]:
        """Times and sequences of the first `length` ticks, as arrays."""
        times, sequences = self.times[:length], self.sequences[:length]
        return np.frombuffer(times, np.int64), np.frombuffer(sequences, np.int64)


class PartOfRun(TickRun):
    """Some ticks of a run that another process has; `span` is that of all of them."""

    __slots__ = ("_span",)

    def __init__(self, epoch: int, day: int, span: tuple[int, int]) -> None:
        super().__init__(epoch, day)
        self._span = span

    def span(self, length: int) -> tuple[int, int]:
        """The earliest and the latest time of the whole run."""
        return self._span


class SymbolTicks:
    """The runs of one symbol; `run` is the one that ticks are added to, `sent_day` the day that these state."""

    __slots__ = ("run", "runs", "sent_day")

    def __init__(self) -> None:
        self.runs: dict[tuple[int, int], TickRun] = {}
        self.run: TickRun | None = None
        self.sent_day = 0

    def open(self, epoch: int, day: int, sent_day: int) -> TickRun:
        """Go on with the run of this epoch and day."""
        run = self.runs.get((epoch, day))
        if run is None:
            run = self.runs[epoch, day] = TickRun(epoch, day)
        self.run, self.sent_day = run, sent_day
        return run


@dataclass(slots=True)
class Segment:
    """The rows of one checkpoint. `size` is about the bytes that they take in memory."""

    checkpoint: int
    ticks: dict[str, SymbolTicks] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    size: int = 0

    def add(self, added: Iterable[Run], epoch: int, clock: LocalClock) -> None:
        """Add ticks of an epoch. Of those that state no trading day, or an impossible one, it is the clock's.

        Where that raises, nothing was added.
        """
        for one, days in [(one, self._days(one, epoch, clock)) for one in added]:
            rows = self.ticks.get(one.symbol)
            if rows is None:
                rows = self.ticks[one.symbol] = SymbolTicks()
            self.size += sum(map(len, one.frames)) + len(one.frames) * TICK_OVERHEAD_BYTES
            sequences = range(one.first_sequence, one.last_sequence + 1)
            if one.trading_day:
                rows.open(epoch, days[0], one.trading_day).add(one.times_ns, sequences, one.frames)
                continue
            for day, time_ns, sequence, frame in zip(days, one.times_ns, sequences, one.frames, strict=True):
                rows.open(epoch, day, 0).add((time_ns,), (sequence,), (frame,))

    def _days(self, one: Run, epoch: int, clock: LocalClock) -> Sequence[int]:
        """The trading day of a run that states one, or of each of its ticks."""
        symbol, day = one.symbol, one.trading_day
        if not day:
            return [_trading_day(clock, symbol, day, time_ns) for time_ns in one.times_ns]
        rows = self.ticks.get(symbol)
        if rows is not None and rows.run is not None and day == rows.sent_day and rows.run.epoch == epoch:
            return (rows.run.day,)
        return (_trading_day(clock, symbol, day, one.times_ns[0]),)

    def runs(self, symbol: str) -> list[TickRun]:
        """The runs of a symbol at this moment."""
        rows = self.ticks.get(symbol)
        return list(rows.runs.values()) if rows is not None else []


@dataclass(slots=True, frozen=True)
class Tail:
    """What of a symbol is not in the archive yet, at a moment."""

    until: int
    """The last checkpoint that counts as archived: the rows of files of later ones are in the tail."""
    valid_from_ns: int
    """The moment from which on recorded rows count; 0 for all."""
    runs: Sequence[TickRun] = ()
    """The ticks, where these are asked for."""
    bars: Callable[[], Iterable[Bar]] = tuple
    """The bars, where these are asked for, in the order in which they closed; called by a thread that may wait."""


class Unarchived(Protocol):
    """Where the tails of symbols come from: this process, or the replica that records. Raises: RedFireError."""

    async def ticks(self, symbol: str, low_ns: int, high_ns: int, after: tuple[int, int] | None, limit: int) -> Tail:
        """At least the first `limit` ticks of this range behind a (time, sequence), and the spans of all runs."""

    async def bars(self, symbol: str, interval: Interval, low_ns: int, high_ns: int) -> Tail:
        """At least the bars that start in this range."""

    async def has_seen(self, symbol: str) -> bool:
        """Return true when ticks of the symbol were recorded lately."""


class OwnUnarchived:
    """The tails of what this process records."""

    def __init__(self, segments: Callable[[], list[Segment]], takeovers: Takeovers) -> None:
        """`segments` are those that are not archived, oldest first."""
        self._segments = segments
        self._takeovers = takeovers

    async def ticks(self, symbol: str, low_ns: int, high_ns: int, after: tuple[int, int] | None, limit: int) -> Tail:
        """All ticks."""
        segments = self._segments()
        runs = [run for segment in segments for run in segment.runs(symbol) if len(run)]
        return Tail(segments[0].checkpoint - 1, self._takeovers.valid_from_ns(symbol), runs)

    async def bars(self, symbol: str, interval: Interval, low_ns: int, high_ns: int) -> Tail:
        """All bars of this length."""
        segments = self._segments()

        def closed() -> Iterator[Bar]:
            for segment in segments:
                for bar in segment.bars[:]:
                    if bar.symbol == symbol and bar.interval == interval:
                        yield bar

        return Tail(segments[0].checkpoint - 1, self._takeovers.valid_from_ns(symbol), bars=closed)

    async def has_seen(self, symbol: str) -> bool:
        """Return true when the last tick of this symbol is known."""
        return self._takeovers.has_seen(symbol)


def _trading_day(clock: LocalClock, symbol: str, day: int, time_ns: int) -> int:
    """The trading day of a tick that states one, or 0; 0 for a moment beyond all calendars, which no query asks for."""
    try:
        return day if day and clock.is_possible(day, time_ns) else clock.trading_day(symbol, time_ns)
    except (ValueError, OverflowError):
        return 0
