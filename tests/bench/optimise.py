"""Speed of a grid search relative to vnpy's `run_bf_optimization`: the same bars, points and number of processes.

    python -m tests.bench.optimise [--bars 60000] [--workers 2] [--repeat 1]

vnpy's workers load the bars from its SQLite database, which is filled before its clock starts; ours map a file, which
is written while ours runs. Both clocks include the starting of processes. Both must find the same values.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.optimise import Space, run_optimisation
from tests.quant.backtest import generated

RANGES = {"fast_window": (2, 20, 2), "slow_window": (15, 110, 5)}
TARGET = "total_net_pnl"
CLASS = "DoubleMaStrategy"
SETTINGS = {"database.timezone": "Asia/Shanghai", "log.file": False, "log.console": False, "log.active": False}
COLUMNS = ("time_ns", "open", "high", "low", "close", "volume", "turnover", "open_interest")


def vnpy_search(data: Bars, workers: int, ranges: dict[str, tuple[int, int, int]], target: str = TARGET) -> Any:
    """Result of vnpy's run_bf_optimization: elapsed_s, and points [parameters, value], best first."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, ".vntrader")
        home.mkdir()
        (home / "vt_setting.json").write_text(json.dumps(SETTINGS))
        np.savez(Path(folder, "data.npz"), **{name: getattr(data, name) for name in COLUMNS})
        script = Path(__file__).with_name("optimise_vnpy.py")
        command = [sys.executable, str(script), "data.npz", str(workers), CLASS, target, json.dumps(ranges)]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(ran.stderr)
        return json.loads(ran.stdout.splitlines()[-1])


def our_search(data: Bars, workers: int, ranges: dict[str, tuple[int, int, int]], target: str = TARGET) -> Any:
    """The same, ours."""
    job = BacktestJob(CLASS, "rb2501.SHFE", "1m", rate=1e-4, slippage=1, size=10, pricetick=1, capital=100_000_000)
    space = Space.parse(f"{name}={start}:{end}:{step}" for name, (start, end, step) in ranges.items())
    began = time.perf_counter()
    optimisation = run_optimisation(None, job, data, space, target, workers=workers)
    elapsed = time.perf_counter() - began
    assert not optimisation.failures
    return {"elapsed_s": elapsed, "points": [[dict(point.parameters), point.value] for point in optimisation.points]}


def same(theirs: Any, ours: Any) -> bool:
    """Both have the same points in the same order, with the same values."""
    pairs = zip(theirs["points"], ours["points"], strict=True)
    return all(a[0] == b[0] and math.isclose(a[1], b[1], rel_tol=1e-9, abs_tol=1e-9) for a, b in pairs)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=60_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    data = generated.bars(given.bars)
    print(f"{CLASS}, 200 points, {given.bars:,} bars, {given.workers} workers")
    print(f"{'vnpy, s':>10}{'RedFire, s':>12}{'times':>8}  same points")
    for _ in range(given.repeat):
        ours, theirs = our_search(data, given.workers, RANGES), vnpy_search(data, given.workers, RANGES)
        ratio = theirs["elapsed_s"] / ours["elapsed_s"]
        equal = "yes" if same(theirs, ours) else "NO"
        print(f"{theirs['elapsed_s']:>10.2f}{ours['elapsed_s']:>12.2f}{ratio:>8.2f}  {equal}", flush=True)


if __name__ == "__main__":
    main()
