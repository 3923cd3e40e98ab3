"""Bars out of ticks: the recorded days against the exchange's own daily bars, and the rules one by one."""

import pytest

from services.quant.bars import Bar, Interval
from tests.market.ticks import at, daily, recorded, tick
from tests.quant.bars.made import CLOCK, Made, clock_times, quote


@pytest.fixture(scope="module")
def recorded_bars() -> list[Bar]:
    made = Made()
    for one in recorded():
        made.bars.on_ticks([one])
    made.bars.close_all()
    return made.closed


@pytest.mark.slow
def test_daily_bars_of_recorded_ticks_equal_the_exchanges(recorded_bars: list[Bar]) -> None:
    days = [bar for bar in recorded_bars if bar.interval == Interval.DAY]
    assert [bar.trading_day for bar in days] == [20210104, 20210105, 20210106]
    for bar in days:
        expected = daily()[bar.trading_day]
        assert {name: getattr(bar, name) for name in expected if name != "settlement"} == {
            name: value for name, value in expected.items() if name != "settlement"
        }
        assert bar.start_ns == at(f"{bar.trading_day} 00:00:00")


@pytest.mark.slow
@pytest.mark.parametrize("interval", [one for one in Interval if one != Interval.DAY])
def test_shorter_bars_of_recorded_ticks_add_up_to_the_day(recorded_bars: list[Bar], interval: Interval) -> None:
    for day, expected in [(day, daily()[day]) for day in (20210104, 20210105, 20210106)]:
        bars = [bar for bar in recorded_bars if bar.interval == interval and bar.trading_day == day]
        assert sum(bar.volume for bar in bars) == expected["volume"]
        assert sum(bar.turnover for bar in bars) == pytest.approx(expected["turnover"])
        assert max(bar.high for bar in bars) == expected["high"]
        assert min(bar.low for bar in bars) == expected["low"]
        assert (bars[0].open, bars[-1].close) == (expected["open"], expected["close"])
        assert [bar.start_ns for bar in bars] == sorted({bar.start_ns for bar in bars})
        assert all(bar.start_ns == CLOCK.bucket_start(bar.start_ns, interval.length_ns) for bar in bars)


def test_snapshots_after_the_close_open_no_bar(recorded_bars: list[Bar]) -> None:
    minutes = [bar for bar in recorded_bars if bar.interval == Interval.MINUTE]
    assert max(clock_times(minutes)) == "14:59"
    assert clock_times(minutes)[0] == "09:29"


@pytest.mark.parametrize(
    ("symbol", "last", "after", "minute"),
    [
        ("rb2405.SHFE", "10:14:59.5", "10:15:00", "10:14"),
        ("rb2405.SHFE", "11:29:59.5", "11:30:00", "11:29"),
        ("rb2405.SHFE", "14:59:59.5", "15:00:00.5", "14:59"),
        ("IF2612.CFFEX", "11:29:59.5", "11:30:00.5", "11:29"),
    ],
)
def test_what_comes_right_after_a_session_is_of_its_last_minute(
    symbol: str, last: str, after: str, minute: str
) -> None:
    made = Made()
    day = quote("09:30:00", 10, 5, 1, symbol=symbol), quote(last, 10, 50, 2, symbol=symbol)
    made.take(*day, quote(after, 12, 60, 3, symbol=symbol), quote(after, 12, 60, 4, symbol=symbol))
    made.bars.close_all()
    bars = made.of(Interval.MINUTE)
    assert clock_times(bars) == ["09:30", minute]
    assert (bars[-1].volume, bars[-1].close) == (55.0, 12.0)


def test_a_market_that_trades_through_the_break_has_its_minutes() -> None:
    made = Made()
    made.take(quote("10:14:59", 10, 5, 1, symbol="rb2405.SHFE"), quote("10:15:01", 10, 8, 2, symbol="rb2405.SHFE"))
    made.take(quote("10:20:30", 10, 9, 3, symbol="rb2405.SHFE"))
    made.bars.close_all()
    assert clock_times(made.of(Interval.MINUTE)) == ["10:14", "10:15", "10:20"]


def test_a_minute_is_closed_by_the_first_tick_beyond_it() -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 5, 1), quote("09:30:30", 12, 8, 2), quote("09:30:59.9", 9, 9, 3))
    assert made.closed == []
    made.take(quote("09:31:00", 11, 12, 4))
    (bar,) = made.of(Interval.MINUTE)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (10, 12, 9, 9, 9)
    assert clock_times([bar]) == ["09:30"]


def test_trades_between_snapshots_show_in_the_bars_extremes() -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 5, 1, high_price=10, low_price=10, open_price=10))
    made.take(quote("09:30:10", 10, 9, 2, high_price=13, low_price=8, open_price=10))
    made.take(quote("09:31:00", 10, 10, 3, high_price=13, low_price=8, open_price=10))
    made.take(quote("09:32:00", 10, 11, 4, high_price=13, low_price=8, open_price=10))
    first, second = made.of(Interval.MINUTE)
    assert (first.high, first.low) == (13, 8)
    assert (second.high, second.low) == (10, 10)


def test_a_day_under_way_gives_its_minute_only_the_last_trade_but_its_day_the_whole() -> None:
    made = Made()
    made.take(quote("10:00:00", 10, 5000, 1, last_quantity=3, open_price=9, high_price=12, low_price=8))
    made.take(quote("10:01:00", 10.5, 5002, 2, last_quantity=2, open_price=9, high_price=12, low_price=8))
    made.bars.close_all()
    assert [bar.volume for bar in made.of(Interval.MINUTE)] == [3, 2]
    (day,) = made.of(Interval.DAY)
    assert (day.open, day.high, day.low, day.close, day.volume) == (9, 12, 8, 10.5, 5002)


def test_the_clock_closes_a_quiet_minute_and_late_ticks_go_to_the_next() -> None:
    made = Made()
    made.take(quote("09:34:10", 10, 5, 1))
    made.bars.on_watermark("", at("2026-11-20 09:34:59"))
    assert made.closed == []
    made.bars.on_watermark("", at("2026-11-20 09:35:00"))
    assert [bar.interval for bar in made.closed] == [Interval.MINUTE, Interval.MINUTES_5]
    made.take(quote("09:34:59.9", 11, 7, 2), quote("09:36:00", 11, 8, 3))
    assert clock_times(made.of(Interval.MINUTE)) == ["09:34", "09:35"]
    assert [bar.volume for bar in made.of(Interval.MINUTE)] == [5, 2]


def test_ticks_without_a_trading_day_have_the_calendars() -> None:
    made = Made()
    made.take(tick(1, time_ns=at("2026-11-24 14:59:00"), volume=10, trading_day=0))
    made.take(tick(2, time_ns=at("2026-11-24 17:30:00"), volume=4, trading_day=0))
    made.bars.close_all()
    assert [bar.trading_day for bar in made.of(Interval.DAY)] == [20261124, 20261125]


def test_a_night_session_belongs_to_the_next_trading_day() -> None:
    made = Made()
    made.take(tick(1, time_ns=at("2026-11-20 14:59:00"), volume=10, trading_day=20261120))
    made.take(tick(2, time_ns=at("2026-11-20 21:00:00"), volume=4, trading_day=20261123))
    made.take(tick(3, time_ns=at("2026-11-23 09:00:00"), volume=6, trading_day=20261123))
    made.bars.close_all()
    first, second = made.of(Interval.DAY)
    assert (first.trading_day, first.volume) == (20261120, 10)
    assert (second.trading_day, second.volume) == (20261123, 6)
    assert second.start_ns == at("2026-11-23 00:00:00")


def test_ticks_without_a_price_and_stale_ones_change_nothing() -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 5, 1), quote("09:30:01", 0, 6, 2), quote("09:30:02", 1.7976931348623157e308, 6, 3))
    made.take(quote("09:30:03", float("nan"), 6, 4), quote("09:30:04", 11, 9, 5), quote("09:30:00.5", 7, 6, 6))
    made.take(quote("09:31:00", 11, 10, 7))
    (bar,) = made.of(Interval.MINUTE)
    assert (bar.low, bar.close, bar.volume) == (10, 11, 9)
