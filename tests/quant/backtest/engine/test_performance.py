"""Statistics beyond vnpy's: round trips by hand, ratios against their definitions, and nothing that is not a number."""

import math
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.quant.backtest.analysis.performance import extra_statistics
from services.quant.backtest.analysis.round_trip import round_trips
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from tests.examples import examples
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.generated import bars
from tests.quant.backtest.recordings import rb_bars
from tests.quant.backtest.report.report_samples import ZONE, day, fill, finished, turning

START = datetime(2024, 1, 2, 9, 0, tzinfo=ZONE)
JOB = BacktestJob("S", "rb2501.SHFE", "1m", size=10, rate=0, slippage=0)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def trips(*fills, job=JOB, days=()):
    return list(round_trips(job, days, [fill(index, *one) for index, one in enumerate(fills, 1)]))


def test_a_long_and_a_short_round_trip_earn_the_difference_of_their_prices():
    long, short = trips(
        (at(0), "LONG", "OPEN", 100, 2),
        (at(1), "SHORT", "CLOSE", 105, 2),
        (at(2), "SHORT", "OPEN", 105, 1),
        (at(5), "LONG", "CLOSE", 107, 1),
    )
    assert (long.direction, long.net_pnl, long.holding_hours) == ("LONG", 100, 1)
    assert (short.direction, short.net_pnl, short.holding_hours) == ("SHORT", -20, 3)


def test_a_partial_close_takes_the_oldest_opening_first():
    closed = trips(
        (at(0), "LONG", "OPEN", 100, 2),
        (at(1), "LONG", "OPEN", 110, 2),
        (at(2), "SHORT", "CLOSE", 120, 3),
        (at(3), "SHORT", "CLOSE", 100, 1),
    )
    assert [(one.open_price, one.close_price, one.volume, one.net_pnl) for one in closed] == [
        (100, 120, 2, 400), (110, 120, 1, 100), (110, 100, 1, -100),
    ]  # fmt: skip


def test_a_fill_larger_than_the_position_flips_it():
    closed = trips((at(0), "LONG", "OPEN", 100, 1), (at(1), "SHORT", "OPEN", 90, 3), (at(2), "LONG", "CLOSE", 80, 2))
    assert [(one.direction, one.volume, one.net_pnl) for one in closed] == [("LONG", 1, -100), ("SHORT", 2, 200)]


def test_what_is_open_at_the_end_is_no_round_trip():
    assert trips((at(0), "LONG", "OPEN", 100, 1)) == []


def test_both_sides_commission_is_shared_by_volume():
    job = BacktestJob("S", "rb2501.SHFE", "1m", size=10)
    first, second = trips(
        (at(0), "LONG", "OPEN", 100, 2, 8.0),
        (at(1), "SHORT", "CLOSE", 101, 1, 3.0),
        (at(2), "SHORT", "CLOSE", 101, 1, 5.0),
        job=job,
    )
    assert (first.gross_pnl, first.net_pnl) == (10, 10 - 4 - 3)
    assert second.net_pnl == 10 - 4 - 5


@pytest.mark.parametrize("carried", [True, False])
def test_round_trips_and_the_open_position_add_up_to_the_net_profit_of_the_days(carried):
    result = turning(bars(days=12), every=97)
    fills = result.trades
    if not carried:
        fills = [fill(int(f.trade_id), f.time, f.direction, f.offset, f.price, f.volume) for f in fills]
    last = result.trades[-1]
    price = result.days[-1].close_price
    sign = 1 if last.direction == "LONG" else -1
    still_open = sign * (price - last.price) * 10 - last.commission - 10
    closed = sum(one.net_pnl for one in round_trips(result.job, result.days, fills))
    # Without commissions of their own fills share it by turnover, which is what a rate does.
    assert closed + still_open == pytest.approx(sum(one.net_pnl for one in result.days), rel=1e-9)


def test_on_a_real_run_round_trips_and_the_open_position_add_up_too():
    job = BacktestJob("DoubleMaStrategy", "rb888.SHFE", "5m")
    result = run_backtest(shipped("DoubleMaStrategy"), job, rb_bars())
    last, end = result.trades[-1], result.days[-1]
    left = end.end_pos * (end.close_price - last.price) * job.size - (last.commission + job.slippage * job.size)
    assert abs(end.end_pos) == 1
    closed = sum(one.net_pnl for one in round_trips(job, result.days, result.trades))
    assert closed + left == pytest.approx(result.statistics["total_net_pnl"], rel=1e-9)
    assert result.statistics["average_trade"] * result.statistics["round_trip_count"] == pytest.approx(closed)


def test_statistics_of_trips_follow_their_definitions():
    fills = []
    for turn, profit in enumerate((10, -5, -10, -1, 30, 0)):
        fills.append(fill(2 * turn + 1, at(turn), "LONG", "OPEN", 100, 1))
        fills.append(fill(2 * turn + 2, at(turn + 0.5), "SHORT", "CLOSE", 100 + profit, 1))
    statistics = extra_statistics(JOB, [], fills)
    assert statistics["round_trip_count"] == 6
    assert statistics["win_rate"] == pytest.approx(100 * 2 / 6)
    assert statistics["profit_factor"] == pytest.approx(40 / 16)
    assert statistics["average_trade"] == pytest.approx(240 / 6)
    assert (statistics["average_win"], statistics["average_loss"]) == (200, pytest.approx(-160 / 3))
    assert (statistics["largest_win"], statistics["largest_loss"]) == (300, -100)
    assert statistics["max_consecutive_losses"] == 3
    assert statistics["average_holding_hours"] == 0.5


def test_statistics_of_returns_follow_their_definitions():
    rng = np.random.default_rng(5)
    nets = rng.normal(100, 5000, 250)
    days = finished([day(date(2024, 1, 1) + timedelta(days=i), net_pnl=float(net)) for i, net in enumerate(nets)], 1e6)
    statistics = extra_statistics(JOB, days, [])
    returns = np.array([one.daily_return for one in days]) * 100
    downside = np.sqrt(np.mean(np.where(returns < 0, returns, 0) ** 2))
    assert statistics["sortino_ratio"] == pytest.approx(returns.mean() / downside * np.sqrt(240))
    assert statistics["annual_volatility"] == pytest.approx(returns.std(ddof=1) * np.sqrt(240))
    annual = nets.sum() / 1e6 * 100 / 250 * 240
    assert statistics["calmar_ratio"] == pytest.approx(annual / -min(one.ddpercent for one in days))
    worst = np.sort(returns)[:13]
    assert statistics["var_95"] == pytest.approx(worst[-1])
    assert statistics["cvar_95"] == pytest.approx(worst.mean())
    assert statistics["cvar_95"] <= statistics["var_95"] < 0


def test_turnover_and_exposure_count_days():
    first = date(2024, 1, 1)
    days = finished(
        [
            day(first, turnover=500_000.0, trade_count=1, end_pos=1.0),
            day(first + timedelta(days=1), start_pos=1.0, end_pos=1.0),
            day(first + timedelta(days=2)),
            day(first + timedelta(days=3)),
        ],
        1e6,
    )
    statistics = extra_statistics(JOB, days, [])
    assert statistics["turnover_ratio"] == pytest.approx(500_000 / 4 * 240 / 1e6)
    assert statistics["exposure"] == 50


def test_a_run_without_days_has_all_statistics_and_all_are_zero():
    assert set(extra_statistics(JOB, [], []).values()) == {0}


def test_a_run_that_lost_everything_has_no_ratios_as_in_vnpy():
    days = finished([day(date(2024, 1, 1), net_pnl=-2e6), day(date(2024, 1, 2), net_pnl=3e6)], 1e6)
    statistics = extra_statistics(JOB, days, [])
    assert (
        statistics["sortino_ratio"]
        == statistics["calmar_ratio"]
        == statistics["var_95"]
        == statistics["annual_volatility"]
        == 0
    )


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.floats(-2e6, 2e6, allow_nan=False), max_size=12),
    st.lists(
        st.tuples(st.sampled_from(("LONG", "SHORT")), st.floats(0.01, 1e6), st.sampled_from((0.0, 0.1, 1.0, 3.0))),
        max_size=12,
    ),
)
def test_statistics_are_finite_numbers_whatever_happened(nets, trades):
    days = finished([day(date(2024, 1, 1) + timedelta(days=i), net_pnl=net) for i, net in enumerate(nets)], 1e6)
    fills = [fill(i, at(i), side, "OPEN", price, volume, 1.0) for i, (side, price, volume) in enumerate(trades)]
    statistics = extra_statistics(JOB, days, fills)
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in statistics.values())
