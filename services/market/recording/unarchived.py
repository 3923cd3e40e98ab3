"""Rows that are not in the archive yet: ticks by symbol, epoch and trading day, and closed bars.

Written on the event loop, read by other threads: rows are only added, so that a length once read stays readable.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.quant.bars import Bar, LocalClock
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

    def columns(self, length: int) -> tuple[Any, Any]:
        """Times and sequences of the first `length` ticks, as arrays."""
        times, sequences = self.times[:length], self.sequences[:length]
        return np.frombuffer(times, np.int64), np.frombuffer(sequences, np.int64)


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


def _trading_day(clock: LocalClock, symbol: str, day: int, time_ns: int) -> int:
    """The trading day of a tick that states one, or 0; 0 for a moment beyond all calendars, which no query asks for."""
    try:
        return day if day and clock.is_possible(day, time_ns) else clock.trading_day(symbol, time_ns)
    except (ValueError, OverflowError):
        return 0
