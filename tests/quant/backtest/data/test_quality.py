"""Findings on data: each kind is named with its count and place, and nothing where nothing is odd."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.quant.backtest.data.dataset import BAR_VALUES, Bars, Ticks
from services.quant.backtest.data.quality import inspect
from tests.market.ticks import at
from tests.quant.backtest.generated import DAY, NIGHT, ODD, times_ns
from tests.quant.backtest.recordings import ZONE, if_ticks, rb_bars

COLUMNS = ("time_ns", *BAR_VALUES)
MINUTE = 60 * 10**9


def made(at_ns):
    at_ns = np.sort(at_ns)
    price = 3000 + 5 * np.sin(np.arange(len(at_ns)) / 50)
    filler = np.full(len(at_ns), 7.0)
    return Bars("rb2105.SHFE", "1m", at_ns, price, price + 1, price - 1, price, filler, filler, filler)


def without(bars, *ranges):
    keep = np.ones(len(bars), dtype=bool)
    for first, last in ranges:
        keep[first:last] = False
    return replace(bars, **{name: getattr(bars, name)[keep] for name in COLUMNS})


def finding(data, kind, zone=ZONE):
    return next((finding for finding in inspect(data, zone) if finding.kind == kind), None)


@pytest.mark.parametrize("sessions", [DAY, NIGHT, ODD, ((0, 0, 1440),)])
def test_sessions_nights_and_lunches_are_no_gaps(sessions):
    assert inspect(made(times_ns(12, sessions)), ZONE) == ()


def test_missing_bars_are_counted_with_their_place():
    bars = made(times_ns(20, NIGHT))
    day = 225 + 120
    missing = finding(without(bars, (5 * day + 10, 5 * day + 14), (9 * day + 100, 9 * day + 101)), "gap")
    assert missing.count == 5
    assert "5 bars are missing inside sessions, in 2 places (4 from 2020-01-07 09:10, 1 from " in missing.sentence


@pytest.mark.parametrize(("first", "last", "count"), [(0, 60, 60), (70, 80, 10), (140, 225, 85), (75, 135, 60)])
def test_a_session_cut_short_is_a_gap(first, last, count):
    day = 225
    assert finding(without(made(times_ns(20, DAY)), (7 * day + first, 7 * day + last)), "gap").count == count


def test_days_and_nights_without_trading_are_no_gaps():
    bars, day = made(times_ns(30, NIGHT)), 225 + 120
    assert finding(without(bars, (7 * day, 9 * day)), "gap") is None
    nights = [(at_day * day + 225, (at_day + 1) * day) for at_day in (4, 5, 11)]  # of working days
    assert finding(without(bars, *nights), "gap") is None


def test_weekends_of_a_market_around_the_clock_are_no_gaps():
    zone = ZoneInfo("America/New_York")
    minutes = np.arange(at("2021-05-02 00:00"), at("2021-06-20 00:00"), MINUTE)
    local = minutes + np.int64(8 * 3600 * 10**9 - 12 * 3600 * 10**9)  # New York's clock in summer
    day, hour = (local // (86_400 * 10**9) + 3) % 7, local % (86_400 * 10**9) // (3600 * 10**9)
    open_ = ~(((day == 4) & (hour >= 17)) | (day == 5) | ((day == 6) & (hour < 17)))
    bars = made(minutes[open_])
    assert finding(bars, "gap", zone) is None
    assert finding(without(bars, (20_000, 20_007)), "gap", zone).count == 7


def test_the_recorded_bars_have_the_night_that_began_late():
    missing = finding(rb_bars(), "gap")  # SHFE opened at 22:30 on 25 December 2019; no nights from February to April
    assert (missing.count, inspect(rb_bars(), ZONE)) == (18, (missing,))
    assert "18 from 2019-12-25 21:00" in missing.sentence


def test_recorded_ticks_are_whole():
    assert inspect(if_ticks(), ZONE) == ()


def test_silent_ticks_and_a_falling_volume_are_named():
    ticks = if_ticks()
    keep = (ticks.time_ns < at("2021-01-05 10:00:00")) | (ticks.time_ns > at("2021-01-05 10:20:00"))
    cut = Ticks(ticks.symbol, ticks.time_ns[keep], {name: values[keep] for name, values in ticks.columns.items()})
    assert (
        "20 minutes of sessions without a tick, in 1 place (20 from 2021-01-05 10:00)" in finding(cut, "gap").sentence
    )
    ticks.columns["volume"].flags.writeable = True
    volume = ticks.columns["volume"].copy()
    volume[5000] = 1
    assert finding(Ticks(ticks.symbol, ticks.time_ns, {**ticks.columns, "volume": volume}), "volume").count == 1


def test_quiet_runs_jumps_and_locked_days_are_named():
    bars, day = made(times_ns(10, DAY)), 225
    volume = bars.volume.copy()
    volume[300:325] = 0
    volume[5] = 0
    quiet = finding(replace(bars, volume=volume), "zero_volume")
    assert "25 bars without volume in 1 run of 10 or more (longest 25 from 2020-01-03 10:30)" in quiet.sentence
    assert "No bar has any volume." in finding(replace(bars, volume=np.zeros(len(bars))), "zero_volume").sentence
    close = bars.close.copy()
    close[400] *= 1.2
    jump = finding(replace(bars, close=close, high=np.maximum(bars.high, close)), "jump")
    assert jump.count == 2
    assert "largest +20.0% at 2020-01-03 14:10" in jump.sentence
    flat = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for values in flat.values():
        values[5 * day : 6 * day] = 3000.0
    assert "1 day has one price only (2020-01-07)" in finding(replace(bars, **flat), "limit_day").sentence
    assert finding(replace(bars, close=bars.high + 1), "inconsistent").count == len(bars)


def test_disorder_and_duplicates_of_other_sources_are_named():
    bars = made(times_ns(1, DAY))
    order = [*range(50), 49, 48, *range(50, len(bars))]
    mixed = replace(bars, **{name: getattr(bars, name)[order] for name in COLUMNS})
    assert {(one.kind, one.count) for one in inspect(mixed, ZONE)} == {("disorder", 1), ("duplicate", 1)}


def test_daily_bars_have_holidays_but_no_missing_months():
    days = np.arange(at("2020-01-01 00:00"), at("2021-01-01 00:00"), 86_400 * 10**9)
    year = replace(made(days), interval="1d")
    assert finding(year, "gap") is None
    assert finding(without(year, (40, 50)), "gap") is None
    assert "2020-02-09 to 2020-03-21" in finding(without(year, (40, 80)), "gap").sentence


def test_gaps_in_many_places_of_a_year_are_all_counted():
    bars = without(made(times_ns(300, NIGHT)), *((at_bar, at_bar + 3) for at_bar in range(100, 100_000, 500)))
    assert "600 bars are missing inside sessions, in 200 places (most: 3 from " in finding(bars, "gap").sentence
