"""Facts of exchanges, and their rules."""

import logging
from datetime import date

import pytest

from services.quant.calendar import Calendar, Session, SessionKind, SessionState
from services.quant.calendar.calendar import MOST_CACHED
from services.quant.calendar.closures import load_closures
from tests.quant.calendar.shanghai import ns, text


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load()


def spans(sessions: tuple[Session, ...], kind: SessionKind = SessionKind.CONTINUOUS) -> list[str]:
    return [f"{text(s.start_ns)}-{text(s.end_ns)[-5:]}" for s in sessions if s.kind == kind]


def has_night(calendar: Calendar, symbol: str, day: int) -> bool:
    return any(span[11:13] == "21" for span in spans(calendar.sessions_of(symbol, day)))


@pytest.mark.parametrize(
    ("symbol", "moment", "day"),
    [
        ("rb1910.SHFE", "2019-05-07 21:30", 20190508),
        ("au2702.SHFE", "2026-11-27 23:00", 20261130),
        ("au2702.SHFE", "2026-11-28 02:29", 20261130),
        ("au2702.SHFE", "2026-11-28 12:00", 20261130),
        ("rb2701.SHFE", "2026-11-24 16:59", 20261124),
        ("rb2701.SHFE", "2026-09-30 18:00", 20261008),
        ("rb2405.SHFE", "2024-02-08 18:00", 20240219),
        ("rb2405.SHFE", "2024-02-04 10:00", 20240205),
    ],
)
def test_a_moment_belongs_to_its_trading_day(calendar: Calendar, symbol: str, moment: str, day: int) -> None:
    assert calendar.trading_day(symbol, ns(moment)) == day


@pytest.mark.parametrize(
    "symbol", ["rb2701.SHFE", "IF2612.CFFEX", "m2701.DCE", "SR701.CZCE", "sc2701.INE", "600000.SSE"]
)
def test_24_november_half_past_five_is_the_25th_for_every_chinese_exchange(calendar: Calendar, symbol: str) -> None:
    assert calendar.trading_day(symbol, ns("2026-11-24 17:30")) == 20261125


def test_there_were_no_nights_during_the_epidemic(calendar: Calendar) -> None:
    assert has_night(calendar, "cu2004.SHFE", 20200123)
    days = calendar.trading_days("SHFE", 20200203, 20200506)
    assert not any(has_night(calendar, "cu2004.SHFE", day) for day in days)
    assert has_night(calendar, "cu2006.SHFE", 20200507)


def test_there_was_no_night_before_the_mid_autumn_that_was_a_sunday(calendar: Calendar) -> None:
    for symbol in ("rb1601.SHFE", "m1601.DCE", "SR601.CZCE"):
        assert not has_night(calendar, symbol, 20150928)
        assert has_night(calendar, symbol, 20150925) and has_night(calendar, symbol, 20150929)
    assert "2015-09-28 08:55-09:00" in spans(calendar.sessions_of("rb1601.SHFE", 20150928), SessionKind.AUCTION)


def test_holidays_by_law_are_known_before_the_years_notice(calendar: Calendar) -> None:
    """The evening before New Year needs no new version of a package."""
    assert calendar.next_trading_day("SHFE", 20261231) == 20270104
    status = calendar.status("rb2705.SHFE", ns("2026-12-31 21:30"))
    assert (status.state, status.trading_day) == (SessionState.CLOSED, 20270104)
    assert not calendar.knows_holidays("SHFE", 20270104)


def test_there_is_no_night_on_the_evening_before_a_holiday(calendar: Calendar) -> None:
    assert not has_night(calendar, "au2612.SHFE", 20261008)  # the evening of 30 September
    assert not has_night(calendar, "au2612.SHFE", 20260928)  # 24 September, before Mid-Autumn on a Friday
    assert has_night(calendar, "au2612.SHFE", 20261009)
    assert calendar.status("au2612.SHFE", ns("2026-09-30 21:30")).state == SessionState.CLOSED


def test_friday_night_belongs_to_monday_until_half_past_two(calendar: Calendar) -> None:
    assert spans(calendar.sessions("SHFE", "au", 20261130)) == [
        "2026-11-27 21:00-02:30",
        "2026-11-30 09:00-10:15",
        "2026-11-30 10:30-11:30",
        "2026-11-30 13:30-15:00",
    ]


def test_weekends_that_are_worked_are_closed_and_the_friday_before_has_its_night(calendar: Calendar) -> None:
    assert not calendar.is_trading_day("SHFE", 20240204)  # a Sunday that was worked
    assert has_night(calendar, "rb2405.SHFE", 20240205)


def test_new_years_eve_2024_was_closed_although_the_law_has_a_working_day(calendar: Calendar) -> None:
    assert not calendar.is_trading_day("SHFE", 20240209)
    assert calendar.trading_days("SSE", 20240207, 20240220) == [20240207, 20240208, 20240219, 20240220]
    assert calendar.next_trading_day("DCE", 20240208) == 20240219
    assert calendar.previous_trading_day("DCE", 20240219) == 20240208


@pytest.mark.parametrize(
    ("symbol", "day", "end"),
    [
        ("rb1605.SHFE", 20160503, None),  # the evening before it was a holiday's
        ("rb1605.SHFE", 20160429, "01:00"),
        ("rb1610.SHFE", 20160504, "23:00"),
        ("rb1505.SHFE", 20141226, None),
        ("rb1505.SHFE", 20141229, "01:00"),
        ("au1312.SHFE", 20130705, None),
        ("au1312.SHFE", 20130708, "02:30"),
        ("cu1403.SHFE", 20131223, "01:00"),
        ("p1409.DCE", 20140707, "02:30"),
        ("m1509.DCE", 20150508, "02:30"),
        ("m1509.DCE", 20150511, "23:30"),
        ("m1905.DCE", 20190401, "23:00"),
        ("c1905.DCE", 20190329, None),
        ("SR505.CZCE", 20141215, "23:30"),
        ("SR005.CZCE", 20191211, "23:30"),
        ("SR005.CZCE", 20191212, "23:00"),
        ("sc1809.INE", 20180326, None),
        ("sc1809.INE", 20180327, "02:30"),
        ("si2301.GFEX", 20221228, None),
        ("AP2301.CZCE", 20221228, None),
        ("IF2612.CFFEX", 20261125, None),
        ("RB_HOT.SHFE", 20261125, "23:00"),
        ("rbHOT.SHFE", 20261125, "23:00"),
        ("cu2701C90000.SHFE", 20261125, "01:00"),
        ("m2701-C-3000.DCE", 20261125, "23:00"),
    ],
)
def test_nights_end_as_the_exchanges_had_it(calendar: Calendar, symbol: str, day: int, end: str | None) -> None:
    night = [span for span in spans(calendar.sessions_of(symbol, day)) if span[11:16] == "21:00"]
    assert [span[-5:] for span in night] == ([end] if end else [])


@pytest.mark.parametrize(
    ("symbol", "day", "expected"),
    [
        ("IF1512.CFFEX", 20151231, ["09:15-11:30", "13:00-15:15"]),
        ("IF1601.CFFEX", 20160104, ["09:30-11:30", "13:00-15:00"]),
        ("T2009.CFFEX", 20200717, ["09:15-11:30", "13:00-15:15"]),
        ("T2009.CFFEX", 20200720, ["09:30-11:30", "13:00-15:15"]),
        ("600000.SSE", 20180817, ["09:30-11:30", "13:00-15:00"]),
        ("600000.SSE", 20180820, ["09:30-11:30", "13:00-14:57"]),
        ("000001.SZSE", 20180817, ["09:30-11:30", "13:00-14:57"]),
    ],
)
def test_day_sessions_have_the_hours_of_their_time(
    calendar: Calendar, symbol: str, day: int, expected: list[str]
) -> None:
    assert [span[11:] for span in spans(calendar.sessions_of(symbol, day))] == expected


def test_auctions_come_before_the_first_session_and_since_2023_before_the_morning_too(calendar: Calendar) -> None:
    def auctions(symbol: str, day: int) -> list[str]:
        return [span[11:] for span in spans(calendar.sessions_of(symbol, day), SessionKind.AUCTION)]

    assert auctions("rb2310.SHFE", 20230525) == ["20:55-21:00"]
    assert auctions("rb2310.SHFE", 20230526) == ["20:55-21:00", "08:55-09:00"]
    assert auctions("rb2310.SHFE", 20231009) == ["08:55-09:00"]  # no night before it
    assert auctions("SR401.CZCE", 20230526) == ["20:55-21:00"]
    assert auctions("IF2612.CFFEX", 20261125) == ["09:25-09:30"]
    assert auctions("600000.SSE", 20261125) == ["09:15-09:25", "14:57-15:00"]
    first = calendar.sessions_of("rb2701.SHFE", 20261125)[0]
    assert text(first.matching_ns) == "2026-11-24 20:59"


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        ("2026-11-24 10:20", SessionState.BREAK),
        ("2026-11-24 12:00", SessionState.BREAK),
        ("2026-11-24 16:00", SessionState.CLOSED),
        ("2026-11-24 18:00", SessionState.CLOSED),
        ("2026-11-25 03:00", SessionState.CLOSED),  # after the night
        ("2026-11-28 02:00", SessionState.OPEN),
        ("2026-11-28 10:00", SessionState.CLOSED),  # a Saturday
        ("2026-10-02 10:00", SessionState.CLOSED),
        ("2024-02-09 10:00", SessionState.CLOSED),
    ],
)
def test_pauses_of_a_day_are_breaks_and_all_else_is_closed(
    calendar: Calendar, moment: str, state: SessionState
) -> None:
    assert calendar.status("au2612.SHFE", ns(moment)).state == state


def test_states_follow_each_other_through_a_day(calendar: Calendar) -> None:
    moment, seen = ns("2026-11-24 16:00"), []
    while moment < ns("2026-11-25 15:00"):
        status = calendar.status("rb2701.SHFE", moment)
        seen.append((status.state.name, status.trading_day))
        moment = status.next_change_ns
    assert seen == [
        ("CLOSED", 20261124),
        ("AUCTION", 20261125),
        ("OPEN", 20261125),
        ("CLOSED", 20261125),
        ("AUCTION", 20261125),
        ("OPEN", 20261125),
        ("BREAK", 20261125),
        ("OPEN", 20261125),
        ("BREAK", 20261125),
        ("OPEN", 20261125),
    ]


def test_a_contract_is_closed_for_good_after_its_last_day(calendar: Calendar) -> None:
    def seen(moment: str) -> tuple[str, str, int]:
        status = calendar.status("IF2612.CFFEX", ns(moment), 20261218)
        return status.state.name, status.next_state.name, status.next_change_ns

    assert seen("2026-12-17 16:00") == ("CLOSED", "AUCTION", ns("2026-12-18 09:25"))
    assert seen("2026-12-18 14:00") == ("OPEN", "CLOSED", ns("2026-12-18 15:00"))
    assert seen("2026-12-18 15:00") == ("CLOSED", "CLOSED", 0)
    assert seen("2026-12-21 10:00") == ("CLOSED", "CLOSED", 0)
    assert not calendar.takes_orders("IF2612.CFFEX", ns("2026-12-21 10:00"), 20261218)


def test_a_trading_day_begins_with_its_first_auction_and_ends_with_its_last_session(calendar: Calendar) -> None:
    assert text(calendar.day_begin_ns("rb2701.SHFE", 20261130)) == "2026-11-27 20:55"
    assert text(calendar.day_end_ns("rb2701.SHFE", 20261130)) == "2026-11-30 15:00"
    assert text(calendar.day_end_ns("T2612.CFFEX", 20261130)) == "2026-11-30 15:15"
    assert [text(moment) for moment in calendar.day_span_ns("rb2701.SHFE", 20261130)] == [
        "2026-11-27 17:00",
        "2026-11-30 17:00",
    ]


def test_a_day_without_sessions_ends_with_its_span(calendar: Calendar) -> None:
    assert calendar.sessions_of("rb2701.SHFE", 20261128) == ()
    assert text(calendar.day_end_ns("rb2701.SHFE", 20261128)) == "2026-11-28 17:00"


def test_an_exchange_that_is_not_known_is_open_round_the_clock_in_utc(calendar: Calendar) -> None:
    moment = ns("2026-11-28 07:59")  # 23:59 in UTC, on the day before
    assert calendar.trading_day("BTCUSDT.BINANCE", moment) == 20261127
    status = calendar.status("BTCUSDT.BINANCE", moment)
    assert (status.state, status.next_change_ns) == (SessionState.OPEN, 0)
    assert calendar.is_trading_day("BINANCE", 20261128)
    (session,) = calendar.sessions("BINANCE", "BTCUSDT", 20261128)
    assert (text(session.start_ns), text(session.end_ns)) == ("2026-11-28 08:00", "2026-11-29 08:00")


def test_the_contract_hours_are_those_of_the_table(calendar: Calendar) -> None:
    assert calendar.hours("rb2701.SHFE", 20261125)[0] == ("21:00", "23:00")
    assert calendar.hours("au2702.SHFE", 20261008)[0] == (
        "21:00",
        "02:30",
    )  # without its night
    assert calendar.hours("IF2612.CFFEX", 20261125) == (("09:30", "11:30"), ("13:00", "15:00"))
    assert calendar.hours("600000.SSE", 20261125) == (("09:30", "11:30"), ("13:00", "15:00"))
    assert calendar.hours("BTCUSDT.BINANCE") == (("00:00", "24:00"),)
    assert calendar.hours("rb2701.SHFE") == calendar.hours("rb2701.SHFE", 20261125)


def test_years_without_known_holidays_have_weekends_only_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    load_closures.cache_clear()
    calendar = Calendar.load()
    later = calendar.known_until // 10_000 + 2
    with caplog.at_level(logging.WARNING):
        days = [calendar.is_trading_day("SHFE", later * 10_000 + 100 + day) for day in range(1, 15)]
    Calendar.load().is_trading_day("SHFE", later * 10_000 + 201)
    assert days == [date(later, 1, day).weekday() < 5 for day in range(1, 15)]
    assert [record.message for record in caplog.records] == [
        f"holidays are known from 20040101 to {calendar.known_until}; outside only weekends are closed"
    ]


def test_what_is_remembered_is_bounded(calendar: Calendar) -> None:
    moment = ns("2026-11-25 10:00")
    for number in range(MOST_CACHED + 10):
        assert calendar.status(f"rb{number}.SHFE", moment).state == SessionState.OPEN
    assert len(calendar._days) <= MOST_CACHED
    assert len(calendar._products) <= MOST_CACHED
    assert len(calendar._timelines) <= MOST_CACHED


def test_contracts_and_options_of_a_product_share_what_is_remembered() -> None:
    calendar = Calendar.load()
    moment = ns("2026-11-25 10:00")
    for number in range(100):
        assert calendar.status(f"rb2701C{number}.SHFE", moment).state == SessionState.OPEN
        assert calendar.hours(f"rb2701C{number}.SHFE")[0] == ("21:00", "23:00")
    assert len(calendar._timelines) == len(calendar._named) == len(calendar._hours) == 1
