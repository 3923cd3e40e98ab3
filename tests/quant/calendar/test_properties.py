"""Properties of every product, day and moment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quant.calendar import Calendar, SessionKind, SessionState
from services.quant.calendar.days import DAY_NS
from services.quant.calendar.table import load_table
from tests.quant.calendar.shanghai import ns

CALENDAR = Calendar.load()
SYMBOLS = [
    "au2702.SHFE",
    "rb2701.SHFE",
    "m2701.DCE",
    "SR701.CZCE",
    "IF2612.CFFEX",
    "T2612.CFFEX",
    "600000.SSE",
    "X.BINANCE",
]
FIRST, LAST = ns("2004-01-01 00:00"), ns("2026-12-20 00:00")
symbols = st.sampled_from(SYMBOLS)
moments = st.integers(FIRST, LAST)
days = st.integers(0, (LAST - FIRST) // DAY_NS).map(lambda n: CALENDAR.trading_day("rb2701.SHFE", FIRST + n * DAY_NS))


@given(symbols, moments)
def test_a_moment_lies_in_the_span_of_its_trading_day_and_of_no_other(symbol: str, moment: int) -> None:
    exchange = symbol.rpartition(".")[2]
    day = CALENDAR.trading_day(symbol, moment)
    start, end = CALENDAR.day_span_ns(symbol, day)
    assert start <= moment < end
    assert CALENDAR.is_trading_day(exchange, day)
    assert CALENDAR.day_span_ns(symbol, CALENDAR.next_trading_day(exchange, day))[0] == end
    assert CALENDAR.day_span_ns(symbol, CALENDAR.previous_trading_day(exchange, day))[1] == start


@given(symbols, moments, moments)
def test_trading_days_never_go_back_in_time(symbol: str, one: int, other: int) -> None:
    first, last = sorted((one, other))
    assert CALENDAR.trading_day(symbol, first) <= CALENDAR.trading_day(symbol, last)


@given(symbols, moments)
def test_an_answer_does_not_depend_on_what_was_asked_before(symbol: str, moment: int) -> None:
    assert CALENDAR.trading_day(symbol, moment) == Calendar.load().trading_day(symbol, moment)


@given(symbols, days)
def test_sessions_follow_each_other_inside_of_their_day(symbol: str, day: int) -> None:
    start, end = CALENDAR.day_span_ns(symbol, day)
    sessions = CALENDAR.sessions_of(symbol, day)
    for session in sessions:
        assert start <= session.start_ns < session.end_ns <= end
        assert CALENDAR.trading_day(symbol, session.start_ns) == day
        assert CALENDAR.trading_day(symbol, session.end_ns - 1) == day
        if session.kind == SessionKind.AUCTION:
            assert session.start_ns < session.matching_ns <= session.end_ns
        start = session.end_ns


@given(symbols, moments)
def test_states_change_as_announced_and_not_before(symbol: str, moment: int) -> None:
    status = CALENDAR.status(symbol, moment)
    if not status.next_change_ns:
        assert status.state == status.next_state
        return
    assert moment < status.next_change_ns
    assert CALENDAR.status(symbol, status.next_change_ns).state == status.next_state != status.state
    assert CALENDAR.status(symbol, status.next_change_ns - 1).state == status.state


@given(symbols, moments)
def test_the_state_is_that_of_the_session_that_the_moment_lies_in(symbol: str, moment: int) -> None:
    sessions = CALENDAR.sessions_of(symbol, CALENDAR.trading_day(symbol, moment))
    running = [session for session in sessions if session.start_ns <= moment < session.end_ns]
    state = CALENDAR.status(symbol, moment).state
    assert state.takes_orders == bool(running)
    if running:
        assert (state == SessionState.AUCTION) == (running[0].kind == SessionKind.AUCTION)


@pytest.mark.parametrize("exchange", sorted(load_table().exchanges))
def test_every_product_of_the_table_has_sessions_today(exchange: str) -> None:
    entry = load_table().exchanges[exchange]
    names = [name for group in (*entry.nights, *entry.products) for name in group.products]
    for name in [*names, "unknown"]:
        assert CALENDAR.sessions(exchange, name, 20261125)
