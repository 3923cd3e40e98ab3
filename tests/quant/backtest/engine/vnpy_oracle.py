"""The same backtest by vnpy's own BacktestingEngine: what ours is compared with."""

import contextlib
import io
import math
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.engine.replay import Replay, vnpy_interval
from services.quant.backtest.job import TICK, BacktestJob
from services.quant.backtest.result import BacktestResult

SHIPPED = (
    "AtrRsiStrategy", "BollChannelStrategy", "DoubleMaStrategy", "DualThrustStrategy", "KingKeltnerStrategy",
    "MultiSignalStrategy", "MultiTimeframeStrategy", "TestStrategy", "TurtleSignalStrategy",
)  # fmt: skip


def shipped(name: str) -> type:
    from services.quant.sdk.loading import Loader

    return Loader(None).load(name)


def vnpy_engine(strategy_class: type, job: BacktestJob, replay: Replay) -> Any:
    """vnpy's engine with everything set as the job says, rows from `replay` in place of its database."""
    from vnpy_ctastrategy import backtesting

    first, last = replay.first_day(), replay.last_day()
    start = datetime.combine(job.start or first, datetime.min.time(), job.zone)
    end = datetime.combine(job.end or last, datetime.min.time(), job.zone)
    engine = backtesting.BacktestingEngine()
    engine.output = lambda msg: None
    engine.set_parameters(
        vt_symbol=job.symbol, interval=vnpy_interval(job.interval), start=start, end=end, rate=job.rate,
        slippage=job.slippage, size=job.size, pricetick=job.pricetick, capital=job.capital, risk_free=job.risk_free,
        annual_days=job.annual_days, half_life=job.half_life,
        mode=backtesting.BacktestingMode.TICK if job.interval == TICK else backtesting.BacktestingMode.BAR,
    )  # fmt: skip
    every = replay.rows(0, len(replay))

    def load(symbol: str, exchange: Any, interval: Any, low: datetime, high: datetime) -> list[Any]:
        if f"{symbol}.{exchange.value}" != job.symbol or interval is not vnpy_interval(job.interval):
            return []
        return [row for row in every if low <= row.datetime <= high]

    engine.load_bar = lambda vt_symbol, days, interval, callback, use_database: load(
        *vt_symbol.rsplit(".", 1)[:1],
        _exchange(vt_symbol),
        interval,
        start - timedelta(days=days),
        start - backtesting.INTERVAL_DELTA_MAP[interval],
    )
    engine.load_tick = lambda vt_symbol, days, callback: load(
        vt_symbol.rsplit(".", 1)[0],
        _exchange(vt_symbol),
        vnpy_interval(TICK),
        start - timedelta(days=days),
        start - timedelta(seconds=1),
    )
    engine.history_data = [row for row in every if start <= row.datetime <= engine.end]
    engine.add_strategy(strategy_class, dict(job.parameters))
    return engine


def _exchange(vt_symbol: str) -> Any:
    from vnpy.trader.constant import Exchange

    return Exchange(vt_symbol.rsplit(".", 1)[1])


def vnpy_run(strategy_class: type, job: BacktestJob, data: Dataset) -> Any:
    """The engine after the run and both calculations."""
    engine = vnpy_engine(strategy_class, job, Replay(data, job.zone, symbol=job.symbol))
    with contextlib.redirect_stdout(io.StringIO()):
        engine.run_backtesting()
        engine.calculate_result()
        engine.statistics = engine.calculate_statistics(output=False)
    return engine


def same(engine: Any, result: BacktestResult) -> None:
    """Asserts that both have the same: trades, days, statistics and logs."""
    theirs = [
        (t.tradeid, t.orderid, t.datetime, t.direction.name, t.offset.name, t.price, t.volume)
        for t in engine.trades.values()
    ]
    ours = [(f.trade_id, f.order_id, f.time, f.direction, f.offset, f.price, f.volume) for f in result.trades]
    assert len(ours) == len(theirs)
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert mine == other, f"trade {index}"
    assert result.order_count + sum(s.status.name == "TRIGGERED" for s in engine.stop_orders.values()) == (
        engine.limit_order_count + engine.stop_order_count
    )
    same_days(engine, result)
    same_statistics(engine.statistics, result.statistics)
    assert [_timeless(line) for line in result.logs] == [_timeless(line) for line in engine.logs]


def _timeless(line: str) -> str:
    return line if "耗时" not in line else line.split("耗时")[0]  # TestStrategy logs how long it took


def same_days(engine: Any, result: BacktestResult) -> None:
    frame = engine.daily_df
    rows = frame.reset_index().to_dict("records") if len(frame) else []
    assert len(rows) == len(result.days)
    for theirs, mine in zip(rows, result.days, strict=True):
        for name, value in asdict(mine).items():
            other = theirs["return" if name == "daily_return" else name]
            assert close(value, other), f"{mine.date} {name}: {value} is not {other}"


def same_statistics(theirs: dict[str, Any], ours: Any) -> None:
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, other in theirs.items():
        value = other.item() if hasattr(other, "item") else other
        assert close(ours[name], value), f"{name}: {ours[name]} is not {value}"


def close(mine: Any, other: Any) -> bool:
    if isinstance(other, str | date):
        return bool(mine == other)
    if math.isnan(other):
        return math.isnan(mine)
    return math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-9)
