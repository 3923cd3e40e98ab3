"""Look-ahead is detected where it is, with its signals' times, and nowhere else."""

import json
import random
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from vnpy_ctastrategy import ArrayManager, CtaTemplate

from services.quant.backtest.analysis.lookahead import AT_SIGNALS, ELSEWHERE, MORE, SHOWN, check_lookahead
from services.quant.backtest.data.dataset import Bars, Ticks, first_rows
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.loading import Loader
from services.quant.sdk.moving_average import MovingAverageStrategy
from tests.quant.backtest import generated
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.recordings import RB, if_ticks, rb_bars
from tests.recorded_days import recorded

pytestmark = pytest.mark.slow


def bars(rows=3000) -> Bars:
    return first_rows(rb_bars(), rows)


def ticks(rows=6000) -> Ticks:
    return first_rows(if_ticks(), rows)


def checked(strategy_class, data, progress=None, **more):
    job = BacktestJob(strategy_class.__name__, data.symbol, getattr(data, "interval", "tick"), **more)
    return check_lookahead(strategy_class, job, data, progress=progress)


@pytest.mark.parametrize(
    "name", ["DoubleMaStrategy", "AtrRsiStrategy", "DualThrustStrategy", "MultiSignalStrategy", "TurtleSignalStrategy"]
)
@pytest.mark.parametrize("fill", ["vnpy", "sim"])
def test_shipped_strategies_have_none_on_bars(name, fill):
    assert checked(shipped(name), bars(), fill=fill, start=date(2019, 8, 7)) == []


def test_strategies_of_minute_windows_have_none():
    assert checked(shipped("BollChannelStrategy"), generated.bars(days=20)) == []


@pytest.mark.parametrize("name", ["TestStrategy", "DoubleMaStrategy"])
def test_shipped_strategies_have_none_on_ticks(name):
    # TestStrategy logs how long things took: that is no signal.
    assert checked(shipped(name), ticks()) == []


def test_a_base_strategy_has_none():
    assert checked(MovingAverageStrategy, ticks(), parameters={"fast_window": 3, "slow_window": 9}) == []


class Peeking(CtaTemplate):
    """Buys before the price rises: it looks `ahead` rows into the engine's data."""

    ahead = 1
    parameters = ("ahead",)

    def on_init(self):
        self.at = -1
        self.coming = self.cta_engine.source.history(
            self.vt_symbol, interval("1m"), self.cta_engine.start, self.cta_engine.end
        )

    def on_bar(self, bar):
        self.at += 1
        later = self.coming[min(self.at + self.ahead, len(self.coming) - 1)]
        self.cancel_all()
        if later.close_price > bar.close_price + 8 and not self.pos:
            self.buy(bar.close_price + 5, 1)
        elif later.close_price < bar.close_price and self.pos:
            self.sell(bar.close_price - 5, 1)


def interval(name):
    from services.quant.backtest.engine.replay import vnpy_interval

    return vnpy_interval(name)


@pytest.mark.parametrize("ahead", [1, 7])
def test_a_strategy_that_reads_the_next_rows_is_reported_with_its_signals_times(ahead):
    data = bars()
    sentences = checked(Peeking, data, parameters={"ahead": ahead})
    assert sentences[0].startswith("Look-ahead: the signals of ")
    assert "unavailable in trading" in sentences[0]
    first, second = sentences[1:3]
    # A signal on the last row of shortened data changes: what came after it is not there.
    time, text = first.split(": ", 1)
    assert "SHORT CLOSE 1 at" in text or "LONG OPEN 1 at" in text
    assert f"nothing on data that end at {time}." in text or ahead > 1
    assert time < second.split(": ")[0]
    assert 3 <= len(sentences) <= SHOWN + 3


def test_each_signal_that_changes_is_reported_where_there_are_not_too_many():
    data = bars(900)
    orders = run_backtest(Peeking, BacktestJob("Peeking", data.symbol, "5m"), data).order_count
    sentences = checked(Peeking, data)
    assert AT_SIGNALS < orders < MORE
    assert sentences[0].startswith(f"Look-ahead: the signals of {orders} times change")
    assert f"there are signals at {orders} times" in sentences[0]
    assert len(sentences) == 1 + min(orders, SHOWN) + (orders > SHOWN)


def test_indicators_over_the_whole_data_are_reported():
    class Normalised(CtaTemplate):
        def on_init(self):
            first, last = self.cta_engine.start, self.cta_engine.start + timedelta(days=1000)
            rows = self.cta_engine.source.history(self.vt_symbol, interval("1m"), first, last)
            self.mean = sum(bar.close_price for bar in rows) / len(rows)

        def on_bar(self, bar):
            self.cancel_all()
            if bar.close_price > self.mean + 5 and not self.pos:
                self.buy(bar.close_price + 5, 1)
            elif bar.close_price < self.mean - 5 and self.pos:
                self.sell(bar.close_price - 5, 1)

    sentences = checked(Normalised, bars())
    assert sentences[0].startswith("Look-ahead: the signals of ")


def test_a_strategy_that_fails_without_later_rows_is_reported():
    class Index(Peeking):
        def on_bar(self, bar):
            self.at += 1
            if self.at < 2990:
                self.coming[self.at + 3]

    sentences = checked(Index, bars())
    assert sentences[0] == "Look-ahead: the strategy needs rows that come later."
    assert "it raises IndexError: list index out of range; on the whole data it does not." in sentences[1]


KEEPING = """
from vnpy_ctastrategy import CtaTemplate
from vnpy.trader.constant import Interval

PRICES = []
print("imported")

class Keeping(CtaTemplate):
    def on_init(self):
        engine = self.cta_engine
        if not PRICES:
            rows = engine.source.history(self.vt_symbol, Interval.MINUTE, engine.start, engine.end)
            PRICES.extend(row.close_price for row in rows)
        self.at = -1

    def on_bar(self, bar):
        self.at += 1
        later = PRICES[min(self.at + 1, len(PRICES) - 1)]
        if later > bar.close_price + 5:
            self.buy(bar.close_price + 5, 1)
"""


def test_what_a_module_keeps_of_an_earlier_run_does_not_hide_it(tmp_path, capsys):
    (tmp_path / "keeping.py").write_text(KEEPING)
    strategy_class = Loader(tmp_path).load("Keeping")
    assert checked(strategy_class, bars())[0].startswith("Look-ahead: the signals of ")
    # Its module was imported once by the loader; what the check's own runs print is not shown.
    assert capsys.readouterr().out.count("imported") == 1
    assert Loader(tmp_path).load("Keeping") is strategy_class


class Given(CtaTemplate):
    """Lives on what somebody put into its class."""

    threshold = None

    def on_init(self):
        pass

    def on_bar(self, bar):
        if bar.close_price > self.threshold:
            self.buy(bar.close_price, 1)


def test_what_was_put_into_the_class_from_outside_is_there(monkeypatch):
    monkeypatch.setattr(Given, "threshold", 3800.0)
    assert checked(Given, bars()) == []


def test_chance_is_called_chance():
    class Dice(CtaTemplate):
        def on_init(self):
            self.count = 0

        def on_bar(self, bar):
            self.count += 1
            if self.count % 10 == 0:
                self.buy(bar.close_price, 1 + random.randrange(10**6))

    (sentence,) = checked(Dice, bars())
    assert sentence.startswith("Look-ahead was not looked for: two runs on the same data gave different signals")
    assert "The first is 2019-07-31 21:45:00: LONG OPEN " in sentence

    class Seeded(Dice):
        def on_init(self):
            super().on_init()
            random.seed(4)

    assert checked(Seeded, bars()) == []


def test_orders_at_the_end_of_a_run_are_no_signals():
    class Tidy(CtaTemplate):
        def on_init(self):
            self.am = ArrayManager(10)

        def on_bar(self, bar):
            self.am.update_bar(bar)
            self.last = bar
            if self.am.inited and not self.pos:
                self.buy(bar.close_price + 5, 1)

        def on_stop(self):
            self.sell(self.last.close_price, 1)

    assert checked(Tidy, bars()) == []


def test_a_strategy_that_goes_round_its_own_methods_is_known_by_its_trades():
    class Direct(Peeking):
        def on_bar(self, bar):
            from vnpy.trader.constant import Direction, Offset

            self.at += 1
            later = self.coming[min(self.at + 2, len(self.coming) - 1)]
            if later.close_price > bar.close_price + 5:
                self.cta_engine.send_order(self, Direction.LONG, Offset.OPEN, bar.close_price + 9, 1, False, False, 0)

    sentences = checked(Direct, bars())
    assert any("LONG OPEN (its trade) 1 at" in sentence for sentence in sentences[1:])


def test_a_base_strategy_that_peeks_is_reported():
    class NativePeeking(BaseStrategy):
        bar_seconds = 300

        async def initialize(self):
            replay = self._broker._core.source.replay
            self.coming = iter(replay.rows(1, len(replay)))

        async def on_bar(self, bar):
            later = next(self.coming, None)
            if later is not None and later.close_price > bar.close + 12:
                await self.buy(None, 1)

    sentences = checked(NativePeeking, bars())
    assert sentences[0].startswith("Look-ahead: the signals of ")
    assert "LONG OPEN 1 at the market on the whole data, nothing on data that end at" in sentences[1]


def test_rows_after_the_last_day_are_taken_away_too():
    class Beyond(Peeking):
        def on_init(self):
            super().on_init()
            replay = self.cta_engine.source.replay
            self.coming = [*self.coming, *replay.rows(len(replay) - 1, len(replay))]

        def on_bar(self, bar):
            self.at += 1
            if self.at == 40:
                self.buy(self.coming[-1].close_price, 1)

    sentences = checked(Beyond, bars(), end=date(2019, 8, 2))
    assert "2019-08-01 10:35:00: LONG OPEN 1 at" in sentences[1]


def test_a_strategy_that_raises_is_not_checked():
    class Thrower(CtaTemplate):
        def on_init(self):
            pass

        def on_bar(self, bar):
            raise ValueError("no")

    assert checked(Thrower, bars()) == ["Look-ahead was not looked for: the strategy raised ValueError: no."]


def test_the_cost_is_bounded_and_its_progress_reported():
    reported: list[tuple[int, int]] = []
    seen: list[int] = []

    class Counting(shipped("DoubleMaStrategy")):
        def on_start(self):
            seen.append(len(self.cta_engine.source.replay))

    data = bars()
    assert checked(Counting, data, progress=lambda done, total: reported.append((done, total))) == []
    assert len(seen) <= 2 + AT_SIGNALS + ELSEWHERE
    assert seen[:2] == [len(data)] * 2
    assert len(set(seen)) == len(seen) - 1
    parts = [done / total for done, total in reported]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert len(parts) > 10


def test_the_command_shows_it(tmp_path, redfire):
    (tmp_path / "keeping.py").write_text(KEEPING)
    asked = ("--symbol", "rb888.SHFE", "--data", recorded(RB), "--interval", "5m", "--to", "2019-08-09")
    asked += ("--strategies", tmp_path, "--check-lookahead")
    code, out, err = redfire("backtest", "Keeping", *asked, "--json")
    assert code == 0, err
    reported = json.loads(out)["diagnostics"]
    assert any(sentence.startswith("Look-ahead: the signals of ") for sentence in reported)
    code, out, err = redfire("backtest", "DoubleMaStrategy", *asked)
    assert code == 0, err
    assert "No look-ahead was found: signals are the same on shortened data." in " ".join(out.split())


def test_without_signals_the_data_are_shortened_all_the_same():
    assert checked(shipped("BollChannelStrategy"), bars()) == []


def test_ticks_of_the_same_time_are_cut_together():
    data = ticks(1000)
    data = replace(data, time_ns=data.time_ns // (60 * 10**9) * (60 * 10**9))
    assert np.unique(data.time_ns).size < 20
    assert checked(shipped("TestStrategy"), data) == []
