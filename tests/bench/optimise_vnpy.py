"""vnpy's side of the optimisation bench: run by `optimise.py` in a folder with a `.vntrader`, prints one JSON line.

    python optimise_vnpy.py DATA.npz WORKERS CLASS TARGET '{"fast_window": [2, 20, 2], …}'

Nothing but vnpy is imported here, and only where it is used: its worker processes import this file again.
"""

import json
import sys
import time
from datetime import datetime


def main() -> None:
    """Fill vnpy's SQLite database as its documentation does, then let run_bf_optimization search."""
    import numpy as np
    from vnpy.trader.constant import Exchange, Interval
    from vnpy.trader.database import DB_TZ, get_database
    from vnpy.trader.object import BarData
    from vnpy.trader.optimize import OptimizationSetting
    from vnpy_ctastrategy import strategies
    from vnpy_ctastrategy.backtesting import BacktestingEngine

    data, workers, class_name, target, ranges = np.load(sys.argv[1]), *sys.argv[2:]
    times = [datetime.fromtimestamp(ns / 10**9, DB_TZ) for ns in data["time_ns"].tolist()]
    names = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
    bars = [
        BarData(
            gateway_name="DB", symbol="rb2501", exchange=Exchange.SHFE, datetime=at, interval=Interval.MINUTE,
            open_price=o, high_price=h, low_price=low, close_price=c, volume=v, turnover=t, open_interest=i,
        )
        for at, o, h, low, c, v, t, i in zip(times, *(data[name].tolist() for name in names), strict=True)
    ]  # fmt: skip
    database = get_database()
    for at in range(0, len(bars), 10_000):
        database.save_bar_data(bars[at : at + 10_000])
    engine = BacktestingEngine()
    engine.output = lambda msg: None
    engine.set_parameters(
        vt_symbol="rb2501.SHFE", interval=Interval.MINUTE, rate=1e-4, slippage=1, size=10, pricetick=1,
        start=times[0].replace(tzinfo=None, hour=0, minute=0), end=times[-1].replace(tzinfo=None),
        capital=100_000_000,
    )  # fmt: skip
    engine.add_strategy(getattr(strategies, class_name, None) or find(strategies, class_name), {})
    setting = OptimizationSetting()
    setting.set_target(target)
    for name, (start, end, step) in json.loads(ranges).items():
        setting.add_parameter(name, start, end, step)
    began = time.perf_counter()
    ranked_points = engine.run_bf_optimization(setting, output=False, max_workers=int(workers))
    elapsed = time.perf_counter() - began
    print(json.dumps({"elapsed_s": elapsed, "points": [[point[0], float(point[1])] for point in ranked_points]}))


def find(package: object, class_name: str) -> type:
    """The class in one of the modules of vnpy's strategies."""
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(package.__path__):  # type: ignore[attr-defined]
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")  # type: ignore[attr-defined]
        if hasattr(loaded, class_name):
            return getattr(loaded, class_name)
    raise SystemExit(f"vnpy has no {class_name}")


if __name__ == "__main__":
    main()
