"""The process that archives: `python -m services.market.recording.archive_worker FOLDER PARENT`, work from stdin."""

import os
import pickle
import sys
from pathlib import Path

from services.kernel.runtime.parent_death import end_with_parent
from services.market.recording.archive_work import Work

_NICE = 10


def main(folder: Path, parent: int) -> None:
    """Do work until there is no more."""
    end_with_parent(parent)
    os.nice(_NICE)
    try:
        while True:
            piece: Work = pickle.load(sys.stdin.buffer)  # noqa: S301 our own parent's
            piece.run(folder, lambda: None)
    except EOFError:
        return
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
