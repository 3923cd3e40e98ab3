"""The same strategy on the same recorded ticks: live on SIM, and in a backtest with fill "sim"."""

import csv
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from vnpy_ctastrategy import CtaTemplate

from services.quant.backtest.data.dataset import first_rows
from services.quant.backtest.job import TICK, BacktestJob
from services.quant.backtest.result import BacktestResult
from services.quant.backtest.run import run_backtest
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.events import Order, Tick, Trade
from services.quant.sdk.moving_average import MovingAverageStrategy
from tests.quant.backtest.engine.live import Made, live_trades
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.recordings import IF, if_ticks
from tests.recorded_days import recorded

pytestmark = pytest.mark.slow

SYMBOL = "IF2101.CFFEX"
JOB: Mapping[str, Any] = {"rate": 0.0, "size": 300, "pricetick": 0.2, "fill": "sim"}


def shortened(folder: Path, count: int) -> Path:
    """The first ticks of the recording, as a file of its own."""
    file = folder / "ticks.csv"
    with gzip.open(recorded(IF), "rt", newline="") as whole:
        rows = [row for row, _ in zip(csv.reader(whole), range(count + 1), strict=False)]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return file


def backtested(strategy_class: type, count: int, capital: float, parameters: Mapping[str, Any]) -> BacktestResult:
    job = BacktestJob(strategy_class.__name__, SYMBOL, TICK, parameters, capital=capital, **JOB)
    result = run_backtest(strategy_class, job, first_rows(if_ticks(), count))
    assert not result.error, result.error
    return result


class QuotingStrategy(CtaTemplate):
    """Rests on both sides, cancels, crosses the spread, takes more than a level shows, and protects itself by stops."""

    def on_init(self) -> None:
        self.count = 0

    def on_tick(self, tick: Any) -> None:
        self.count += 1
        if self.count % 7:
            return
        phase = self.count // 7 % 8
        if phase == 0:
            self.cancel_all()
        if phase in (1, 5):
            self.buy(tick.bid_price_1, 1)
        elif phase == 2 and self.pos < 3:
            self.buy(tick.ask_price_1 + 0.2, 2)
        elif phase == 3 and self.pos > 0:
            self.sell(tick.ask_price_1, 1)
            self.sell(tick.last_price - 1.0, 1, stop=True)
        elif phase == 4:
            self.short(tick.ask_price_1 + 0.4, 1)
        elif phase == 6 and self.pos > 0:
            self.sell(tick.bid_price_1 - 0.4, abs(self.pos))
        elif phase == 7:
            self.cover(tick.ask_price_1, 1)

    def on_trade(self, trade: Any) -> None:
        if trade.offset.name == "OPEN" and trade.volume > 1:
            self.sell(trade.price + 1.0, 1)


class TakingStrategy(BaseStrategy):
    """Market orders larger than the first level, orders from fills, and closes of more than it holds."""

    bar_seconds = 5

    async def initialize(self) -> None:
        self.count = 0
        self.working = ""

    async def on_tick(self, tick: Tick) -> None:
        self.count += 1
        if self.count % 40 == 5:
            await self.buy(None, 2)
        elif self.count % 40 == 15 and self.working:
            await self.cancel(self.working)
        elif self.count % 40 == 25:
            await self.sell(tick.bid - 0.4, self.position + (1 if self.count % 80 == 25 else 0))
        elif self.count % 40 == 35:
            await self.cancel_all()
            await self.short(tick.ask, 1)

    async def on_trade(self, trade: Trade) -> None:
        if trade.effect == "OPEN" and trade.side == "BUY":
            self.working = await self.sell(trade.price + 0.8, trade.quantity)
        elif trade.effect == "OPEN":
            await self.cover(None, trade.quantity)

    async def on_order(self, order: Order) -> None:
        if not order.is_open and order.client_order_id == self.working:
            self.working = ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("strategy_class", "count", "capital", "parameters", "least"),
    [
        (shipped("TestStrategy"), 200, 1e6, {}, 2),
        (QuotingStrategy, 1500, 1e9, {}, 60),
        (MovingAverageStrategy, 1500, 1e6, {"fast_window": 3, "slow_window": 6}, 40),
        (TakingStrategy, 1500, 5e5, {}, 60),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_live_on_sim_and_in_a_backtest_a_strategy_makes_the_same_trades(
    strategy_class, count, capital, parameters, least, tmp_path, monkeypatch
):
    file = shortened(tmp_path, count)
    live, _, ticks = await live_trades(monkeypatch, strategy_class, file, SYMBOL, capital, **parameters)
    assert ticks == count
    result = backtested(strategy_class, count, capital, parameters)
    simulated = [Made(fill.time, fill.direction, fill.offset, fill.price, fill.volume) for fill in result.trades]
    assert simulated == live
    assert len(simulated) >= least
