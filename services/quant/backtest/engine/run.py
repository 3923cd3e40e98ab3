"""One run over rows: the strategy's callbacks on a core, its fills and the days' last prices."""

import gc
import time
import traceback
from collections.abc import Callable
from datetime import date, datetime
from datetime import time as clock
from typing import Any

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.engine.overrides import overridden, replaced
from services.quant.backtest.engine.replay import Replay
from services.quant.backtest.engine.variant import Variant
from services.quant.backtest.engine.warm_up import WarmUp
from services.quant.backtest.execution.fill_model import Models
from services.quant.backtest.execution.fills import Fills
from services.quant.backtest.job import TICK, BacktestError, BacktestJob

OnRows = Callable[[int, int], None]
"""Called with the number of rows that are done, and of all."""
_REPORT_EVERY_S = 0.02
_COLLECT_EVERY_S = 1.0


def check_parameters(strategy_class: Any, job: BacktestJob) -> None:
    """Raises BacktestError that names the parameters which the class does not have."""
    known = list(getattr(strategy_class, "parameters", ()))
    unknown = [name for name in job.parameters if name not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise BacktestError(f"{strategy_class.__name__} has no parameter {', '.join(unknown)}: {has}", "parameters")


def replay_of(job: BacktestJob, data: Dataset | Replay) -> Replay:
    """The data as rows in the job's zone. Raises BacktestError where they do not fit the job."""
    if isinstance(data, Replay):
        if data.zone != job.zone or data.symbol != job.symbol:
            raise BacktestError(f"the rows are of {data.symbol} in {data.zone}, not {job.symbol} in {job.timezone}")
        replay = data
    else:
        replay = Replay(data, job.zone, keep=False, symbol=job.symbol)
    if replay.interval != job.interval:
        kind = "ticks" if replay.interval == TICK else f"{replay.interval} bars"
        raise BacktestError(f"the data are {kind}, not {job.interval}", "interval")
    if not len(replay):
        raise BacktestError("the data have no rows", "data")
    return replay


class Run:
    """One run over rows, with all that it collects. The strategy may be any object with CtaTemplate's callbacks, `pos`,
    `inited` and `trading`."""

    def __init__(self, job: BacktestJob, replay: Replay, models: Models, build: Variant) -> None:
        self.job = job
        self.replay = replay
        self.models = models
        start = datetime.combine(job.start or replay.first_day(), clock(), job.zone)
        end = datetime.combine(job.end or max(replay.last_day(), start.date()), clock(23, 59, 59), job.zone)
        # vnpy's end is 23:59:59; ticks of the second after it are no row of the day either.
        self.low, self.high = replay.between(start, end)
        if self.low == self.high:
            raise BacktestError(
                f"there are no rows from {start.date()} to {end.date()}: "
                f"the data are from {replay.first_day()} to {replay.last_day()}",
                "start_time",
            )
        self.core = build.core(
            job.symbol, replay.is_bars, start, end, job.rate, job.slippage, job.size, job.pricetick, job.capital,
            WarmUp(replay), models.fill,
        )  # fmt: skip
        # vnpy's results count dates of the clock, where a night is the day's before it; ours count trading days.
        self.trading_days = job.fill != "vnpy" and job.is_intraday
        self.fills = Fills(job.zone, job.size, models.fee, job.symbol if self.trading_days else "")
        self.closes: dict[date, float] = {}
        self.done = 0
        self.error = ""

    def created(self, strategy_class: Any) -> Any:
        """The strategy, or None when its __init__ raises."""
        try:
            return strategy_class(self.core, strategy_class.__name__, self.job.symbol, dict(self.job.parameters))
        except Exception:
            self.error = traceback.format_exc()
            return None

    def play(self, strategy: Any, progress: OnRows | None) -> None:
        """Play all rows to the strategy; what it raises ends the run and goes into `error`."""
        core = self.core
        core.strategy = strategy
        try:
            strategy.on_init()
            strategy.inited = True
            strategy.on_start()
            strategy.trading = True
        except Exception:
            self.error = traceback.format_exc()
            return
        name = "on_bar" if self.replay.is_bars else "on_tick"
        on_row = getattr(strategy, name) if overridden(strategy, name) else None
        core.notify_orders = overridden(strategy, "on_order")
        core.notify_stops = overridden(strategy, "on_stop_order")
        core.notify_trades = overridden(strategy, "on_trade")
        core.plain_orders = not replaced(strategy, "send_order")
        pace = _Pace(progress, self.high - self.low)
        at = self.low
        while at < self.high:
            stop = min(self.high, at + pace.rows)
            rows = self.replay.rows(at, stop)
            try:
                core.replay(rows, on_row)
            except Exception:
                self.error = traceback.format_exc()
                self._close(at, rows, next((i for i, row in enumerate(rows) if row is core.row), 0))
                return
            self._close(at, rows, len(rows))
            at = stop
            pace.advance(stop - self.low)
        try:
            strategy.on_stop()
        except Exception:
            self.error = traceback.format_exc()
        self.fills.extend(core.take_fills())
        pace.end()

    def _close(self, at: int, rows: list[Any], done: int) -> None:
        """`done` of the rows from number `at` on are played: the last price of each day, the trades."""
        self.fills.extend(self.core.take_fills())
        for day, _, stop in self.replay.days(at, at + done, trading=self.trading_days):
            row = rows[stop - at - 1]
            self.closes[day] = row.close_price if self.replay.is_bars else row.last_price


class _Pace:
    """The pace of a run: rows between looks at the clock, and progress and collections that are due then."""

    def __init__(self, progress: OnRows | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._reported = self._collected = self._seen = time.perf_counter()
        self.rows = 64

    def advance(self, done: int) -> None:
        """`done` rows are played."""
        now = time.perf_counter()
        took, self._seen = now - self._seen, now
        if took < _REPORT_EVERY_S / 4:
            self.rows = min(self.rows * 2, 4096)
        elif took > _REPORT_EVERY_S:
            self.rows = max(self.rows // 2, 1)
        if self._progress and now - self._reported >= _REPORT_EVERY_S and done < self._total:
            self._reported = now
            self._progress(done, self._total)
        if now - self._collected >= _COLLECT_EVERY_S:
            gc.collect(1)
            self._collected = time.perf_counter()

    def end(self) -> None:
        """All rows are played."""
        if self._progress:
            self._progress(self._total, self._total)
