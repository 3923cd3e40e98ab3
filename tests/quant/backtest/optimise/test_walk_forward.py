"""Walk-forward: where windows begin and end, and that each test is the backtest of its optimisation's best."""

from dataclasses import replace
from datetime import date

import pytest

from services.quant.backtest.job import BacktestError
from services.quant.backtest.optimise import Space, run_optimisation
from services.quant.backtest.optimise.walk_forward import Span, Windows, run_walk_forward
from services.quant.backtest.run import run_backtest
from tests.quant.backtest import generated
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.optimise.optimised import JOB, STRATEGY, odd

DATA = generated.bars(days=40)
SPACE = Space.parse(["fast_window=2:6:2", "slow_window=10,20"])


def test_windows_roll_by_the_length_of_the_test_and_the_last_may_be_shorter():
    windows = list(Windows.parse("20d:8d").between(date(2020, 1, 1), date(2020, 2, 1)))
    assert windows == [
        (date(2020, 1, 1), date(2020, 1, 20), date(2020, 1, 21), date(2020, 1, 28)),
        (date(2020, 1, 9), date(2020, 1, 28), date(2020, 1, 29), date(2020, 2, 1)),
    ]


@pytest.mark.parametrize(
    ("text", "start", "after"),
    [
        ("10d", date(2020, 2, 25), date(2020, 3, 6)),
        ("2w", date(2020, 1, 1), date(2020, 1, 15)),
        ("1m", date(2020, 1, 31), date(2020, 2, 29)),
        ("13m", date(2020, 1, 31), date(2021, 2, 28)),
        ("1y", date(2020, 2, 29), date(2021, 2, 28)),
        ("9999y", date(2020, 1, 1), date.max),
    ],
)
def test_spans_are_of_the_calendar(text, start, after):
    assert Span.parse(text).after(start) == after


@pytest.mark.parametrize("text", ["", "120d", "120:30", "0d:1d", "1d:x", "-1d:2d", "1h:1d"])
def test_windows_that_mean_nothing_are_refused(text):
    with pytest.raises(BacktestError):
        Windows.parse(text)


@pytest.mark.slow
def test_each_window_is_an_optimisation_and_a_backtest_of_its_best():
    result = run_walk_forward(None, JOB, DATA, SPACE, "total_return", Windows.parse("15d:10d"), workers=2)
    assert len(result.windows) == 3 and not result.stopped
    strategy_class, days, trades = shipped("DoubleMaStrategy"), [], 0
    for window in result.windows:
        inside = replace(JOB, start=window.train_start, end=window.train_end)
        best = run_optimisation(None, inside, DATA, SPACE, "total_return", workers=1).best
        assert window.best == best
        job = replace(JOB, parameters=best.parameters, start=window.test_start, end=window.test_end)
        test = run_backtest(strategy_class, job, DATA)
        assert window.test_statistics == test.statistics
        assert window.test_value == test.statistics["total_return"]
        days += test.days
        trades += len(test.trades)
    assert [day.date for day in result.days] == [day.date for day in days]
    assert result.days[-1].balance == pytest.approx(JOB.capital + sum(day.net_pnl for day in days))
    assert result.statistics["total_trade_count"] == trades
    assert result.statistics["total_net_pnl"] == pytest.approx(sum(day.net_pnl for day in days))
    inside = sum(window.best.statistics["annual_return"] for window in result.windows)
    outside = sum(window.test_statistics["annual_return"] for window in result.windows)
    assert result.efficiency == (pytest.approx(outside / inside) if inside > 0 else None)


@pytest.mark.slow
def test_a_window_whose_points_all_fail_says_so_and_the_others_go_on(tmp_path):
    (tmp_path / "odd.py").write_text(STRATEGY)
    result = run_walk_forward(
        tmp_path, odd(), DATA, Space.parse(["number=8"]), "end_balance", Windows.parse("10d:5d"), workers=1
    )
    assert result.windows[0].error == "no point ran to its end: RuntimeError: the fourth"
    assert result.windows[0].best is None and result.windows[1].test_value is not None


@pytest.mark.slow
def test_a_stopped_walk_forward_keeps_its_finished_windows():
    stages = set()
    result = run_walk_forward(
        None, JOB, DATA, SPACE, "total_return", Windows.parse("10d:5d"), workers=2,
        progress=lambda now: stages.add(now.stage), should_stop=lambda: "window 3 of 6" in stages,
    )  # fmt: skip
    assert result.stopped and len(result.windows) == 2


def test_data_too_short_for_one_window_are_refused():
    with pytest.raises(BacktestError, match="100d to optimise on, then 30d, do not fit"):
        run_walk_forward(None, JOB, DATA, SPACE, "total_return", Windows.parse("100d:30d"), workers=1)
