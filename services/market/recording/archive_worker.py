"""The process that archives: `… -m services.market.recording.archive_worker FOLDER PARENT [EPOCH]`, work from stdin.

A third argument is the epoch of the lease that the parent has on the folder.
"""

import os
import pickle
import sys
from pathlib import Path

from services.kernel.data.folder_fence import FolderFence
from services.kernel.runtime.parent_death import end_with_parent
from services.market.recording.archive_work import Work
from services.quant.archive import layout

_NICE = 10


def main(folder: Path, parent: int, fence: FolderFence | None = None) -> None:
    """Do work until there is no more."""
    end_with_parent(parent)
    os.nice(_NICE)
    storage = layout.storage(folder, fence=fence)
    try:
        while True:
            piece: Work = pickle.load(sys.stdin.buffer)  # noqa: S301 our own parent's # nosec B301
            piece.run(storage, lambda: None)
    except EOFError:
        return
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    place, epochs = Path(sys.argv[1]), sys.argv[3:]
    main(place, int(sys.argv[2]), FolderFence(place, int(epochs[0])) if epochs else None)
