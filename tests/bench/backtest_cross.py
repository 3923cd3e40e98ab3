"""A cross of two moving averages (10 and 20 bars) in other libraries, each as its own documentation writes it.

python backtest_cross.py PACKAGE BARS.npz REPS      prints one JSON line: version and bars a second (CPU time)
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

FAST, SLOW = 10, 20


def frame_of(data: Any) -> pd.DataFrame:
    """The bars by time."""
    columns = {name: data[name] for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.to_datetime(data["time_ns"], utc=True))


def backtesting(data: Any) -> Callable[[], object]:
    """backtesting.py: averages computed for all rows before the run."""
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def average(values: Any, length: int) -> Any:
        return pd.Series(values).rolling(length).mean()

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, FAST)
            self.slow = self.I(average, self.data.Close, SLOW)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy(size=1)
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell(size=1)

    frame = frame_of(data).rename(columns=str.capitalize).tz_localize(None)
    return Backtest(frame, Cross, cash=100_000_000, commission=1e-4, finalize_trades=True).run


def backtrader(data: Any) -> Callable[[], object]:
    """backtrader: its own indicators, the broker's default matching."""
    import backtrader as bt

    class Cross(bt.Strategy):
        def __init__(self) -> None:
            fast, slow = (bt.indicators.SimpleMovingAverage(period=length) for length in (FAST, SLOW))
            self.cross = bt.indicators.CrossOver(fast, slow)

        def next(self) -> None:
            if self.cross[0]:
                self.order_target_size(target=1 if self.cross[0] > 0 else -1)

    cerebro = bt.Cerebro()
    cerebro.adddata(bt.feeds.PandasData(dataname=frame_of(data).tz_localize(None)))
    cerebro.addstrategy(Cross)
    cerebro.broker.setcash(100_000_000)
    cerebro.broker.setcommission(commission=1e-4)
    return cerebro.run


def nautilus_trader(data: Any) -> Callable[[], object]:
    """nautilus_trader: bars wrapped from a frame, indicators registered for them, market orders."""
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.indicators import SimpleMovingAverage
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.equity(symbol="RB", venue="SIM")
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")

    class Cross(Strategy):
        def __init__(self) -> None:
            super().__init__(StrategyConfig())
            self.fast, self.slow = SimpleMovingAverage(FAST), SimpleMovingAverage(SLOW)
            self.side = 0

        def on_start(self) -> None:
            self.register_indicator_for_bars(bar_type, self.fast)
            self.register_indicator_for_bars(bar_type, self.slow)
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Bar) -> None:
            if not self.indicators_initialized():
                return
            side = 1 if self.fast.value > self.slow.value else -1
            if side == self.side:
                return
            order_side = OrderSide.BUY if side > 0 else OrderSide.SELL
            quantity = instrument.make_qty(Decimal(1 if self.side == 0 else 2))
            self.side = side
            self.submit_order(self.order_factory.market(instrument.id, order_side, quantity))

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("SIM"),
        OmsType.NETTING,
        AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(100_000_000, USD)],
    )
    engine.add_instrument(instrument)
    engine.add_data(BarDataWrangler(bar_type, instrument).process(frame_of(data)))
    engine.add_strategy(Cross())
    return engine.run


def main() -> None:
    """Measure one."""
    package, path, reps = sys.argv[1:]
    data = np.load(path)
    times = []
    for _ in range(int(reps)):
        run = globals()[package](data)
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    rate = len(data["close"]) / statistics.median(times)
    print(json.dumps({"version": version(package), "per_s": rate}))


if __name__ == "__main__":
    main()
