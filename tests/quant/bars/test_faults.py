"""Faults of feeds: late snapshots, outages, numbers that are none, days that cannot be, epochs that end anywhere."""

import logging
import sys

import pytest

from services.quant.bars import Interval
from tests.market.ticks import SYMBOL, at
from tests.quant.bars.made import Made, clock_times, quote

NO_PRICE = sys.float_info.max
NO_PRICES = [NO_PRICE, float("nan"), float("inf"), -float("inf"), -1.0, 0.0]


@pytest.mark.parametrize("priced", [True, False])
def test_two_late_snapshots_or_one_after_one_without_a_price_throw_nothing_away(priced: bool) -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 100, 1), quote("09:30:10", 11, 150, 2), quote("09:30:20", 12, 200, 3))
    made.take(quote("09:30:19", 7 if priced else 0, 190, 4), quote("09:30:18", 6, 180, 5))
    made.take(quote("09:30:30", 12, 210, 6), quote("09:31:00", 12, 211, 7))
    (bar,) = made.minutes
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (10, 12, 10, 12, 210)
    assert not bar.incomplete


def test_a_late_snapshot_of_the_day_before_changes_nothing() -> None:
    made = Made()
    made.take(quote("14:59:00", 10, 100, 1), quote("2026-11-23 09:30:00", 11, 5, 2, trading_day=20261123))
    made.take(quote("14:58:59", 7, 90, 3), quote("2026-11-23 09:31:00", 11, 6, 4, trading_day=20261123))
    assert [(bar.low, bar.volume) for bar in made.minutes] == [(10, 100), (11, 5)]


def test_at_a_change_of_day_the_first_snapshot_counts_whole_unmarked() -> None:
    made = Made()
    made.take(quote("14:59:00", 10, 100, 1))
    first = quote("2026-11-23 09:30:00", 11, 500, 2, trading_day=20261123)
    first.last_quantity, first.open_price, first.high_price, first.low_price = 3, 10, 12, 9
    made.take(first, quote("2026-11-23 09:31:00", 11, 600, 3, trading_day=20261123))
    bar = made.minutes[1]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.incomplete) == (10, 12, 9, 11, 500, False)


def test_what_came_over_lost_ticks_is_counted_and_marked() -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 100, 1), quote("09:30:30", 10, 150, 2), quote("09:31:00", 10, 160, 3))
    made.take(quote("09:36:30", 11, 5000, 700), quote("09:37:00", 11, 5010, 701), quote("09:38:00", 11, 5011, 702))
    assert [(bar.volume, bar.incomplete) for bar in made.minutes] == [
        (150, False),
        (10, True),
        (4840, True),
        (10, False),
    ]
    assert clock_times(made.minutes) == ["09:30", "09:31", "09:36", "09:37"]
    assert [(bar.volume, bar.incomplete) for bar in made.of(Interval.MINUTES_5)] == [(160, True)]


def test_ticks_that_are_lost_while_nothing_was_traded_mark_nothing() -> None:
    made = Made()
    made.take(quote("09:30:00", 10, 100, 1), quote("09:30:30", 10, 100, 9), quote("09:31:00", 10, 101, 10))
    assert [bar.incomplete for bar in made.minutes] == [False]


def test_a_gateway_that_was_silent_for_long_marks_what_it_makes_up_for() -> None:
    made = Made()
    for minute in range(30, 50):
        made.take(quote(f"09:{minute}:00", 10, minute * 10, minute, last_quantity=1))
    made.take(quote("10:05:10", 11, 9000, 50, last_quantity=1), quote("10:06:00", 11, 9001, 51, last_quantity=1))
    *before, silent, last = made.minutes
    assert not any(bar.incomplete for bar in before)
    assert clock_times([silent, last]) == ["09:49", "10:05"]
    assert silent.incomplete and last.incomplete


@pytest.mark.parametrize("usual", [1, 7])
def test_a_pause_of_the_session_and_silences_of_a_quiet_symbol_are_no_gaps(usual: int) -> None:
    made = Made()
    volume = 0
    for sequence, minute in enumerate(range(30, 59, usual)):
        volume += 2
        made.take(quote(f"09:{minute}:00", 10, volume, sequence + 1, symbol="rb2405.SHFE"))
    made.take(quote("10:14:59", 10, volume + 2, sequence + 2, symbol="rb2405.SHFE", last_quantity=2))
    made.take(quote("10:30:00", 10, volume + 4, sequence + 3, symbol="rb2405.SHFE"))
    made.take(quote("10:31:00", 10, volume + 6, sequence + 4, symbol="rb2405.SHFE"))
    assert not any(bar.incomplete for bar in made.minutes)


def test_a_symbol_that_hardly_trades_is_known_as_one_soon() -> None:
    made = Made()
    for count, hour in enumerate(range(9, 17), 1):
        made.take(quote(f"{hour:02}:05:00", 10, 2 * count, count, symbol="BTCUSDT.BINANCE"))
        made.watermark(f"{hour:02}:06:00")
    assert [bar.incomplete for bar in made.minutes] == [False, *[True] * 5, False, False]


@pytest.mark.parametrize("number", NO_PRICES)
def test_numbers_that_are_none_are_no_price_no_extreme_no_open_and_no_volume(number: float) -> None:
    none = dict.fromkeys(("open_price", "high_price", "low_price", "turnover", "open_interest"), number)
    made = Made()
    made.take(quote("09:29:00", 10, 5, 1, **none), quote("09:30:00", 11, 9, 2, **none))
    made.take(quote("09:30:01", number, 9, 3), quote("09:30:02", 12, number or 9, 4, last_quantity=number, **none))
    made.take(quote("09:31:00", 12, 14, 5, **none), quote("2026-11-23 09:30:00", 12, 1, 6, trading_day=20261123))
    assert [(b.open, b.high, b.low, b.close, b.volume, b.turnover) for b in made.minutes] == [
        (10, 10, 10, 10, 5, 0),
        (11, 12, 11, 12, 4, 0),
        (12, 12, 12, 12, 5, 0),
    ]
    (day,) = made.of(Interval.DAY)
    assert (day.open, day.high, day.low, day.close, day.volume, day.turnover) == (10, 12, 10, 12, 14, 0)
    assert all(0 <= bar.open_interest < NO_PRICE for bar in made.closed)


@pytest.mark.parametrize("impossible", [20261332, 20260230, 1, -20261120, 2**31 - 1, 20211120, 20271120])
def test_an_impossible_trading_day_is_the_calendars_counted_and_logged_once(
    impossible: int, caplog: pytest.LogCaptureFixture
) -> None:
    made, counted = Made(), []
    made.bars.on_impossible_day(counted.append)
    with caplog.at_level(logging.WARNING):
        made.take(quote("14:58:00", 10, 5, 1), quote("14:59:00", 10, 7, 2, trading_day=impossible))
        made.take(quote("14:59:30", 10, 8, 3, trading_day=impossible), quote("14:59:40", 10, 9, 4))
    made.bars.close_all()
    assert [(bar.trading_day, bar.volume) for bar in made.of(Interval.DAY)] == [(20261120, 9)]
    assert counted == [SYMBOL, SYMBOL]
    assert len([record for record in caplog.records if str(impossible) in record.getMessage()]) == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_day_that_was_wrong_is_left_again(first: bool) -> None:
    made = Made()
    before = [] if first else [quote("09:30:00", 10, 5, 1)]
    made.take(*before, quote("09:31:00", 10, 7, 2, trading_day=20261124), quote("09:32:00", 10, 9, 3))
    made.take(quote("09:33:00", 10, 11, 4))
    made.bars.close_all()
    days = made.of(Interval.DAY)
    assert (days[-1].trading_day, days[-1].volume) == (20261120, 11)
    assert made.minutes[-1].trading_day == 20261120


def test_a_count_that_begins_again_within_a_day_loses_nothing() -> None:
    """Exchanges whose day turns at another hour than the calendar's: their volume begins at 0 again."""
    made = Made()
    made.take(quote("09:30:00", 10, 100, 1, turnover=1000), quote("09:31:00", 10, 160, 2, turnover=1600))
    made.take(quote("09:32:00", 11, 4, 3, turnover=44), quote("09:33:00", 11, 10, 4, turnover=110))
    made.bars.close_all()
    assert [bar.volume for bar in made.minutes] == [100, 60, 4, 6]
    (day,) = made.of(Interval.DAY)
    assert (day.volume, day.turnover) == (170, 1710)


def test_a_smaller_volume_of_a_later_time_keeps_the_count_and_the_price_counts() -> None:
    """Crypto exchanges state the volume of the last 24 hours."""
    made = Made()
    made.take(quote("09:30:00", 10, 100, 1), quote("09:31:00", 12, 99, 2), quote("09:32:00", 11, 105, 3))
    made.bars.close_all()
    assert [(bar.close, bar.volume) for bar in made.minutes] == [(10, 100), (12, 0), (11, 5)]


# Watermarks


def test_watermarks_close_minutes_and_longer_bars_of_their_gateway_alone() -> None:
    made = Made()
    made.take(
        quote("09:34:10", 10, 5, 1, gateway="CTP"), quote("09:34:10", 10, 5, 1, symbol="IH2101.CFFEX", gateway="TTS")
    )
    made.watermark("09:34:59.999", "CTP")
    made.watermark("09:40:00", "OTHER")
    assert made.closed == []
    made.watermark("09:35:00", "CTP")
    assert [(bar.symbol, bar.interval) for bar in made.closed] == [
        (SYMBOL, Interval.MINUTE),
        (SYMBOL, Interval.MINUTES_5),
    ]


@pytest.mark.parametrize(
    ("symbol", "last", "end"),
    [
        ("rb2405.SHFE", "22:59:59", "23:00:00"),
        ("IF2612.CFFEX", "14:59:59", "15:00:00"),
        (SYMBOL, "11:29:59", "11:30:00"),
    ],
)
def test_a_sessions_last_bar_waits_a_second_for_its_last_tick(symbol: str, last: str, end: str) -> None:
    made = Made()
    day = 20261120 if last < "17" else 20261123
    made.take(quote(last, 10, 5, 1, symbol=symbol, trading_day=day))
    made.watermark(f"{end}.2")
    assert made.closed == []
    made.take(quote(f"{end}.5", 12, 9, 2, symbol=symbol, trading_day=day))
    made.watermark(f"{end}.999")
    assert made.closed == []
    made.watermark(end[:-1] + "1")
    (bar,) = made.minutes
    assert (bar.close, bar.volume, clock_times([bar])) == (12, 9, [last[:5]])
    made.take(quote(end[:-1] + "1.5", 12, 9, 3, symbol=symbol, trading_day=day))
    made.bars.close_all()
    assert len(made.minutes) == 1


def test_the_days_bar_closes_by_the_watermark_at_the_trading_days_end() -> None:
    made = Made()
    made.take(quote("14:59:00", 10, 5, 1), quote("15:00:00.5", 11, 9, 2))
    made.watermark("15:10:00")
    made.take(quote("15:30:00", 11, 9, 3, open_interest=7))
    made.watermark("16:59:59.999")
    assert made.of(Interval.DAY) == []
    made.watermark("17:00:00")
    (day,) = made.of(Interval.DAY)
    assert (day.start_ns, day.close, day.volume, day.incomplete) == (at("2026-11-20 00:00:00"), 11, 9, False)
    made.watermark("20:00:00")
    made.take(quote("2026-11-23 09:30:00", 11, 5, 4, trading_day=20261123))
    assert [bar.trading_day for bar in made.of(Interval.DAY)] == [20261120]
    assert len(made.minutes) == 1


def test_volume_that_comes_after_its_bar_closed_goes_into_the_next_and_reopens_nothing() -> None:
    made = Made()
    made.take(quote("09:34:10", 10, 5, 1))
    made.watermark("09:35:00")
    made.take(quote("09:34:59.9", 11, 7, 2), quote("09:35:30", 12, 8, 3), quote("09:36:00", 12, 9, 4))
    assert [(bar.open, bar.volume) for bar in made.minutes] == [(10, 5), (11, 3)]
    assert clock_times(made.minutes) == ["09:34", "09:35"]


def test_a_bar_that_lacks_lost_ticks_says_so_though_no_tick_follows() -> None:
    made = Made()
    made.take(quote("09:34:10", 10, 5, 1), quote("09:34:20", 11, 7, 2))
    made.bars.lose({"IF2101.CFFEX": 2, "IH2101.CFFEX": 9})
    made.take(quote("09:35:10", 11, 8, 3), quote("09:35:20", 11, 9, 4))
    made.bars.lose({"IF2101.CFFEX": 7})
    made.watermark("09:36:00")
    assert [(bar.volume, bar.incomplete) for bar in made.minutes] == [(7, False), (2, True)]


def test_a_late_tick_opens_no_longer_bar_again_that_the_watermark_closed() -> None:
    made = Made()
    made.take(quote("10:05:00", 10, 20, 1))
    made.watermark("10:15:30")
    made.take(quote("10:08:55", 11, 25, 2), quote("10:16:00", 12, 26, 3))
    assert clock_times(made.minutes) == ["10:05", "10:15"]
    made.watermark("10:20:00")
    assert [(bar.volume, *clock_times([bar])) for bar in made.of(Interval.MINUTES_5)] == [(20, "10:05"), (6, "10:15")]


# Epochs


def test_an_epoch_that_goes_on_marks_the_bars_it_found_open_and_compares_no_volumes() -> None:
    made = Made()
    made.take(quote("10:00:00", 10, 100, 1), quote("10:01:00", 10, 150, 2), quote("10:01:20", 11, 160, 3))
    made.bars.begin_epoch("two")
    made.take(quote("10:01:40", 12, 900, 5000, last_quantity=4), quote("10:01:50", 12, 910, 5001, last_quantity=1))
    made.take(quote("10:02:00", 12, 930, 5002), quote("10:03:00", 12, 931, 5003))
    assert [(bar.volume, bar.close, bar.incomplete) for bar in made.minutes] == [
        (100, 10, False),
        (50 + 10 + 4 + 10, 12, True),
        (20, 12, False),
    ]
    made.take(quote("10:05:00", 12, 940, 5004))
    assert [bar.incomplete for bar in made.of(Interval.MINUTES_5)] == [True]
    made.watermark("17:00:00")
    (day,) = made.of(Interval.DAY)
    assert day.volume == 940


def test_an_epoch_that_begins_in_a_later_minute_leaves_whole_what_was_over() -> None:
    made = Made()
    made.take(quote("14:58:00", 10, 100, 1), quote("14:59:00", 10, 150, 2), quote("15:00:00.5", 10, 160, 3))
    made.watermark("15:20:00")
    made.bars.begin_epoch("two")
    made.take(
        quote("2026-11-23 09:31:20", 10, 50, 900, trading_day=20261123, last_quantity=2, high_price=11, low_price=9)
    )
    made.take(quote("2026-11-23 09:32:00", 10, 60, 901, trading_day=20261123))
    made.take(quote("2026-11-23 09:33:00", 10, 61, 902, trading_day=20261123))
    assert not any(bar.incomplete for bar in made.closed if bar.trading_day == 20261120)
    assert [(bar.volume, bar.incomplete) for bar in made.minutes[2:]] == [(2, True), (10, False)]


def test_an_epoch_that_begins_again_closes_what_was_open_marked_and_makes_the_bars_again() -> None:
    made = Made()
    ticks = [quote("09:30:00", 10, 5, 1), quote("09:30:30", 11, 7, 2), quote("09:31:00", 12, 9, 3)]
    made.take(*ticks)
    made.bars.begin_epoch("two")
    for one in ticks:
        one.sequence += 1 << 30
    made.take(*ticks)
    made.watermark("17:00:00")
    assert [(bar.volume, bar.incomplete) for bar in made.minutes] == [(7, False), (2, True), (7, False), (2, False)]
    assert [(bar.volume, bar.incomplete) for bar in made.of(Interval.DAY)] == [(9, True), (9, False)]


def test_another_gateway_ends_the_bars_of_the_one_before() -> None:
    made = Made()
    made.take(quote("10:00:00", 10, 100, 1, gateway="SIM"), quote("10:01:00", 10, 150, 2, gateway="SIM"))
    made.take(
        quote("10:01:40", 50, 9000, 3, gateway="CTP", last_quantity=4, open_price=45, high_price=60, low_price=40)
    )
    made.take(quote("10:02:00", 50, 9010, 4, gateway="CTP"), quote("10:03:00", 50, 9011, 5, gateway="CTP"))
    assert [(bar.low, bar.high, bar.volume, bar.incomplete) for bar in made.minutes] == [
        (10, 10, 100, False),
        (10, 10, 50, True),
        (50, 50, 4, True),
        (50, 50, 10, False),
    ]
    made.watermark("17:00:00", "SIM")
    assert len(made.of(Interval.DAY)) == 1
    made.watermark("17:00:00", "CTP")
    assert [(bar.volume, bar.incomplete) for bar in made.of(Interval.DAY)] == [(150, True), (9011, False)]


def test_the_feeds_end_marks_what_was_not_over() -> None:
    made = Made()
    made.take(quote("10:00:00", 10, 100, 1), quote("10:03:20", 10, 150, 2))
    made.bars.close_all()
    assert [(bar.interval, bar.incomplete) for bar in made.closed if bar.interval <= Interval.MINUTES_5] == [
        (Interval.MINUTE, False),
        (Interval.MINUTE, True),
        (Interval.MINUTES_5, True),
    ]
    assert made.of(Interval.DAY)[0].incomplete
    made = Made()
    made.take(quote("14:59:59.5", 10, 100, 1))
    made.bars.close_all()
    assert not any(bar.incomplete for bar in made.closed)


def test_watermarks_that_a_dump_has_seen_change_nothing_of_it_when_they_come_again() -> None:
    whole, before, after = Made(), Made(), Made()
    for made in (whole, before):
        made.take(quote("09:31:00", 10, 5, 1))
        made.watermark("09:40:00")
        made.take(quote("09:33:00", 11, 7, 2))  # late: its bar is open although the watermark is beyond it
    after.bars.load(before.bars.dump())
    after.watermark("09:40:00")
    for made in (whole, after):
        made.take(quote("09:33:30", 12, 9, 3))
        made.watermark("09:41:00")
    assert before.closed + after.closed == whole.closed
    assert [(bar.close, bar.volume) for bar in whole.minutes] == [(10, 5), (12, 4)]


def test_open_bars_of_a_version_without_epochs_begin_anew() -> None:
    made = Made()
    made.bars.load({SYMBOL: {"trading_day": 20261120, "minute": None}})
    assert made.bars.dump() == {}
