"""The work of archiving, piece by piece: in this process, or in one of its own at low priority.

Much of it holds the interpreter's lock, for which the event loop's thread would wait again and again. So what is done
beside the ticks is done by a process that ends with it; what is waited for is done here: a process takes half a second
to start.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.kernel.data.folder_fence import FolderFence
from services.market.recording.tick_columns import joined, tick_columns
from services.quant.archive import layout
from services.quant.archive.storage import Storage

RUN_TICKS = 4096
"""Ticks that are made into columns at once, so that no step takes long."""
Partition = tuple[str, int]
"""A symbol and a trading day."""


@dataclass(frozen=True, slots=True)
class WriteTicks:
    """Write a checkpoint's ticks of a partition: batches with their epochs."""

    partition: Partition
    checkpoint: int
    batches: Sequence[tuple[int, bytes]]

    def run(self, storage: Storage, pause: Callable[[], None]) -> None:
        """Do it. Raises: OSError."""
        symbol, day = self.partition
        parts = []
        for epoch, batch in self.batches:
            columns = tick_columns([batch], pause)[symbol]
            columns["epoch"] = np.full(len(columns["time_ns"]), epoch, np.int64)
            parts.append(columns)
        layout.ticks(storage).write(symbol, day, self.checkpoint, joined(parts))


@dataclass(frozen=True, slots=True)
class WriteBars:
    """Write a checkpoint's bars of a partition."""

    partition: Partition
    checkpoint: int
    columns: dict[str, Sequence[Any]]

    def run(self, storage: Storage, pause: Callable[[], None]) -> None:
        """Do it. Raises: OSError."""
        layout.bars(storage).write(*self.partition, self.checkpoint, self.columns)


@dataclass(frozen=True, slots=True)
class Compact:
    """Make one file of the many small ones of a partition."""

    kind: str
    partition: Partition
    most_files: int

    def run(self, storage: Storage, pause: Callable[[], None]) -> None:
        """Do it. Raises: OSError."""
        archive = layout.ticks(storage) if self.kind == "ticks" else layout.bars(storage)
        archive.compact(*self.partition, self.most_files)


Work = WriteTicks | WriteBars | Compact


def run_here(storage: Storage, work: Iterable[Work], pause: Callable[[], None]) -> None:
    """Do it in this process; `pause` is called now and then to let other threads run. Raises: OSError."""
    for piece in work:
        piece.run(storage, pause)
        pause()


def run_apart(
    folder: Path, fence: FolderFence | None, work: Iterable[Work], began: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    """Do it in a process of its own, which `began` is told, and wait for that. Raises: OSError."""
    arguments = [str(folder), str(os.getpid()), *([] if fence is None else [str(fence.epoch)])]
    process = subprocess.Popen(  # noqa: S603  our own program # nosec B603
        [sys.executable, "-P", "-m", "services.market.recording.archive_worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
    )
    began(process)
    assert process.stdin is not None and process.stderr is not None
    with process.stderr as errors:
        try:
            with process.stdin as pipe:
                for piece in work:
                    pickle.dump(piece, pipe)
        except BrokenPipeError:
            pass  # it ended: its last words say why
        except BaseException:
            process.kill()
            raise
        finally:
            said = errors.read().decode(errors="replace")
            process.wait()
    if process.returncode:
        last = said.strip().rpartition("\n")[2] or "the archiving process ended"
        raise OSError(f"{last} ({process.returncode})")
