"""Performance against numpy."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.quant.calendar import Calendar
from services.strategy.metrics import Fill, by_day, max_drawdown, performance, unrealized

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = Calendar.load()
SYMBOL = "IF2101.CFFEX"
MONDAY = datetime(2021, 1, 4, 10, tzinfo=SHANGHAI)


def fill(day: int, sign: int, closes: bool, price: float, pnl: float = 0, quantity: int = 1) -> Fill:
    return Fill(
        MONDAY + timedelta(days=day),
        sign,
        closes,
        Decimal(str(price)),
        Decimal(quantity),
        Decimal(10),
        Decimal(str(pnl)),
    )


def test_no_trades_is_all_zero():
    figures = performance([], Decimal(300), Decimal(1_000_000), Decimal(5000), SYMBOL, CALENDAR)
    assert (figures.total_return, figures.sharpe_ratio, figures.trade_count, figures.daily) == (0, 0, 0, ())


def test_figures_agree_with_numpy():
    rng = np.random.default_rng(7)
    fills, net = [], []
    for number in CALENDAR.trading_days("CFFEX", 20210104, 20210701)[:100]:
        day = (datetime.strptime(str(number), "%Y%m%d").date() - MONDAY.date()).days
        pnl = float(np.round(rng.normal(200, 3000), 2))
        fills += [
            fill(day, 1, False, 5000),
            fill(day, -1, True, float(Decimal(5000) + Decimal(str(pnl)) / 300), pnl),
        ]
        net.append(pnl - 20)
    figures = performance(fills, Decimal(300), Decimal(1_000_000), None, SYMBOL, CALENDAR)
    equity = 1_000_000 + np.concatenate([[0], np.cumsum(net)])
    returns = np.diff(equity) / equity[:-1]
    total = equity[-1] / equity[0] - 1
    annual = total / len(net) * 240
    volatility = returns.std(ddof=1) * np.sqrt(240)
    downside = np.sqrt(np.mean(np.minimum(returns, 0) ** 2)) * np.sqrt(240)
    wins = [n + 20 for n in net if n + 20 > 0]
    losses = [n + 20 for n in net if n + 20 < 0]
    assert figures.total_return == pytest.approx(total)
    assert figures.annual_return == pytest.approx(annual)
    assert figures.annual_volatility == pytest.approx(volatility)
    assert figures.sharpe_ratio == pytest.approx(annual / volatility)
    assert figures.sortino_ratio == pytest.approx(annual / downside)
    assert figures.max_drawdown == pytest.approx((equity / np.maximum.accumulate(equity) - 1).min())
    assert figures.win_rate == pytest.approx(len(wins) / len(net))
    assert figures.profit_factor == pytest.approx(sum(wins) / -sum(losses))
    assert len(figures.daily) == 100
    assert float(sum(day.net_pnl for day in figures.daily)) == pytest.approx(sum(net))


def test_days_without_trades_count_weekends_do_not():
    days = by_day([fill(0, 1, False, 5000), fill(7, -1, True, 5010, 3000)], Decimal(300), SYMBOL, CALENDAR)
    assert [day.date.isoformat() for day in days] == [
        "2021-01-04", "2021-01-05", "2021-01-06", "2021-01-07", "2021-01-08", "2021-01-11",
    ]  # fmt: skip
    assert [day.trade_count for day in days] == [1, 0, 0, 0, 0, 1]
    assert days[0].turnover == 5000 * 300


@pytest.mark.parametrize(
    ("local", "day"),
    [
        (datetime(2021, 1, 4, 14, 59), date(2021, 1, 4)),
        (datetime(2021, 1, 4, 17, 30), date(2021, 1, 5)),
        (datetime(2021, 1, 4, 21, 0), date(2021, 1, 5)),
        (datetime(2021, 1, 5, 2, 0), date(2021, 1, 5)),
        (datetime(2021, 1, 8, 21, 0), date(2021, 1, 11)),
        (datetime(2021, 1, 9, 1, 0), date(2021, 1, 11)),
        (datetime(2021, 1, 10, 12, 0), date(2021, 1, 11)),
        (datetime(2021, 2, 11, 10, 0), date(2021, 2, 18)),  # the Spring Festival
    ],
)
def test_a_fill_without_a_trading_day_has_the_calendars(local, day):
    one = replace(fill(0, 1, False, 5000), time=local.replace(tzinfo=SHANGHAI).astimezone(UTC))
    assert [one_day.date for one_day in by_day([one], Decimal(300), SYMBOL, CALENDAR)] == [day]


def test_a_fill_keeps_the_trading_day_that_the_books_have():
    one = replace(fill(0, 1, False, 5000), trading_day=20210106)
    assert [one_day.date for one_day in by_day([one], Decimal(300), SYMBOL, CALENDAR)] == [date(2021, 1, 6)]


def test_holidays_are_no_trading_days():
    fills = [replace(fill(0, 1, False, 5000), trading_day=day) for day in (20210210, 20210218)]
    assert [one_day.date.day for one_day in by_day(fills, Decimal(300), SYMBOL, CALENDAR)] == [10, 18]


def test_an_open_position_counts_at_the_last_price():
    fills = [fill(0, -1, False, 5000, quantity=2)]
    assert unrealized(fills, Decimal(300), Decimal(4990)) == 6000
    figures = performance(fills, Decimal(300), Decimal(100_000), Decimal(4990), SYMBOL, CALENDAR)
    assert figures.total_return == pytest.approx((6000 - 10) / 100_000)
    assert figures.realized_pnl == 0


def test_the_deepest_fall_is_measured_from_its_peak():
    assert max_drawdown([100, 120, 90, 110, 60, 130]) == pytest.approx(60 / 120 - 1)
    assert max_drawdown([1, 2, 3]) == 0
