"""Running one backtest: a strategy class, a job and data in; trades, days and statistics out."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.quant.backtest.analysis.daily import daily_results, with_balance
from services.quant.backtest.analysis.diagnostics import diagnose
from services.quant.backtest.analysis.performance import extra_statistics
from services.quant.backtest.analysis.statistics import vnpy_statistics
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.engine import native
from services.quant.backtest.engine.replay import Replay
from services.quant.backtest.engine.run import OnRows, Run, check_parameters, replay_of
from services.quant.backtest.engine.substitution import substituted
from services.quant.backtest.engine.variant import Variant
from services.quant.backtest.execution.models import models_for
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.result import BacktestResult
from services.quant.sdk.strategy_class import Family, family_of
from services.quant.sdk.values import plain


def run_backtest(
    strategy_class: type,
    job: BacktestJob,
    data: Dataset | Replay,
    *,
    progress: OnRows | None = None,
    build: Variant | None = None,
) -> BacktestResult:
    """Run a strategy over data. Raises BacktestError for what cannot be run; a strategy that raises ends its run, with
    the traceback in the result's `error`.

    `progress(rows_done, rows_total)` is called at most about 50 times a second and at the end; what it raises ends the
    run and goes to the caller. A Replay in place of the data lets many runs share its rows.
    """
    family = family_of(strategy_class)
    if family not in (Family.NATIVE, Family.VNPY_CTA):
        raise BacktestError(f"{strategy_class.__name__} is not a strategy class", "class_name")
    check_parameters(strategy_class, job)
    if family is Family.NATIVE:
        native.check_values(strategy_class, job)
    replay = replay_of(job, data)
    with substituted(build) as chosen:
        run = Run(job, replay, models_for(job), chosen)
        strategy = run.created(
            native.creator(strategy_class, job, replay) if family is Family.NATIVE else strategy_class
        )
        return finish(run, strategy, progress)


def finish(run: Run, strategy: Any, progress: OnRows | None) -> BacktestResult:
    """Play all rows of a run, then count up; `strategy` is what `run.created` returned."""
    with _without_collector():
        began = time.perf_counter()
        if strategy is not None:
            run.play(strategy, progress)
        return _result(run, strategy, time.perf_counter() - began)


def _result(run: Run, strategy: Any, elapsed_s: float) -> BacktestResult:
    job, models = run.job, run.models
    days = daily_results(run.closes, run.fills, job.size, models.fee, models.slippage)
    days = with_balance(days, job.capital)
    extra = extra_statistics(job, days, run.fills)
    return BacktestResult(
        job=job,
        trades=run.fills,
        days=days,
        statistics=vnpy_statistics(job, days) | extra,
        diagnostics=diagnose(run, strategy, days),
        findings=run.replay.data.findings,
        logs=list(run.core.logs),
        row_count=run.high - run.low,
        order_count=run.core.sent_count,
        elapsed_s=elapsed_s,
        variables=_variables(strategy),
        error=run.error,
    )


@contextmanager
def _without_collector() -> Iterator[None]:
    """The cyclic collector costs a third of a run; `_Pace` calls it now and then instead.

    A caller of many runs has switched it off, frozen what stays, and collects between them: that is its to keep.
    (Asking how much is frozen would walk through all of it.)
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def _variables(strategy: Any) -> dict[str, object]:
    try:
        return {name: plain(value) for name, value in strategy.get_variables().items()}
    except Exception:
        return {}
