"""Sources of recorded ticks: row groups of the archive and runs in memory, searched by time before any tick is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from redfire.market.v1 import market_pb2 as pb

from services.market.recording.tick_rows import ticks_of_rows
from services.market.recording.unarchived import TickRun
from services.quant.archive.archive import Archive
from services.quant.archive.epochs import Span, Spans, shown
from services.quant.archive.parquet_files import RowGroup

Position = tuple[int, int]
"""A tick's place in history: time (ns) and sequence."""
Rows = tuple[Any, Any, Any]
"""Times, sequences and numbers of a source's rows, as arrays."""


class Source(Protocol):
    """Ticks of one symbol, trading day and epoch."""

    @property
    def first_ns(self) -> int:
        """The earliest time."""

    @property
    def last_ns(self) -> int:
        """The latest time."""

    def columns(self) -> tuple[Any, Any]:
        """Times and sequences, as arrays."""

    def ticks(self, rows: Any) -> Sequence[pb.Tick]:
        """The ticks of these rows (an array, ascending)."""


@dataclass
class ArchivedTicks:
    """A row group of the archive."""

    symbol: str
    archive: Archive
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
    def _table(self) -> Any:
        return self.archive.read(self.group)

    def columns(self) -> tuple[Any, Any]:
        """Times and sequences, as arrays."""
        return self._table.column("time_ns").to_numpy(), self._table.column("sequence").to_numpy()

    def ticks(self, rows: Any) -> Sequence[pb.Tick]:
        """The ticks of these rows."""
        return ticks_of_rows(self.symbol, self._table, rows)


class UnarchivedTicks:
    """A run as it is now: ticks that are added later are left out."""

    def __init__(self, run: TickRun) -> None:
        self._run = run
        self._times, self._sequences = run.columns(len(run))
        self.first_ns, self.last_ns = int(self._times.min()), int(self._times.max())

    def columns(self) -> tuple[Any, Any]:
        """Times and sequences, as arrays."""
        return self._times, self._sequences

    def ticks(self, rows: Any) -> Sequence[pb.Tick]:
        """The ticks of these rows."""
        return self._run.ticks(rows.tolist())


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

    def ticks(self, low_ns: int, high_ns: int, after: Position | None, limit: int) -> Iterator[pb.Tick]:
        """Ticks, at most `limit`, from `low_ns` on and before `high_ns`, behind a position, in order."""
        inside = [one for one in self._sources if one[0].last_ns >= low_ns and one[0].first_ns < high_ns]
        inside.sort(key=lambda one: one[0].first_ns)
        while inside and limit > 0:
            # Sources that overlap in time are sorted together.
            together = [inside.pop(0)]
            last_ns = together[0][0].last_ns
            while inside and inside[0][0].first_ns <= last_ns:
                last_ns = max(last_ns, inside[0][0].last_ns)
                together.append(inside.pop(0))
            rows = [self._rows(source, epoch, low_ns, high_ns, after) for source, epoch in together]
            ticks = _merged([source for source, _ in together], rows, limit)
            limit -= len(ticks)
            yield from ticks

    def _rows(self, source: Source, epoch: int | None, low_ns: int, high_ns: int, after: Position | None) -> Rows:
        """Times, sequences and numbers of the rows that are asked for."""
        times, sequences = source.columns()
        mask = (times >= low_ns) & (times < high_ns)
        if after is not None:
            mask &= (times > after[0]) | ((times == after[0]) & (sequences > after[1]))
        if epoch is not None:
            hidden: list[Span] = [(0, self._recorded_from - 1), *self._spans.later(epoch)]
            counted = shown(times, hidden)
            mask = mask if counted is None else mask & counted
        rows = np.flatnonzero(mask)
        return times[rows], sequences[rows], rows


def _merged(sources: Sequence[Source], rows: Sequence[Rows], limit: int) -> list[pb.Tick]:
    """The first `limit` ticks of the sources' rows, in order."""
    times, sequences, numbers = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    owners = np.repeat(np.arange(len(rows)), [len(part[0]) for part in rows])
    in_order = len(rows) == 1 and bool(np.all(times[1:] >= times[:-1]))
    order = np.arange(min(limit, len(times))) if in_order else np.lexsort((sequences, times))[:limit]
    numbers, owners = numbers[order], owners[order]
    ticks: dict[int, pb.Tick] = {}
    for owner in np.unique(owners).tolist():
        places = np.flatnonzero(owners == owner)
        ticks.update(zip(places.tolist(), sources[owner].ticks(numbers[places]), strict=True))
    return [ticks[place] for place in range(len(order))]
