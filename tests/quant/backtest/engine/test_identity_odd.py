"""The same as vnpy's engine where strategies and data are odd: what no shipped strategy does."""

import random
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from vnpy.trader.constant import Direction, Interval, Offset
from vnpy_ctastrategy import BarGenerator, CtaTemplate

from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.engine.variant import variant
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from tests.quant.backtest import generated
from tests.quant.backtest.builds import BUILDS
from tests.quant.backtest.engine.vnpy_oracle import same, shipped, vnpy_run


class Restless(CtaTemplate):
    """Sends several orders of every kind at once, and cancels and sends in the middle of callbacks."""

    parameters = ["seed", "use_database"]  # noqa: RUF012 — as vnpy has it
    seed = 1
    use_database = False

    def on_init(self):
        self.random = random.Random(self.seed)
        self.seen = []
        self.depth = 0
        self.load_bar(3, Interval.MINUTE, self.on_warm_up, self.use_database)

    def on_warm_up(self, bar):
        self.write_log(f"warm {bar.datetime} {bar.close_price}")

    def on_bar(self, bar):
        self.act(bar.close_price, bar.high_price, bar.low_price)

    def on_tick(self, tick):
        self.act(tick.last_price, tick.ask_price_1, tick.bid_price_1)

    def act(self, price, high, low):
        draw = self.random
        for _ in range(draw.randrange(4)):
            send = draw.choice([self.buy, self.sell, self.short, self.cover])
            at = draw.choice([price, high, low, price + 2.3, price - 2.7])
            self.seen += send(at, draw.choice([1, 2, 0.5]), stop=draw.random() < 0.5)
        if draw.random() < 0.1:
            self.cancel_all()
        if self.seen and draw.random() < 0.3:
            self.cancel_order(draw.choice(self.seen))  # often one that rests no more
        if draw.random() < 0.02:
            self.seen += self.send_order(Direction.LONG, Offset.CLOSETODAY, price, 1, False, True, True)

    def on_order(self, order):
        self.write_log(f"{order.vt_orderid} {order.status.name} {order.traded} {order.price} {order.datetime}")
        if self.random.random() < 0.05:
            self.cancel_all()

    def on_stop_order(self, stop_order):
        self.write_log(
            f"{stop_order.stop_orderid} {stop_order.status.name} {stop_order.vt_orderids} {stop_order.price}"
        )
        if self.seen and self.depth < 3 and self.random.random() < 0.05:
            self.depth += 1
            self.cancel_order(self.seen[-1])
            self.depth -= 1

    def on_trade(self, trade):
        self.write_log(f"{trade.vt_tradeid} {trade.vt_orderid} {trade.price} {trade.datetime} {self.pos}")
        if self.random.random() < 0.1:
            self.seen += self.buy(trade.price, 1, stop=self.random.random() < 0.5)


class Windows(CtaTemplate):
    """Looks at the growing bars of its generators, and trades at the window's close."""

    def on_init(self):
        self.windows = [BarGenerator(self.on_bar, width, self.on_window) for width in (2, 15)]
        self.hours = BarGenerator(self.on_bar, 1, self.on_window, Interval.HOUR)

    def on_tick(self, tick):
        self.windows[0].update_tick(tick)
        if tick.datetime.second == 30 and self.windows[0].bar:
            self.write_log(f"growing {self.windows[0].bar}")

    def on_bar(self, bar):
        for window in (*self.windows, self.hours):
            window.update_bar(bar)
        if bar.datetime.minute % 7 == 0:
            self.write_log(f"{self.windows[1].window_bar} {self.hours.hour_bar}")

    def on_window(self, bar):
        self.write_log(f"{bar}")
        (self.buy if bar.close_price > bar.open_price else self.short)(bar.close_price, 1)


class Failing(CtaTemplate):
    """Raises in the middle of a run, in the callback of a trade."""

    def on_init(self):
        pass

    def on_bar(self, bar):
        self.buy(bar.close_price + 1, 1)

    def on_trade(self, trade):
        if trade.tradeid == "20":
            raise ValueError(trade.tradeid)


def check(strategy_class: type, job: BacktestJob, data) -> None:
    engine = vnpy_run(strategy_class, job, data)
    for build in BUILDS:
        result = run_backtest(strategy_class, job, data, build=variant(build))
        assert not result.error
        same(engine, result)
    assert engine.trades


def moved(bars: Bars, by: float) -> Bars:
    return replace(bars, **{name: getattr(bars, name) + by for name in ("open", "high", "low", "close")})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("use_database", [True, False])
def test_orders_of_all_kinds_sent_and_cancelled_in_callbacks(seed: int, use_database: bool):
    data = generated.bars(days=8, sessions=generated.ODD, seed=seed, gaps=0.1, limit_days=0.3)
    parameters = {"seed": seed, "use_database": use_database}
    check(Restless, BacktestJob("", data.symbol, "1m", parameters, start=date(2020, 1, 5), capital=1e8), data)


def test_orders_of_all_kinds_on_ticks():
    check(Restless, BacktestJob("", "rb2501.SHFE", "tick", {"seed": 5}, capital=1e8), generated.ticks(3000))


@pytest.mark.parametrize("by", [-3500.0, -6000.0])
def test_prices_at_and_below_zero(by: float):
    data = moved(generated.bars(days=4, noise=3.0), by)
    job = BacktestJob("", data.symbol, "1m", {"seed": 9}, capital=1e8, pricetick=0.2)
    check(Restless, job, data)


def test_bars_without_volume_and_windows_of_several_widths():
    data = generated.bars(days=6, sessions=generated.NIGHT, gaps=0.05)
    data = replace(data, volume=np.where(np.arange(len(data)) % 3 == 0, 0.0, data.volume))
    check(Windows, BacktestJob("", data.symbol, "1m", capital=1e8), data)


def test_bars_made_of_ticks_that_are_looked_at_while_they_grow():
    check(Windows, BacktestJob("", "rb2501.SHFE", "tick", capital=1e8), generated.ticks(6000))


def test_a_strategy_that_raises_keeps_what_vnpy_keeps():
    data = generated.bars(days=2)
    job = BacktestJob("", data.symbol, "1m", capital=1e8)
    for build in BUILDS:
        result = run_backtest(Failing, job, data, build=variant(build))
        assert "ValueError: 20" in result.error
        assert len(result.trades) == 19  # vnpy counts a trade of a limit order after on_trade


def test_all_but_flat_prices_in_fractions_of_a_unit():
    """TA-Lib's CCI takes for zero what is not exactly zero."""
    data = generated.bars(days=3, sessions=generated.ODD, seed=341, noise=0.3, tick=0.2)
    windows = {"rsi_window": 2, "cci_window": 2, "slow_window": 2}
    job = BacktestJob("", data.symbol, "1m", windows, pricetick=0.2, start=date(2020, 1, 3), capital=1e8)
    check(shipped("MultiSignalStrategy"), job, data)
