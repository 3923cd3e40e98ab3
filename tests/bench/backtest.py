"""Speed of backtests relative to vnpy's: every shipped strategy and one that does nothing, on bars and on ticks.

    python -m tests.bench.backtest [--bars 60000] [--reps 3] [--only NAME …] [--kind bars] [--with-others] [--json]

vnpy's BacktestingEngine and ours, compiled and pure, take turns on the same rows in one process. The clock is the
process's CPU time, so that what else runs on the machine counts little; it covers the run, the daily results and the
statistics. Before it starts both have their rows in memory, as vnpy's BarData or TickData; `from columns` is ours when
it has to make them, as it does for a single backtest. A time is the median of the repetitions, a ratio the median of
those of each turn. Trades, days, statistics and logs must be the same, else the exit code is 1. `--with-others`
measures backtesting.py, backtrader and nautilus_trader too, see backtest_others.py.
"""

import argparse
import contextlib
import gc
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.engine.replay import Replay
from services.quant.backtest.engine.variant import Variant, variant
from services.quant.backtest.job import TICK, BacktestJob
from services.quant.backtest.run import run_backtest
from services.quant.compile import BACKTEST, is_built
from tests.quant.backtest import generated
from tests.quant.backtest.engine.vnpy_oracle import SHIPPED, same, shipped, vnpy_engine

NO_OP = "no-op"
NAMES = (*SHIPPED, NO_OP)
KINDS = ("bars", "ticks")
VNPY, COMPILED, PURE, COLUMNS = "vnpy", "compiled", "pure", "from columns"
ONE_SESSION = ((9, 0, 240),)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: rows a second, and how many times vnpy's, by contestant."""

    strategy: str
    kind: str
    rows: int
    trades: int
    identical: bool
    per_s: dict[str, float]
    ratio: dict[str, float]


def job_of(kind: str) -> tuple[BacktestJob, Callable[[int], Dataset]]:
    """The settings of vnpy's baseline, and what makes data for them."""
    interval = "1m" if kind == "bars" else TICK
    job = BacktestJob("", "rb2501.SHFE", interval, rate=1e-4, slippage=1, size=10, pricetick=1, capital=1e8)
    return job, (lambda rows: generated.bars(rows, sessions=ONE_SESSION)) if kind == "bars" else generated.ticks


def strategy_class(name: str) -> type:
    """A strategy shipped with vnpy, or one that does nothing."""
    if name != NO_OP:
        return shipped(name)
    from vnpy_ctastrategy import CtaTemplate

    return type("NoOp", (CtaTemplate,), {"on_init": lambda self: None})


def vnpy_run(engine: Any) -> float:
    """Run vnpy's engine; returns its seconds."""
    gc.collect()
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        engine.run_backtesting()
        engine.calculate_result()
        engine.statistics = engine.calculate_statistics(output=False)
    return time.process_time() - began


def our_run(strategy: type, job: BacktestJob, rows: Dataset | Replay, build: Variant) -> tuple[float, Any]:
    """Run our engine; returns its seconds, and its result."""
    gc.collect()
    began = time.process_time()
    result = run_backtest(strategy, job, rows, build=build)
    return time.process_time() - began, result


def compared(name: str, kind: str, job: BacktestJob, data: Dataset, replay: Replay, reps: int) -> Line:
    """One strategy by all of them in turns."""
    strategy = strategy_class(name)
    builds = ((COMPILED, variant("compiled")),) if is_built(BACKTEST) else ()
    contestants: list[tuple[str, Dataset | Replay, Variant]] = [(label, replay, build) for label, build in builds]
    contestants += [(PURE, replay, variant("pure")), (COLUMNS, data, variant())]
    took: dict[str, list[float]] = {label: [] for label in (VNPY, *(label for label, _, _ in contestants))}
    identical = True
    for _ in range(reps):
        engine = vnpy_engine(strategy, job, replay)
        took[VNPY].append(vnpy_run(engine))
        for label, rows, build in contestants:
            elapsed_s, result = our_run(strategy, job, rows, build)
            took[label].append(elapsed_s)
            identical = identical and not result.error and _same(engine, result)
    ratio = {
        label: median(theirs / ours for theirs, ours in zip(took[VNPY], times, strict=True))
        for label, times in took.items()
        if label != VNPY
    }
    per_s = {label: len(data) / median(times) for label, times in took.items()}
    return Line(name, kind, len(data), len(engine.trades), identical, per_s, ratio)


def _same(engine: Any, result: Any) -> bool:
    try:
        same(engine, result)
    except AssertionError as error:
        print(f"\n{error}", file=sys.stderr)
        return False
    return True


def measured(names: Sequence[str], kinds: Sequence[str], rows: int, reps: int) -> Iterator[Line]:
    """The lines of the table, one after the other."""
    for kind in kinds:
        job, made = job_of(kind)
        data = made(rows)
        replay = Replay(data, job.zone)
        replay.rows(0, len(replay))
        for name in names:
            yield compared(name, kind, job, data, replay, reps)


def summary(lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Summary by kind and contestant: the median ratio and the least one, with its strategy."""
    summarized: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(line.kind for line in lines):
        of_kind = [line for line in lines if line.kind == kind]
        summarized[kind] = {}
        for label in of_kind[0].ratio:
            least = min(of_kind, key=lambda line: line.ratio[label])
            middle = median(line.ratio[label] for line in of_kind)
            summarized[kind][label] = {"median": middle, "least": least.ratio[label], "strategy": least.strategy}
    return summarized


def header() -> str:
    """The names of the columns."""
    columns = f"{'strategy':<24}{'kind':<6}{'trades':>7}{'vnpy/s':>11}"
    for label in (COMPILED, PURE, COLUMNS):
        columns += f"{label + '/s':>15}{'times':>8}"
    return columns + "  same"


def shown(line: Line) -> str:
    """A line as text."""
    text = f"{line.strategy:<24}{line.kind:<6}{line.trades:>7}{line.per_s[VNPY]:>11,.0f}"
    for label in (COMPILED, PURE, COLUMNS):
        known = label in line.ratio
        text += f"{line.per_s[label]:>15,.0f}{line.ratio[label]:>7.1f}×" if known else f"{'-':>15}{'-':>8}"
    return text + ("  yes" if line.identical else "  NO")


def shown_summary(summarized: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The medians as text."""
    for kind, by_label in summarized.items():
        for label, one in by_label.items():
            yield f"{kind}, {label}: median {one['median']:.1f}×, least {one['least']:.1f}× ({one['strategy']})"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=60_000, help="rows of each kind")
    parser.add_argument("--reps", type=int, default=3, help="turns")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS, help="bars, ticks or both")
    parser.add_argument("--with-others", action="store_true", help="measure other libraries too; installs them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    if not is_built(BACKTEST):
        print("The compiled core is not built: only the pure one is measured.", file=sys.stderr)
    if not given.json:
        print(header())
    lines: list[Line] = []
    total = len(given.only) * len(given.kind)
    for line in measured(given.only, given.kind, given.bars, given.reps):
        lines.append(line)
        print(f"\r{len(lines)} of {total} measured  ", end="", file=sys.stderr, flush=True)
        if not given.json:
            print(f"\r{shown(line)}", flush=True)
    print("\r", end="", file=sys.stderr)
    summarized = summary(lines)
    others = []
    if given.with_others:
        from tests.bench.backtest_others import measure_others

        others = measure_others(generated.bars(given.bars, sessions=ONE_SESSION), given.reps)
    if given.json:
        print(
            json.dumps({"lines": [asdict(line) for line in lines], "summary": summarized, "others": others}, indent=1)
        )
    else:
        print("\n".join(shown_summary(summarized)))
        for other in others:
            print(other.get("error") or f"{other['name']} {other['version']}: {other['per_s']:,.0f} bars/s")
    return 0 if all(line.identical for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
