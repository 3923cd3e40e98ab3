"""Diagnostics of backtests without trades, or with something odd: shipped strategies on recorded data."""

import re
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from vnpy_ctastrategy import ArrayManager, BarGenerator, CtaTemplate

from services.quant.backtest.data.dataset import first_rows
from services.quant.backtest.engine.variant import variant
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from services.quant.sdk.base import BaseStrategy
from tests.quant.backtest import generated
from tests.quant.backtest.builds import BUILDS
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.recordings import if_ticks, rb_bars

RB, IF = "rb888.SHFE", "IF2101.CFFEX"


def diagnosed(strategy_class, data, build="pure", **more):
    """The run's diagnostics, as one text."""
    interval = getattr(data, "interval", "tick")
    result = run_backtest(
        strategy_class, BacktestJob(strategy_class.__name__, data.symbol, interval, **more), data, build=variant(build)
    )
    return result, "\n".join(result.diagnostics)


def first_ticks(count, **columns):
    ticks = first_rows(if_ticks(), count)
    return replace(ticks, columns=ticks.columns | columns)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(
    ("name", "generator", "minutes"),
    [("BollChannelStrategy", "bg", 15), ("KingKeltnerStrategy", "bg", 5), ("MultiTimeframeStrategy", "bg5", 5)],
)
def test_a_window_that_never_completes_is_named_with_what_it_waits_for(name, generator, minutes, build):
    result, text = diagnosed(shipped(name), rb_bars(), build)
    assert not result.trades
    assert text.startswith("There are no trades: in 15,738 bars the strategy sent no order; see below what may be why.")
    assert f"The window of {generator} never completes: vnpy's BarGenerator closes a {minutes}-minute bar" in text
    assert "the 5m bars are stamped at 0, 5, 10, 15, …, 55; it needs 1m bars (or ticks)" in text
    assert "never left the warm-up" in text
    assert "100 bars and got none" in text


@pytest.mark.parametrize("build", BUILDS)
def test_a_window_inside_a_signal_is_detected_and_reported_beside_trades(build):
    result, text = diagnosed(shipped("MultiSignalStrategy"), rb_bars(), build)
    assert result.trades
    assert text.startswith("The window of ma_signal.bg never completes")
    assert "no trades" not in text


@pytest.mark.parametrize("build", BUILDS)
def test_windows_that_complete_are_not_named(build):
    data = generated.bars(days=6)
    result, text = diagnosed(shipped("BollChannelStrategy"), data, build)
    assert "window" not in text
    result, text = diagnosed(shipped("DoubleMaStrategy"), rb_bars(), build)
    assert result.trades
    assert text == ""


class _Windows(CtaTemplate):
    kind = "HOUR"
    window = 2
    end = None
    parameters = ("kind", "window", "end")

    def on_init(self):
        from vnpy.trader.constant import Interval

        self.kept = {"deep": [BarGenerator(self.on_bar, self.window, self.on_window, Interval[self.kind], self.end)]}

    def on_bar(self, bar):
        self.kept["deep"][0].update_bar(bar)

    def on_window(self, bar):
        pass


class HourStrategy(_Windows):
    """Hours and days out of minutes."""


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(
    ("window", "kind", "end", "sessions", "sentence"),
    [
        (2, "HOUR", None, generated.DAY, ""),
        (99, "HOUR", None, generated.DAY, "kept['deep'][0] never completes: it takes 99 hours, which these 1m bars"),
        (1, "DAILY", "14:59", generated.DAY, ""),
        (1, "DAILY", "15:00", generated.DAY, "it closes a day with a bar stamped 15:00, of which these 1m bars"),
        (7, "MINUTE", None, generated.DAY, ""),
        (60, "MINUTE", None, ((9, 0, 59),), "closes a 60-minute bar with a bar of minute 59"),
    ],
)
def test_hour_day_and_minute_windows_are_distinguished(window, kind, end, sessions, sentence, build):
    from datetime import time

    parameters = {"window": window, "kind": kind, "end": time.fromisoformat(end) if end else None}
    data = generated.bars(days=3, sessions=sessions)
    _, text = diagnosed(HourStrategy, data, build, parameters=parameters)
    assert sentence in text
    assert ("never completes" in text) == bool(sentence)


def test_fewer_bars_than_an_array_holds():
    _, text = diagnosed(shipped("DoubleMaStrategy"), rb_bars(), end=date(2019, 7, 31))
    assert "am never left the warm-up: it needs 100 bars and got 24" in text
    assert "it asked for the 10 days before 2019-07-31, which is more than there is: the data begin on" in text
    assert "so it got nothing" in text


def test_a_warm_up_longer_than_the_data_is_reported_where_a_start_was_given():
    result, text = diagnosed(shipped("DoubleMaStrategy"), rb_bars(), start=date(2019, 8, 5))
    assert result.trades
    assert text == (
        "To warm up it asked for the 10 days before 2019-08-05, which is more than there is: the data begin on "
        "2019-07-31, so it got only 162 rows. Use data that begin earlier, or a later start."
    )
    assert diagnosed(shipped("DoubleMaStrategy"), rb_bars(), start=date(2019, 9, 5))[1] == ""


@pytest.mark.slow
def test_bars_asked_for_where_there_are_ticks():
    _, text = diagnosed(shipped("TurtleSignalStrategy"), first_ticks(2000))
    assert "To warm up it asked for the 20 days before 2021-01-04, as minute bars: the data are ticks" in text


def test_a_strategy_of_ticks_on_bars_and_the_other_way_round():
    assert (
        "It does nothing in on_bar, and the data are bars: it needs ticks."
        in diagnosed(shipped("TestStrategy"), rb_bars())[1]
    )
    _, text = diagnosed(Sender, first_ticks(50))
    assert "It does nothing in on_tick, and the data are ticks: it needs bars." in text


class Sender(CtaTemplate):
    """Sends one order on its tenth bar; cancels at once, if so."""

    away = 0.5
    stop = False
    cancels = False
    at_end = 0
    parameters = ("away", "stop", "cancels", "at_end")

    def on_init(self):
        self.count = 0

    def on_bar(self, bar):
        self.count += 1
        if self.count == (self.at_end or 10):
            self.buy(bar.close_price * self.away, 2, stop=self.stop)
            if self.cancels:
                self.cancel_all()


class Ticker(Sender):
    """The same on ticks."""

    def on_tick(self, tick):
        self.count += 1
        if self.count == 10:
            self.buy(tick.last_price * self.away, 1)


def test_an_order_far_from_the_market_is_shown_beside_the_prices():
    _, text = diagnosed(Sender, rb_bars())
    assert "There are no trades: 1 order was sent, 1 still open at the end." in text
    shown = r"Open since 2019-07-31 21:45:00: buy 2 at (\d+) \(limit\); prices since then were (\d+) to (\d+)\."
    bought, lowest, highest = map(int, re.search(shown, text).groups())
    assert bought < lowest < highest
    _, text = diagnosed(Sender, rb_bars(), parameters={"away": 2.0, "stop": True})
    bought, lowest, highest = map(int, re.search(r"buy 2 at (\d+) \(stop\); prices .* (\d+) to (\d+)", text).groups())
    assert lowest < highest < bought


def test_orders_that_are_cancelled_are_counted():
    _, text = diagnosed(Sender, rb_bars(), parameters={"cancels": True})
    assert text == "There are no trades: 1 order was sent, 1 cancelled before the market reached it."


def test_an_order_on_the_last_row_had_no_chance():
    _, text = diagnosed(Sender, rb_bars(), parameters={"at_end": len(rb_bars()), "away": 1.1})
    assert re.search(r"Open: buy 2 at \d+ \(limit\), sent with the last row: none was left to fill it\.", text)


def test_an_order_outside_the_price_limits():
    _, text = diagnosed(Ticker, first_ticks(200), parameters={"away": 0.8}, pricetick=0.2)
    outside = re.search(
        r"buy 1 at ([\d.]+) \(limit\), which is outside the day's price limits \(limit_down ([\d.]+)\)", text
    )
    assert float(outside[1]) < float(outside[2])
    _, text = diagnosed(Ticker, first_ticks(200), parameters={"away": 0.8}, pricetick=0.2, fill="sim")
    assert "1 order was sent, 1 refused" in text
    assert f"1 order of 1 was refused. Reasons: 1 × PRICE_OUTSIDE_LIMITS (the first: {outside[1]}:" in text


def test_ticks_without_quotes():
    _, text = diagnosed(Ticker, first_ticks(200, ask_price_1=np.zeros(200)), parameters={"away": 1.0}, pricetick=0.2)
    assert "The ticks have no ask_price_1: limit orders cannot be filled." in text


def test_refusals_of_fill_sim_are_counted_by_reason():
    _, text = diagnosed(shipped("DoubleMaStrategy"), rb_bars(), fill="sim", capital=1000.0)
    shown = r"(\d+) orders of (\d+) were refused. Reasons: (\d+) × INSUFFICIENT_FUNDS \(the first: [\d.]+ needed"
    refused, of, reasons = map(int, re.search(shown, text).groups())
    assert refused == of == reasons > 500


def test_a_strategy_that_raises_says_when_and_what():
    class Thrower(Sender):
        def on_bar(self, bar):
            if bar.datetime.hour == 14:
                raise KeyError("what")

    result, text = diagnosed(Thrower, rb_bars())
    assert result.error
    assert text.startswith("The strategy raised KeyError: 'what' at 2019-08-01 14:00:00: the run ended there")

    class Unborn(Sender):
        def __init__(self, *args):
            raise ValueError("no")

    assert "ValueError: no before the first row" in diagnosed(Unborn, rb_bars())[1]


def test_ruin_and_trades_of_nothing_are_reported():
    result, text = diagnosed(shipped("DoubleMaStrategy"), rb_bars(), capital=10.0)
    assert result.trades
    assert "no account could have gone on from there" in text

    class Nothing(Sender):
        def on_bar(self, bar):
            self.buy(bar.close_price + 5, 0)

    assert "All trades have the volume 0." in diagnosed(Nothing, rb_bars())[1]


class Native(BaseStrategy):
    """Asks for history; sends nothing, or a limit far away."""

    parameters = ("price",)
    price = 0.0
    bar_seconds = 300

    async def initialize(self):
        self.arrays, self.sent = ArrayManager(10), ""
        await self.load_bars(5)

    async def on_bar(self, bar):
        if self.price and not self.sent:
            self.sent = await self.buy(self.price, 1)


@pytest.mark.parametrize("build", BUILDS)
def test_a_base_strategy_says_why_too(build):
    _, text = diagnosed(Native, rb_bars(), build)
    assert "There are no trades: in 15,738 bars the strategy sent no order" in text
    assert "arrays never left the warm-up: it needs 10 bars and got none" in text
    assert "To warm up it asked for the 5 days before 2019-07-31, which is more than there is" in text
    _, text = diagnosed(Native, rb_bars(), build, parameters={"price": 100.0})
    assert "1 order was sent, 1 still open at the end" in text
    assert "buy 1 at 100 (limit); prices since then were" in text


def test_a_base_strategy_that_never_gets_bars():
    class Blind(Native):
        bar_seconds = 0

    assert "Its bar_seconds is 0: of ticks no bars are made for its on_bar." in diagnosed(Blind, first_ticks(50))[1]

    class Deaf(BaseStrategy):
        pass

    assert "It has neither on_tick nor on_bar: it never looks at the market." in diagnosed(Deaf, first_ticks(50))[1]


def test_attributes_that_lead_round_and_round_do_no_harm():
    class Knot(Sender):
        def on_init(self):
            super().on_init()
            self.myself, self.others = self, [self, {"me": self}]
            self.others.append(self.others)
            self.many = [[object()] * 50 for _ in range(2000)]

        def __getattr__(self, name):
            raise RuntimeError(name)

    assert "There are no trades" in diagnosed(Knot, rb_bars())[1]


def test_a_strategy_that_keeps_many_bars_is_still_looked_through():
    class Collector(Sender):
        def on_init(self):
            super().on_init()
            self.bars, self.index, self.late = [], {}, {"am": ArrayManager(7)}

        def on_bar(self, bar):
            self.bars.append(bar)
            self.index[bar.datetime] = bar

    assert "late['am'] never left the warm-up: it needs 7 bars and got none" in diagnosed(Collector, rb_bars())[1]
