"""The work of a job's process: import the class, load the data, run, and write the results into the job's folder."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.kernel.decimals import plain
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import BacktestResult, Day, Fill
from services.quant.calendar.days import to_number
from services.quant.sdk.loading import Loader
from services.strategy.jobs import datasets
from services.strategy.jobs.execution.folder import DAYS, LANGUAGES, POINTS, TRADES, JobFolder, Outcome
from services.strategy.jobs.execution.job_spec import JobSpec
from services.strategy.jobs.job import Failure, Kind, Range, Setup

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINES = 1000
_LINE = 1000
_SENTENCES = 100
_BEST = 10
_POINTS = 100_000
_NO_LOOKAHEAD = "No look-ahead was found: signals are the same on shortened data."
Report = Callable[[int, int], None]


def run_job(
    spec: JobSpec,
    folder: JobFolder,
    report: Report,
    printed: Callable[[], list[str]],
    should_stop: Callable[[], bool],
) -> Outcome:
    """The whole job; an optimisation ends early, with the points so far, when `should_stop` says so.

    Raises whatever user code raises, and BacktestError.
    """
    setup = Setup.from_json(spec.setup)
    strategies = Path(spec.strategies_dir) if spec.strategies_dir else None
    data = datasets.load(Path(spec.data_dir), setup)
    if spec.kind == Kind.OPTIMIZATION:
        return _optimise(strategies, setup, data, spec, folder, report, should_stop)
    return _backtest(Loader(strategies).load(setup.class_name), setup, data, folder, report, printed)


def _backtest(
    strategy_class: type,
    setup: Setup,
    data: Any,
    folder: JobFolder,
    report: Report,
    printed: Callable[[], list[str]],
) -> Outcome:
    from services.quant.backtest.report import render_report
    from services.quant.backtest.run import run_backtest

    job = setup.backtest_job()
    rounds = 2 if setup.check_lookahead else 1
    report(0, len(data) * rounds)
    result = run_backtest(strategy_class, job, data, progress=lambda done, total: report(done, total * rounds))
    if setup.check_lookahead and not result.error:
        # What takes its time is the shortened data: how many rows that are it alone knows.
        from services.quant.backtest.analysis.lookahead import check_lookahead

        seen = check_lookahead(
            strategy_class, job, data, progress=lambda done, total: report(*_second(done, total, len(data)))
        )
        diagnostics = (*result.diagnostics, *(seen or [_NO_LOOKAHEAD]))
        result = replace(result, diagnostics=diagnostics)
    folder.write_rows(TRADES, [_fill_row(fill, result.job) for fill in result.trades])
    folder.write_rows(DAYS, [_day_row(day) for day in result.days])
    summary = _summary(result, printed())
    detail = result.error.strip()
    line = detail.rpartition("\n")[2]
    if line.startswith("MemoryError"):
        line = "the strategy asked for more memory than there is for it"
        return Outcome(Failure.OUT_OF_MEMORY, line, detail, summary)
    for lang in LANGUAGES:
        folder.write_report(lang, render_report(result, data, lang=lang))
    return Outcome(Failure.STRATEGY_RAISED if detail else Failure.NONE, line, detail, summary)


def _second(done: int, total: int, rows: int) -> tuple[int, int]:
    """Progress of the second of two rounds, as rows."""
    return rows + (rows * done // total if total else 0), rows * 2


def _optimise(
    strategies: Path | None,
    setup: Setup,
    data: Any,
    spec: JobSpec,
    folder: JobFolder,
    report: Report,
    should_stop: Callable[[], bool],
) -> Outcome:
    from services.quant.backtest.optimise import Axis, Space, run_optimisation
    from services.quant.backtest.report import prepare, render_optimisation

    prepare()  # now, since a cancel does not wait
    assert setup.search is not None
    search = setup.search
    result = run_optimisation(
        strategies,
        setup.backtest_job(),
        data,
        Space(tuple(Axis.parse(_axis(item)) for item in search.ranges)),
        search.target,
        search.method,
        workers=spec.workers,
        progress=lambda now: report(now.done, now.total),
        point_timeout_s=spec.point_timeout_s,
        should_stop=should_stop,
    )
    varied = {item.name for item in search.ranges}
    rows = [_point_row(point.parameters, varied, point.value, point.statistics, "") for point in result.points]
    rows += [_point_row(failure.parameters, varied, None, {}, failure.error) for failure in result.failures]
    texts = [
        {**row, "parameters": json.dumps(row["parameters"]), "statistics": json.dumps(row["statistics"])}
        for row in rows[:_POINTS]
    ]
    folder.write_rows(POINTS, texts)
    outcome = Outcome(result={"best": rows[:_BEST], "point_count": len(rows)})
    if result.stopped:
        folder.write_outcome(outcome)  # there may be no time for more
    for lang in LANGUAGES:
        folder.write_report(lang, render_optimisation(result, lang))
    return outcome


def _summary(result: BacktestResult, printed: Sequence[str]) -> dict[str, Any]:
    logs = [line[:_LINE] for line in (*result.logs, *printed)]
    if len(logs) > _LINES:
        half = _LINES // 2
        logs = [*logs[:half], f"… {len(logs) - 2 * half} lines …", *logs[-half:]]
    return {
        "statistics": _json(result.statistics),
        "diagnostics": [sentence[:_LINE] for sentence in result.diagnostics[:_SENTENCES]],
        "findings": [
            {"kind": finding.kind, "count": finding.count, "sentence": finding.sentence[:_LINE]}
            for finding in result.findings[:_SENTENCES]
        ],
        "logs": logs,
        "variables": _json(result.variables),
        "trade_count": len(result.trades),
    }


def _fill_row(fill: Fill, job: BacktestJob) -> dict[str, Any]:
    delta = fill.time - _EPOCH
    micros = (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    numbers = {name: float(getattr(fill, name)) for name in ("price", "volume", "commission")}
    return {**asdict(fill), **numbers, "time_ns": micros * 1000, "trading_day": to_number(job.trading_day(fill.time))}


def _day_row(day: Day) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in asdict(day).items() if name != "date"}
    return {**numbers, "date": day.date.isoformat(), "trade_count": int(day.trade_count)}


def _point_row(
    parameters: Mapping[str, Any], varied: set[str], value: float | None, statistics: Mapping[str, Any], error: str
) -> dict[str, Any]:
    shown = {name: parameter for name, parameter in parameters.items() if name in varied}
    target = float(value) if value is not None and math.isfinite(value) else None
    return {"parameters": _json(shown), "target": target, "statistics": _json(statistics), "error": error[:_LINE]}


def _axis(item: Range) -> str:
    first, last, step = (plain(Decimal(repr(value))) for value in (item.start, item.stop, item.step))
    return f"{item.name}={first}:{last}:{step}"


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them, dates as text, everything else as it shows itself."""
    return {str(name)[:_LINE]: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()  # of numpy
    match value:
        case None | bool():
            return value
        case int() | float():
            return value if math.isfinite(value) and abs(value) < 1e300 else None
        case date():
            return value.isoformat()
    return str(value)[:_LINE]
