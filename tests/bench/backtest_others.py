"""Other backtesting libraries on the same bars: each in a process of its own, in a venv made for it and thrown away.

What they run is in backtest_cross.py, a cross of two moving averages as in DoubleMaStrategy. Only the run is timed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from services.quant.backtest.data.dataset import Bars

PACKAGES = {"backtesting.py": "backtesting", "backtrader": "backtrader", "nautilus_trader": "nautilus_trader"}
COLUMNS = ("time_ns", "open", "high", "low", "close", "volume")
_TIMEOUT_S = 600


def measure_others(bars: Bars, reps: int) -> list[dict[str, Any]]:
    """Name, version and bars a second of each; or `error` where it could not be installed or run."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "bars.npz")
        np.savez(data, **{name: getattr(bars, name) for name in COLUMNS})
        return [_measured(Path(folder), name, package, data, reps) for name, package in PACKAGES.items()]


def _measured(folder: Path, name: str, package: str, data: Path, reps: int) -> dict[str, Any]:
    python = folder / package / "bin/python"
    script = Path(__file__).with_name("backtest_cross.py")
    print(f"\r{name}: installing and measuring  ", end="", file=sys.stderr, flush=True)
    try:
        for command in (
            [sys.executable, "-m", "venv", str(python.parents[1])],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, "pandas"],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
        ran = subprocess.run(
            [str(python), str(script), package, str(data), str(reps)],
            check=True, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd=folder,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"name": name, "error": f"{name}: could not be measured: {why}"}
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"{name}: could not be measured within {_TIMEOUT_S} s"}
    return {"name": name, **json.loads(ran.stdout.splitlines()[-1])}
