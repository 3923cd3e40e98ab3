"""Days of backtests: the calendar's trading days where fills are SIM's, dates of the clock where all is vnpy's."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from vnpy_ctastrategy import CtaTemplate

from services.commands.backtest.document import document
from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.engine.native_objects import resampled
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import BacktestResult
from services.quant.backtest.run import run_backtest
from services.quant.sdk.events import Bar

SYMBOL = "rb2405.SHFE"
ZONE = ZoneInfo("Asia/Shanghai")
TIMES = [
    "2024-02-07 14:59",  # the last day but one before the Spring Festival
    "2024-02-07 21:00",  # its night is the 8th's
    "2024-02-08 09:00",
    "2024-02-08 14:59",
    "2024-02-19 09:00",  # the first day after it had no night
    "2024-02-23 21:00",  # a Friday's night is Monday's
    "2024-02-26 09:00",
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


class Buying(CtaTemplate):
    """Buys at each bar."""

    def on_init(self) -> None:
        """Load nothing."""

    def on_bar(self, bar) -> None:
        self.buy(bar.close_price + 10, 1)


def result_of(fill: str) -> BacktestResult:
    time_ns = np.array([int(at(text).timestamp()) * 10**9 for text in TIMES])
    values = [np.full(len(TIMES), 3800.0) for _ in range(4)] + [np.full(len(TIMES), 1000.0) for _ in range(3)]
    job = BacktestJob("Buying", SYMBOL, "1m", fill=fill)
    result = run_backtest(Buying, job, Bars(SYMBOL, "1m", time_ns, *values))
    assert not result.error
    assert sum(day.trade_count for day in result.days) == len(result.trades) > 0
    return result


def result_days(fill: str) -> dict[date, int]:
    return {day.date: day.trade_count for day in result_of(fill).days}


@pytest.mark.parametrize("fill", ["vnpy", "sim"])
def test_a_trade_of_the_night_says_its_trading_day(fill: str):
    trades = document(result_of(fill))["trades"]
    by_time = {trade["datetime"][:16]: trade["trading_day"] for trade in trades}
    assert by_time["2024-02-07T21:00"] == "2024-02-08"
    assert by_time["2024-02-23T21:00"] == "2024-02-26"
    assert by_time["2024-02-19T09:00"] == "2024-02-19"


def test_days_of_sim_fills_are_trading_days():
    assert list(result_days("sim")) == [date(2024, 2, 7), date(2024, 2, 8), date(2024, 2, 19), date(2024, 2, 26)]


def test_days_of_vnpys_fills_are_dates_of_the_clock_as_vnpy_has_them():
    assert list(result_days("vnpy")) == [
        date(2024, 2, 7), date(2024, 2, 8), date(2024, 2, 19), date(2024, 2, 23), date(2024, 2, 26),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "starts", "volumes"),
    [
        (86_400, ["2024-02-07 00:00", "2024-02-08 00:00", "2024-02-19 00:00", "2024-02-26 00:00"], [1, 3, 1, 2]),
        (604_800, ["2024-02-05 00:00", "2024-02-19 00:00", "2024-02-26 00:00"], [4, 1, 2]),
        (3600, ["2024-02-07 14:00", "2024-02-07 21:00", "2024-02-08 09:00", "2024-02-08 14:00",
                "2024-02-19 09:00", "2024-02-23 21:00", "2024-02-26 09:00"], [1] * 7),
    ],
)  # fmt: skip
def test_longer_bars_of_a_strategy_are_those_of_market(seconds, starts, volumes):
    bars = [Bar(SYMBOL, at(text), 1.0, 1.0, 1.0, 1.0, volume=1.0) for text in TIMES]
    resampled_bars = resampled(bars, 60, seconds)
    assert [bar.time for bar in resampled_bars] == [at(text) for text in starts]
    assert [bar.volume for bar in resampled_bars] == volumes


def test_daily_bars_keep_their_dates():
    bars = [Bar(SYMBOL, at(f"2024-02-{day:02} 00:00"), 1.0, 1.0, 1.0, 1.0, volume=1.0) for day in (7, 8, 19, 26)]
    assert [bar.time.day for bar in resampled(bars, 86_400, 604_800)] == [5, 19, 26]
