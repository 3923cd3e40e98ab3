"""The files of history: the write-ahead log of ticks, the state at the last checkpoint, and the archive.

All of it is blocking and runs in the writer thread, but for `stop_pausing` and the reading of `ticks` and `bars`.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kernel.data.atomic_file import write_atomically
from services.market.recording import tick_wal
from services.market.recording.tick_columns import tick_columns
from services.quant.archive import layout
from services.quant.archive.layout import BAR_COLUMNS
from services.quant.bars import Bar, LocalClock


@dataclass(slots=True)
class Segment:
    """Rows that are not in the archive yet: batches of ticks, closed bars, and the checkpoint that will cover them."""

    checkpoint: int
    batches: list[bytes] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    bytes: int = 0


class TickStore:
    """Files of a folder: `journal-*` (the log), `state.json`, and the archive of `ticks` and `bars`."""

    def __init__(self, folder: Path, clock: LocalClock, compact_files: int) -> None:
        self._folder = folder
        self._clock = clock
        self._compact_files = compact_files
        self.ticks = layout.ticks(folder)
        self.bars = layout.bars(folder)
        self._wal: tick_wal.TickWal | None = None
        self._touched: tuple[list[tuple[str, int]], ...] = ([], [])
        self._stopping = False

    def load(self) -> tuple[dict[str, Any], list[bytes]]:
        """Read the state of the last checkpoint and the batches logged since, and open the log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "state.json"
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        name = _wal_name(state.get("checkpoint", 0) + 1)
        batches = list(tick_wal.read(self._folder / name))
        for other in self._folder.glob("journal-*"):
            if other.name != name:
                other.unlink()
        self._wal = tick_wal.TickWal(self._folder / name)
        return state, batches

    def append(self, batch: bytes) -> None:
        """Append a batch to the log. Raises: RuntimeError before load()."""
        if self._wal is None:
            raise RuntimeError("load() comes first")
        self._wal.append(batch)

    def archive(self, closing: Segment, batch: bytes, state: dict[str, Any]) -> None:
        """Checkpoint: log the last batch, archive the segment, save the state, and begin a new log."""
        if batch:
            self.append(batch)
        ticks = tick_columns(closing.batches, self._clock.trading_day, self._pause)
        bars: dict[tuple[str, int], list[Bar]] = {}
        for bar in closing.bars:
            bars.setdefault((bar.symbol, bar.trading_day), []).append(bar)
        for (symbol, day), columns in ticks.items():
            self.ticks.write(symbol, day, closing.checkpoint, columns)
        for (symbol, day), rows in bars.items():
            columns = {name: [getattr(bar, name) for bar in rows] for name in BAR_COLUMNS}
            columns["checkpoint"] = [closing.checkpoint] * len(rows)
            self.bars.write(symbol, day, closing.checkpoint, columns)
        # The new log is open before the state says that it counts.
        following = tick_wal.TickWal(self._folder / _wal_name(closing.checkpoint + 1))
        write_atomically(self._folder / "state.json", json.dumps(state).encode())
        assert self._wal is not None
        self._wal.close()
        if self._wal.path != following.path:
            self._wal.path.unlink()
        self._wal = following
        self._touched = (list(ticks), list(bars))

    def supersede(self, from_ns: Mapping[str, int]) -> None:
        """Hide what was recorded of these symbols before a moment; see Archive.supersede."""
        for symbol, moment in from_ns.items():
            self.ticks.supersede(symbol, moment)
            self.bars.supersede(symbol, moment)

    def compact(self) -> None:
        """Make one file of the many small ones of the partitions of the last checkpoint."""
        for archive, partitions in zip((self.ticks, self.bars), self._touched, strict=True):
            for symbol, day in partitions:
                archive.compact(symbol, day, self._compact_files)

    def stop_pausing(self) -> None:
        """Leave out the pauses: everything waits for the writer thread."""
        self._stopping = True

    def _pause(self) -> None:
        """Let the event loop's thread run, unless everything waits for the writer thread."""
        if not self._stopping:
            time.sleep(0.0001)

    def close(self) -> None:
        """Close the log."""
        if self._wal is not None:
            self._wal.close()


def _wal_name(checkpoint: int) -> str:
    return f"journal-{checkpoint:08d}"
