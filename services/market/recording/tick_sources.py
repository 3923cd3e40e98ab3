"""Sources of recorded ticks: row groups of the archive and runs in memory, searched by time before any tick is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from redfire.market.v1 import market_pb2 as pb

from services.market.convert import parse_ticks
from services.market.recording.archived_ticks import ArchivedTicks, GroupTicks
from services.market.recording.unarchived import TickPosition, TickRun
from services.quant.archive.epochs import Span, Spans, shown
from services.quant.archive.parquet_files import RowGroup

Rows = tuple[Any, Any, Any]
"""Times, sequences and numbers of a source's rows, as arrays."""


class RecordedTick(NamedTuple):
    """A tick, and the trading day that it is recorded under: its own, or the calendar's where it states none."""

    trading_day: int
    tick: pb.Tick

    @property
    def position(self) -> TickPosition:
        """Its place."""
        return TickPosition(self.trading_day, self.tick.time_ns, self.tick.sequence)


class Range(NamedTuple):
    """The ticks of a day that are asked for: from `low_ns` on and before `high_ns`, at most `limit`."""

    low_ns: int
    high_ns: int
    after: tuple[int, int] | None
    """Those behind this time (ns) and sequence; None for all."""
    limit: int


def range_of_day(day: int, low_ns: int, high_ns: int, after: TickPosition | None, limit: int) -> Range:
    """The ticks of a trading day that are asked for, where those of all days behind a position are.

    One without a day is of a replica of before: it means a time and sequence of any day.
    """
    if after is None or 0 < after.trading_day < day:
        return Range(low_ns, high_ns, None, limit)
    if 0 < day < after.trading_day:
        return Range(low_ns, high_ns, None, 0)
    return Range(max(low_ns, after.time_ns), high_ns, after[1:], limit)


class Source(Protocol):
    """Ticks of one symbol, trading day and epoch."""

    @property
    def first_ns(self) -> int:
        """The earliest time."""

    @property
    def last_ns(self) -> int:
        """The latest time."""

    def rows(self, asked: Range, hidden: Sequence[Span]) -> Rows:
        """The rows that are asked for and whose times are in none of the hidden spans, in order."""

    def frames(self, rows: Any) -> list[bytes]:
        """The frames of these rows (an array, ascending)."""


@dataclass
class ArchivedSource:
    """A row group of the archive, whose rows are in order."""

    symbol: str
    ticks: ArchivedTicks
    group: RowGroup

    @property
    def first_ns(self) -> int:
        """The earliest time."""
        return self.group.first_ns

    @property
    def last_ns(self) -> int:
        """The latest time."""
        return self.group.last_ns

    @cached_property
    def _group(self) -> GroupTicks:
        return self.ticks.read(self.symbol, self.group)

    def rows(self, asked: Range, hidden: Sequence[Span]) -> Rows:
        """The rows that are asked for and whose times are in none of the hidden spans, in order."""
        times, sequences = self._group.times, self._group.sequences
        first, last = (int(place) for place in np.searchsorted(times, (asked.low_ns, asked.high_ns)))
        if asked.after is not None:
            time_ns, sequence = asked.after
            begin, end = (int(np.searchsorted(times, time_ns, side)) for side in ("left", "right"))
            first = max(first, begin + int(np.searchsorted(sequences[begin:end], sequence, "right")))
        parts: list[Any] = []
        left = asked.limit
        for hidden_first, hidden_last in (*sorted(hidden), (asked.high_ns, asked.high_ns)):
            until = min(last, int(np.searchsorted(times, hidden_first)), first + left)
            if until > first:
                parts.append(np.arange(first, until))
                left -= until - first
            first = max(first, int(np.searchsorted(times, hidden_last, "right")))
        rows = parts[0] if len(parts) == 1 else np.concatenate([np.arange(0), *parts])
        return times[rows], sequences[rows], rows

    def frames(self, rows: Any) -> list[bytes]:
        """The frames of these rows."""
        return self._group.frames(rows)


class UnarchivedSource:
    """A run as it is now: ticks that are added later are left out. Times of a run may go back."""

    def __init__(self, run: TickRun) -> None:
        self._run = run
        self._times, self._sequences = run.columns(len(run))
        self.first_ns, self.last_ns = run.span(len(self._times))

    def rows(self, asked: Range, hidden: Sequence[Span]) -> Rows:
        """The rows that are asked for and whose times are in none of the hidden spans, in order."""
        times, sequences = self._times, self._sequences
        mask = (times >= asked.low_ns) & (times < asked.high_ns)
        if asked.after is not None:
            time_ns, sequence = asked.after
            mask &= (times > time_ns) | ((times == time_ns) & (sequences > sequence))
        counted = shown(times, hidden)
        rows = np.flatnonzero(mask if counted is None else mask & counted)
        if np.any(times[rows][1:] < times[rows][:-1]):
            rows = rows[np.lexsort((sequences[rows], times[rows]))]
        rows = rows[: asked.limit]
        return times[rows], sequences[rows], rows

    def frames(self, rows: Any) -> list[bytes]:
        """The frames of these rows."""
        return [self._run.frames[row] for row in rows.tolist()]


class DayOfTicks:
    """The ticks of a symbol's trading day, without those that a later epoch replaces."""

    def __init__(self, recorded_from: int) -> None:
        self._recorded_from = recorded_from
        self._spans = Spans()
        self._sources: list[tuple[Source, int | None]] = []

    def add(self, source: Source, epoch: int) -> None:
        """Add recorded ticks."""
        if source.last_ns >= self._recorded_from:
            self._spans.add(epoch, max(source.first_ns, self._recorded_from), source.last_ns)
            self._sources.append((source, epoch))

    def add_imported(self, source: Source) -> None:
        """Add ticks that count whatever was recorded."""
        self._sources.append((source, None))

    def ticks(self, asked: Range) -> Sequence[pb.Tick]:
        """The ticks that are asked for, in order."""
        inside = [one for one in self._sources if one[0].last_ns >= asked.low_ns and one[0].first_ns < asked.high_ns]
        inside.sort(key=lambda one: one[0].first_ns)
        frames: list[bytes] = []
        while inside and len(frames) < asked.limit:
            # Sources that overlap in time are sorted together.
            together = [inside.pop(0)]
            last_ns = together[0][0].last_ns
            while inside and inside[0][0].first_ns <= last_ns:
                last_ns = max(last_ns, inside[0][0].last_ns)
                together.append(inside.pop(0))
            rest = asked._replace(limit=asked.limit - len(frames))
            rows = [source.rows(rest, self._hidden(epoch)) for source, epoch in together]
            frames += _merged([source for source, _ in together], rows, rest.limit)
        ticks = parse_ticks(b"".join(frames))
        for tick in ticks:
            # The archive does not keep it: a tick is the same wherever it is read from.
            tick.ClearField("gateway")
        return ticks

    def parts(self, asked: Range) -> Iterable[tuple[Source, list[bytes]]]:
        """The recorded sources, and of each the frames of the ticks that are asked for and count, in order."""
        for source, epoch in self._sources:
            yield source, source.frames(source.rows(asked, self._hidden(epoch))[2])

    def _hidden(self, epoch: int | None) -> list[Span]:
        """The spans in which ticks of an epoch do not count."""
        if epoch is None:
            return []
        later = self._spans.later(epoch)
        return [(0, self._recorded_from - 1), *later] if self._recorded_from else later


def _merged(sources: Sequence[Source], rows: Sequence[Rows], limit: int) -> Iterable[bytes]:
    """The frames of the first `limit` of the sources' rows, in order."""
    if len(sources) == 1:
        return sources[0].frames(rows[0][2])
    times, sequences, numbers = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    owners = np.repeat(np.arange(len(rows)), [len(part[0]) for part in rows])
    order = np.lexsort((sequences, times))[:limit]
    numbers, owners = numbers[order], owners[order]
    frames = [b""] * len(order)
    for owner in np.unique(owners).tolist():
        places = np.flatnonzero(owners == owner)
        for place, frame in zip(places.tolist(), sources[owner].frames(numbers[places]), strict=True):
            frames[place] = frame
    return frames
