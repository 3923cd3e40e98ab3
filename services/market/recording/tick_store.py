"""The files of history: the write-ahead log of ticks, the state at the last checkpoint, and the archive.

All of it is blocking. `append` and `rotate` are for the thread that logs, `archive` and `compact` for the one that
archives, which run beside each other; `ticks` and `bars` are read by any.
"""

import base64
import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from services.kernel.atomic_file import write_atomically
from services.kernel.data.folder_fence import FolderFence
from services.kernel.data.folder_lock import FolderLock
from services.market.recording import tick_wal
from services.market.recording.archive_work import (
    RUN_TICKS,
    Compact,
    Partition,
    Work,
    WriteBars,
    WriteTicks,
    run_apart,
    run_here,
)
from services.market.recording.tick_wal import Record
from services.market.recording.unarchived import Segment
from services.quant.archive import layout
from services.quant.archive.layout import BAR_COLUMNS, INCOMPLETE
from services.quant.archive.tiered import TieredStorage
from services.quant.bars import Bar

_log = logging.getLogger(__name__)
_STATE = "state.json"


@dataclass(slots=True)
class Checkpoint:
    """A segment to archive, and the state at its end, from which a start goes on with the log's file `log`."""

    segment: Segment
    log: int
    epoch: dict[str, Any]
    """The epoch that is recorded: its name, number, first sequence, and the counts of the recorder."""
    bars: dict[str, Any] = field(default_factory=dict)
    """The open bars by symbol, as dumped."""
    marks: dict[str, int] = field(default_factory=dict)
    """By symbol, how many records of the log's file are in its dump already."""
    last_frames: Mapping[str, bytes] = field(default_factory=dict)
    watermarks_ns: Mapping[str, int] = field(default_factory=dict)
    """The exchanges' time by gateway, before any of the dumps."""


@dataclass(slots=True)
class Log:
    """A file of the log. `archived` when the archive has its ticks: it is kept for streams that resume."""

    path: Path
    archived: bool
    is_shared: bool = False
    """Another process may go on in it by now: it is left as it is."""

    @property
    def number(self) -> int:
        """Its number."""
        return _number(self.path)

    def records(self) -> Iterator[Record]:
        """The whole records."""
        if not self.path.name.startswith("wal-"):
            return tick_wal.read_version_1(self.path)
        return (tick_wal.read_open if self.is_shared else tick_wal.read)(self.path)


class TickStore:
    """Files of a folder: `wal-*` (the log), `state.json`, and the archive of `ticks` and `bars`.

    The folder is this process's alone, by a lock; or, with a fence, that of the holder of a lease.
    """

    def __init__(
        self,
        folder: Path,
        compact_files: int,
        keep_bytes: int = 0,
        archive_url: str = "",
        fence: FolderFence | None = None,
        is_held: Callable[[], bool] = lambda: True,
    ) -> None:
        """`keep_bytes` of the log are kept after they were archived; what is archived moves to `archive_url`.

        `is_held` tells whether the lease is certainly held.
        """
        self._folder = folder
        self._fence = fence
        self._is_held = is_held
        self._compact_files = compact_files
        self._keep_bytes = keep_bytes
        self._archive_url = archive_url
        self._storage = layout.storage(folder, archive_url, fence)
        self._moving = threading.Lock()
        self.ticks = layout.ticks(self._storage)
        self.bars = layout.bars(self._storage)
        self._lock: FolderLock | None = None
        self._wal: tick_wal.TickWal | None = None
        self._touched: tuple[list[Partition], list[Partition]] = ([], [])
        self._stopping = False
        self._archiving: subprocess.Popen[bytes] | None = None
        self._interrupted = False
        self._first_log = 1
        """The first file of the log that is not archived."""

    def load(self) -> tuple[dict[str, Any], list[Log]]:
        """Take the folder; the state of the last checkpoint, and the log's files, oldest first.

        Raises: StartError when another process has the folder; FencedError when the lease is another's by now.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self._folder, "the folder of history", is_shared=self._fence is not None)
        if self._fence is not None:
            self._fence.take(self._is_held)
            self._take_log(self._fence)
        layout.keep_remote_url(self._folder, self._archive_url)
        path = self._folder / _STATE
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._first_log = state.get("log", state.get("checkpoint", 0) + 1)
        is_shared = self._fence is not None
        return state, [Log(path, _number(path) < self._first_log, is_shared) for path in self._logs()]

    def _take_log(self, fence: FolderFence) -> None:
        """Go on in a copy of the log's last file: what its last writer still appends is in none then."""
        for path in self._logs()[-1:]:
            if path.name.startswith("wal-"):
                staged = fence.staged(path.name)
                with fence.opened(staged) as file:
                    tick_wal.copy(path, file)
                self._wal = tick_wal.TickWal(staged)
                fence.place(staged, path)

    def open(self) -> int:
        """Open the log's last file, or a first one; return its number."""
        number = self._first_log
        for path in self._logs()[-1:]:
            # One of version 1 is read, and not written any more.
            number = max(number, _number(path) + (not path.name.startswith("wal-")))
        if self._wal is None:
            self._wal = self._new_wal(number, [])
        return number

    def _new_wal(self, number: int, records: Sequence[Record]) -> tick_wal.TickWal:
        """A file of the log that begins with these records, unless it is there. Raises: OSError."""
        path = self._path(number)
        staged = path if self._fence is None else self._fence.staged(path.name)
        wal = tick_wal.TickWal(staged)
        try:
            if records and not wal.size:
                wal.append(records)
            if self._fence is not None:
                self._fence.place(staged, path)
        except OSError:
            wal.close()
            raise
        return wal

    def append(self, records: Sequence[Record]) -> None:
        """Append records to the log: all or none. Raises: OSError; RuntimeError before open()."""
        if self._wal is None:
            raise RuntimeError("open() comes first")
        self._wal.append(records)

    def rotate(self, number: int, first: Record) -> None:
        """Begin a new file of the log with this record. Raises: OSError, then the old one is still open."""
        following = self._new_wal(number, [first])
        if self._wal is not None:
            self._wal.close()
        self._wal = following

    def archive(self, checkpoint: Checkpoint, apart: bool = False) -> None:
        """Archive a segment, save the state, and remove what is not needed of the log.

        `apart`: in a process of its own, which takes longer, and no time of this one's.
        """
        segment = checkpoint.segment
        bars: dict[Partition, list[Bar]] = {}
        for bar in segment.bars:
            bars.setdefault((bar.symbol, bar.trading_day), []).append(bar)
        ticks = {(symbol, run.day) for symbol in segment.ticks for run in segment.runs(symbol)}
        self._run(chain(_tick_work(segment), _bar_work(segment.checkpoint, bars)), apart)
        if self._fence is not None:
            self._fence.write(self._folder / _STATE, self._state(checkpoint))
        else:
            write_atomically(self._folder / _STATE, self._state(checkpoint))
        self._touched = (list(ticks), list(bars))
        self._remove_logs(checkpoint.log)

    def read_logs(self, max_bytes: int) -> Iterator[Record]:
        """The records of the log's newest files; see `read_logs` below."""
        return read_logs(self._folder, max_bytes)

    def supersede(self, from_ns: Mapping[str, int]) -> None:
        """Hide what was recorded of these symbols before a moment; see Archive.supersede."""
        for symbol, moment in from_ns.items():
            self.ticks.supersede(symbol, moment)
            self.bars.supersede(symbol, moment)

    def superseded(self) -> dict[str, int]:
        """The symbols that `supersede` was called for, with their moments: those on disk while the bucket is away."""
        try:
            return self.ticks.superseded()
        except OSError as error:
            _log.warning("the archive cannot be read: %s", error)
            return layout.ticks(layout.storage(self._folder, "")).superseded()

    def check_bucket(self) -> None:
        """Raise OSError when the archive's bucket does not exist, or is away."""
        if isinstance(self._storage, TieredStorage):
            self._storage.check()

    def upload(self, is_ended: Callable[[], bool]) -> int:
        """Move what is archived to the bucket, until `is_ended`; return the number of files. Raises: OSError."""
        storage = self._storage
        if not isinstance(storage, TieredStorage):
            return 0
        return sum(storage.upload(kind, self._moving, is_ended) for kind in ("ticks", "bars"))

    def compact(self, apart: bool = False) -> None:
        """Make one file of the many small ones of the partitions of the last checkpoint, and of the days before."""
        work: list[Compact] = []
        for kind, archive, partitions in zip(("ticks", "bars"), (self.ticks, self.bars), self._touched, strict=True):
            for symbol, day in partitions:
                # As a rule nothing is added to a day once the next one has begun.
                before = [earlier for earlier in archive.days(symbol) if earlier < day][-1:]
                for number, most_files in [(day, self._compact_files), *((earlier, 1) for earlier in before)]:
                    if archive.has_small_files(symbol, number, most_files):
                        work.append(Compact(kind, (symbol, number), most_files))
        if work:
            with self._moving:
                self._run(work, apart)
            for piece in work:
                (self.ticks if piece.kind == "ticks" else self.bars).changed(*piece.partition)

    def remove_old(self, kind: str, before_day: int, before_ns: int) -> int:
        """Remove old `ticks` or `bars`, as Archive.remove_old does; return the number of files."""
        return (self.ticks if kind == "ticks" else self.bars).remove_old(before_day, before_ns)

    def _began(self, process: subprocess.Popen[bytes]) -> None:
        self._archiving = process
        if self._interrupted:  # while it was started
            process.kill()

    def interrupt(self) -> None:
        """End the process that archives, and let none begin; what is not done is archived by the next `archive`."""
        self._interrupted = True
        if self._archiving is not None:
            self._archiving.kill()

    def stop_pausing(self) -> None:
        """Leave out the pauses: everything waits for the archive."""
        self._stopping = True

    def close(self) -> None:
        """Close the log and release the folder; a second time does nothing."""
        wal, lock = self._wal, self._lock
        self._wal = self._lock = None
        if wal is not None:
            wal.close()
        if self._fence is not None:
            self._fence.leave()
        if lock is not None:
            lock.release()

    def _run(self, work: Iterable[Work], apart: bool) -> None:
        if apart and not self._interrupted:
            run_apart(self._folder, self._fence, work, self._began)
        else:
            run_here(self._storage, work, self._pause)

    def _state(self, checkpoint: Checkpoint) -> bytes:
        """The state as JSON, made piece by piece: a long encoding would hold the event loop's thread up."""
        parts = []
        for symbol, dump in checkpoint.bars.items():
            parts.append(f"{json.dumps(symbol)}: {json.dumps(dump)}")
            self._pause()
        frames = {symbol: base64.b64encode(frame).decode() for symbol, frame in checkpoint.last_frames.items()}
        rest = {
            "checkpoint": checkpoint.segment.checkpoint,
            "log": checkpoint.log,
            "epoch": checkpoint.epoch,
            "marks": checkpoint.marks,
            "last_frames": frames,
            "watermarks_ns": checkpoint.watermarks_ns,
        }
        return f'{json.dumps(rest)[:-1]}, "bars": {{{", ".join(parts)}}}}}'.encode()

    def _remove_logs(self, first: int) -> None:
        """Remove the oldest archived files of the log: those beyond what is kept."""
        kept = 0
        for path in reversed([path for path in self._logs() if _number(path) < first]):
            kept += path.stat().st_size
            if kept > self._keep_bytes or not path.name.startswith("wal-"):
                if self._fence is not None:
                    self._fence.remove(path)
                else:
                    path.unlink()

    def _logs(self) -> list[Path]:
        return _logs(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"wal-{number:08d}"

    def _pause(self) -> None:
        """Let the event loop's thread run, unless everything waits for the archive."""
        if not self._stopping:
            time.sleep(0.0001)


def _tick_work(segment: Segment) -> Iterator[Work]:
    for symbol in segment.ticks:
        days: dict[int, list[tuple[int, bytes]]] = {}
        for run in segment.runs(symbol):
            for first in range(0, len(run), RUN_TICKS):
                batch = b"".join(run.frames[first : first + RUN_TICKS])
                days.setdefault(run.day, []).append((run.epoch, batch))
        for day, batches in days.items():
            yield WriteTicks((symbol, day), segment.checkpoint, batches)


def _bar_work(checkpoint: int, bars: Mapping[Partition, Sequence[Bar]]) -> Iterator[Work]:
    for partition, rows in bars.items():
        columns: dict[str, Sequence[Any]] = {name: [getattr(bar, name) for bar in rows] for name in BAR_COLUMNS}
        columns[INCOMPLETE] = [int(bar.incomplete) for bar in rows]
        yield WriteBars(partition, checkpoint, {**columns, "checkpoint": [checkpoint] * len(rows)})


def read_logs(folder: Path, max_bytes: int) -> Iterator[Record]:
    """The records of the log's newest files, oldest first, as far as they are written; anybody may read.

    Older files are left out when those behind them have `max_bytes`.
    """
    paths, size = list[Path](), 0
    for path in reversed([path for path in _logs(folder) if path.name.startswith("wal-")]):
        if size >= max_bytes:
            break
        paths.append(path)
        with suppress(FileNotFoundError):  # the oldest ones may be removed meanwhile
            size += path.stat().st_size
    for path in reversed(paths):
        with suppress(FileNotFoundError):
            yield from tick_wal.read_open(path)


def _logs(folder: Path) -> list[Path]:
    """The log's files, oldest first; `journal-*` are of version 1."""
    return sorted([*folder.glob("journal-*"), *folder.glob("wal-*")], key=_number)


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
