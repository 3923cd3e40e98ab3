"""Rows that are not in the archive yet: ticks by symbol, epoch and trading day, and closed bars.

Written on the event loop, read by other threads: rows are only added, so that a length once read stays readable.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from services.market.recording.takeovers import Takeovers
from services.quant.bars import Bar, Interval, LocalClock
from services.quant.ticks.tick_batch import Run

TICK_OVERHEAD_BYTES = 80
"""Memory of a tick beside its frame's bytes: the object, its places in lists."""


class TickPosition(NamedTuple):
    """A tick's place in history. Ticks of a trading day may be older than those of the day before: late ones."""

    trading_day: int
    time_ns: int
    sequence: int


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

    def add(self, added: Sequence[Run], epoch: int, clock: LocalClock) -> None:
        """Add ticks of an epoch. Of those that state no trading day, or an impossible one, it is the clock's.

        Where that raises, nothing was added.
        """
        symbols = self.ticks
        for one in added:
            rows = symbols.get(one.symbol)
            if rows is None or rows.run is None or rows.run.epoch != epoch or not 0 < one.trading_day == rows.sent_day:
                self._open(added, [_trading_days(clock, one) for one in added], epoch)
                return
        for one in added:
            run = symbols[one.symbol].run
            assert run is not None
            run.add(one.times_ns, range(one.first_sequence, one.last_sequence + 1), one.frames)
            self.size += sum(map(len, one.frames)) + len(one.frames) * TICK_OVERHEAD_BYTES

    def _open(self, added: Sequence[Run], days: Sequence[Sequence[int]], epoch: int) -> None:
        """Add ticks to the runs of their trading days."""
        for one, of_one in zip(added, days, strict=True):
            self.size += sum(map(len, one.frames)) + len(one.frames) * TICK_OVERHEAD_BYTES
            rows = self.ticks.get(one.symbol)
            if rows is None:
                rows = self.ticks[one.symbol] = SymbolTicks()
            sequences = range(one.first_sequence, one.last_sequence + 1)
            if one.trading_day:
                rows.open(epoch, of_one[0], one.trading_day).add(one.times_ns, sequences, one.frames)
                continue
            for day, time_ns, sequence, frame in zip(of_one, one.times_ns, sequences, one.frames, strict=True):
                rows.open(epoch, day, 0).add((time_ns,), (sequence,), (frame,))

    def runs(self, symbol: str) -> list[TickRun]:
        """The runs of a symbol at this moment."""
        rows = self.ticks.get(symbol)
        return list(rows.runs.values()) if rows is not None else []


@dataclass(slots=True, frozen=True)
class Tail:
    """A symbol's ticks and bars that are not in the archive yet, at a moment."""

    until: int
    """The last checkpoint that counts as archived: the rows of files of later ones are in the tail."""
    valid_from_ns: int
    """The moment from which on recorded rows count; 0 for all."""
    runs: Sequence[TickRun] = ()
    """The ticks, where these are asked for."""
    bars: Callable[[], Iterable[Bar]] = tuple
    """The bars, where these are asked for, in the order in which they closed; called by a thread that may wait."""


class Unarchived(Protocol):
    """Source of the tails of symbols: this process, or the replica that records. Raises: RedFireError."""

    is_remote: bool
    """True if what is asked for has to come from another process."""

    async def ticks(self, symbol: str, low_ns: int, high_ns: int, after: TickPosition | None, limit: int) -> Tail:
        """At least the first `limit` ticks of this range behind a position, and the spans of all runs."""

    async def bars(self, symbol: str, interval: Interval, low_ns: int, high_ns: int) -> Tail:
        """At least the bars that start in this range."""

    async def has_seen(self, symbol: str) -> bool:
        """Return true when ticks of the symbol were recorded lately."""


class OwnUnarchived:
    """The tails of what this process records."""

    is_remote = False

    def __init__(self, segments: Callable[[], list[Segment]], takeovers: Takeovers) -> None:
        """`segments` are those that are not archived, oldest first."""
        self._segments = segments
        self._takeovers = takeovers

    async def ticks(self, symbol: str, low_ns: int, high_ns: int, after: TickPosition | None, limit: int) -> Tail:
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


def _trading_days(clock: LocalClock, one: Run) -> Sequence[int]:
    """The trading day of a run that states one, or of each of its ticks."""
    times_ns = one.times_ns[:1] if one.trading_day else one.times_ns
    return [_trading_day(clock, one.symbol, one.trading_day, time_ns) for time_ns in times_ns]


def _trading_day(clock: LocalClock, symbol: str, day: int, time_ns: int) -> int:
    """The trading day of a tick that states one, or 0; 0 for a moment beyond all calendars, which no query asks for."""
    try:
        return day if day and clock.is_possible(day, time_ns) else clock.trading_day(symbol, time_ns)
    except (ValueError, OverflowError):
        return 0
