"""The same trades, days, statistics and logs as vnpy's own engine: each shipped strategy, each build of the core."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.quant.backtest.data.dataset import first_rows
from services.quant.backtest.engine.variant import variant
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from tests.quant.backtest import generated, recordings
from tests.quant.backtest.builds import BUILDS
from tests.quant.backtest.engine.vnpy_oracle import SHIPPED, same, shipped, vnpy_run

pytestmark = pytest.mark.slow


def check(name: str, job: BacktestJob, data, builds=BUILDS) -> int:
    strategy_class = shipped(name)
    engine = vnpy_run(strategy_class, job, data)
    for build in builds:
        result = run_backtest(strategy_class, job, data, build=variant(build))
        assert not result.error
        same(engine, result)
    return len(engine.trades)


@pytest.mark.parametrize("name", SHIPPED)
def test_recorded_five_minute_bars_with_a_warm_up_give_vnpys_trades(name):
    job = BacktestJob(name, "rb888.SHFE", "5m", start=date(2019, 9, 2), capital=1e7)
    trades = check(name, job, recordings.rb_bars())
    assert trades or name in ("BollChannelStrategy", "MultiTimeframeStrategy", "TestStrategy", "KingKeltnerStrategy")


@pytest.mark.parametrize("name", SHIPPED)
def test_recorded_ticks_give_vnpys_trades(name):
    ticks = recordings.if_ticks()
    data = ticks if name == "TestStrategy" else first_rows(ticks, 28_000)
    job = BacktestJob(name, "IF2101.CFFEX", "tick", size=300, pricetick=0.2, slippage=0.2, rate=2.3e-5, capital=1e7)
    check(name, job, data)


@pytest.mark.parametrize("name", SHIPPED)
def test_generated_bars_with_gaps_and_limit_days_give_vnpys_trades(name):
    data = generated.bars(days=40, sessions=generated.NIGHT, gaps=0.02, limit_days=0.1)
    job = BacktestJob(name, data.symbol, "1m", start=date(2020, 1, 13), end=date(2020, 2, 5), capital=1e8)
    check(name, job, data)


WHOLE = st.integers
ODD = {
    "AtrRsiStrategy": {"atr_length": WHOLE(1, 60), "rsi_length": WHOLE(2, 40), "rsi_entry": WHOLE(0, 40)},
    "BollChannelStrategy": {"boll_window": WHOLE(2, 99), "boll_dev": st.floats(0.1, 4), "cci_window": WHOLE(2, 60)},
    "DoubleMaStrategy": {"fast_window": WHOLE(2, 30), "slow_window": WHOLE(2, 99)},
    "DualThrustStrategy": {"k1": st.floats(0, 2), "k2": st.floats(0, 2), "fixed_size": WHOLE(1, 5)},
    "KingKeltnerStrategy": {
        "kk_length": WHOLE(2, 50),
        "kk_dev": st.floats(0.1, 3),
        "trailing_percent": st.floats(0.01, 3),
    },
    "MultiSignalStrategy": {"rsi_window": WHOLE(2, 40), "cci_window": WHOLE(2, 40), "slow_window": WHOLE(2, 60)},
    "MultiTimeframeStrategy": {"rsi_window": WHOLE(2, 40), "rsi_signal": WHOLE(0, 30)},
    "TurtleSignalStrategy": {"entry_window": WHOLE(2, 60), "exit_window": WHOLE(2, 30), "fixed_size": WHOLE(1, 3)},
}


@pytest.mark.parametrize("name", ODD)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_data=st.data())
def test_random_parameters_on_odd_sessions_give_vnpys_trades(name, given_data):
    draw = given_data.draw
    tick = draw(st.sampled_from([1.0, 0.2, 0.05, 5.0]))
    data = generated.bars(
        days=draw(st.integers(3, 12)),
        sessions=draw(st.sampled_from([generated.ODD, generated.DAY, generated.NIGHT])),
        seed=draw(st.integers(0, 10**6)),
        noise=draw(st.sampled_from([0.3, 1.5, 12.0])),
        gaps=draw(st.sampled_from([0.0, 0.05, 0.5])),
        limit_days=draw(st.sampled_from([0.0, 0.3])),
        tick=tick,
    )
    job = BacktestJob(name, data.symbol, "1m", pricetick=tick, start=date(2020, 1, 3), capital=1e8)
    check(name, replace(job, parameters=draw(st.fixed_dictionaries(ODD[name]))), data)
