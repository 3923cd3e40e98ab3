"""Writing a file that is whole or not there."""

import os
from pathlib import Path

from services.quant.backtest.job import BacktestError


def write_whole(content: bytes, path: Path) -> None:
    """Raises: BacktestError when it cannot be written."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise BacktestError(f"{path}: {error.strerror}", "out") from None
