"""Writing the files of backtests: whole or not at all."""

from pathlib import Path

from services.kernel.atomic_file import write_atomically
from services.quant.backtest.job import BacktestError


def write_output(content: bytes, path: Path) -> None:
    """Write a result's file in one step. Raises BacktestError when it cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror}", "out") from None
