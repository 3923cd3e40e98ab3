"""The calendar service over loopback gRPC: days, sessions, and streams that follow the injected clock."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from redfire.market.v1 import calendar_service_pb2 as pb
from redfire.market.v1.calendar_service_pb2_grpc import CalendarServiceStub

from services.kernel.clock import ManualClock
from services.quant.calendar import Calendar, SessionStatus
from tests.harness import FakeService, Platform, platform
from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.waiting import until

RB, IF = "rb2105.SHFE", "IF2101.CFFEX"
AUCTION, OPEN, BREAK, CLOSED = (
    pb.SESSION_STATE_AUCTION,
    pb.SESSION_STATE_OPEN,
    pb.SESSION_STATE_BREAK,
    pb.SESSION_STATE_CLOSED,
)


def at(shanghai: str) -> datetime:
    return datetime.fromisoformat(f"{shanghai}+08:00").astimezone(UTC)


def text(stamp: Any) -> str:
    return datetime.fromtimestamp(stamp.seconds + 8 * 3600, UTC).strftime("%m-%d %H:%M")


class Served:
    """A running market service whose clock the test turns, and a guest's stub."""

    def __init__(self, running: Platform, clock: ManualClock) -> None:
        self.platform = running
        self.clock = clock
        self.stub = running.stub(CalendarServiceStub)

    def turn_to(self, shanghai: str) -> None:
        self.clock.advance((at(shanghai) - self.clock.now()).total_seconds())

    async def days(self, **fields: Any) -> list[pb.TradingDay]:
        return list((await self.stub.ListTradingDays(pb.ListTradingDaysRequest(**fields))).days)

    async def session(self, symbol: str) -> tuple[int, int, int, str]:
        session = (await self.stub.GetSession(pb.GetSessionRequest(symbol=symbol))).session
        assert session.symbol == symbol
        return session.state, session.trading_day, session.next_state, text(session.next_change_time)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    clock = ManualClock(at("2026-11-24 16:50"))
    fakes = {"engine": FakeService(lambda context: [FakeEngine()])}
    async with platform("market", fakes=fakes, clock=clock) as running:
        served = Served(running, clock)
        await until(lambda: _knows(served))
        yield served


async def _knows(served: Served) -> bool:
    try:
        await served.session(RB)
    except grpc.aio.AioRpcError:
        served.clock.advance(1)  # the catalogue is asked for again after a second
        return False
    return True


async def read(call: Any, symbol: str = "") -> pb.StreamSessionsResponse:
    """The next message that is no heartbeat."""
    while True:
        message = await asyncio.wait_for(call.read(), 10)
        assert message is not grpc.aio.EOF
        if message.WhichOneof("event") != "heartbeat":
            return message


async def test_trading_days_leave_out_weekends_holidays_and_closures(served: Served) -> None:
    days = await served.days(exchange="SHFE", start_date="2024-02-07", end_date="2024-02-21")
    assert [day.trading_day for day in days] == [20240207, 20240208, 20240219, 20240220, 20240221]
    assert not any(day.provisional for day in days)


async def test_a_product_or_symbol_narrows_the_sessions(served: Served) -> None:
    asked = {"exchange": "SHFE", "start_date": "2026-11-30", "end_date": "2026-11-30"}
    (by_product,) = await served.days(**asked, product="au")
    (by_symbol,) = await served.days(**asked, symbol="au2702.SHFE")
    assert by_product == by_symbol
    continuous = [one for one in by_product.sessions if one.kind == pb.SESSION_KIND_CONTINUOUS]
    assert [(text(one.start_time), text(one.end_time)) for one in continuous] == [
        ("11-27 21:00", "11-28 02:30"),
        ("11-30 09:00", "11-30 10:15"),
        ("11-30 10:30", "11-30 11:30"),
        ("11-30 13:30", "11-30 15:00"),
    ]
    assert by_product.sessions[0].kind == pb.SESSION_KIND_AUCTION
    (exchange,) = await served.days(**asked)
    assert [text(one.start_time) for one in exchange.sessions][:2] == ["11-30 08:55", "11-30 09:00"]


async def test_without_dates_days_begin_today_and_go_on_for_a_month(served: Served) -> None:
    days = await served.days(exchange="DCE")
    assert (days[0].trading_day, days[-1].trading_day) == (20261124, 20261224)
    served.turn_to("2026-11-24 17:30")
    assert (await served.days(exchange="DCE"))[0].trading_day == 20261125


async def test_years_whose_holidays_are_not_known_are_provisional(served: Served) -> None:
    days = await served.days(exchange="SHFE", start_date="2040-12-31", end_date="2041-01-02")
    assert [(day.trading_day, day.provisional) for day in days] == [
        (20401231, True),
        (20410101, True),
        (20410102, True),
    ]


async def test_days_come_in_pages(served: Served) -> None:
    asked = {"exchange": "CFFEX", "start_date": "2026-01-01", "end_date": "2026-12-31", "page_size": 100}
    days: list[int] = []
    token = ""
    while True:
        page = await served.stub.ListTradingDays(pb.ListTradingDaysRequest(**asked, page_token=token))
        assert len(page.days) <= 100
        days += [day.trading_day for day in page.days]
        token = page.next_page_token
        if not token:
            break
    assert days == sorted(set(days))
    assert (days[0], days[-1], len(days)) == (20260105, 20261231, 242)
    other = pb.ListTradingDaysRequest(**{**asked, "exchange": "SHFE"}, page_token="bm90IG91cnM")
    assert (await refused(served.stub.ListTradingDays(other)))[1:] == ("INVALID_PAGE_TOKEN", ["page_token"])


@pytest.mark.parametrize("cursor", [[1], [0], [20261131], ["1"], ["0000-01-01"], ["2026-11-31"], ["\ud800"]])
async def test_a_page_token_that_a_client_made_up_is_refused(served: Served, cursor: list[Any]) -> None:
    asked = {"exchange": "CFFEX", "start_date": "2026-01-01", "end_date": "2026-12-31", "page_size": 1}
    token = (await served.stub.ListTradingDays(pb.ListTradingDaysRequest(**asked))).next_page_token
    query, _ = json.loads(base64.urlsafe_b64decode(token + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([query, cursor]).encode()).decode()
    request = pb.ListTradingDaysRequest(**asked, page_token=forged)
    assert (await refused(served.stub.ListTradingDays(request)))[2] == ["page_token"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"exchange": ""}, "exchange"),
        ({"exchange": "shfe"}, "exchange"),
        ({"exchange": "SHFE", "start_date": "20261124"}, "start_date"),
        ({"exchange": "SHFE", "start_date": "2026-02-30"}, "start_date"),
        ({"exchange": "SHFE", "start_date": "2026-11-24", "end_date": "2026-11-23"}, "end_date"),
        ({"exchange": "SHFE", "start_date": "2000-01-01", "end_date": "2026-11-23"}, "end_date"),
        ({"exchange": "SHFE", "symbol": "IF2612.CFFEX"}, "symbol"),
        ({"exchange": "SHFE", "symbol": "rb2701.SHFE", "product": "au"}, "product"),
        ({"exchange": "SHFE", "product": "r b"}, "product"),
        ({"exchange": "SHFE", "page_size": -1}, "page_size"),
    ],
)
async def test_days_that_cannot_be_listed_name_the_field(served: Served, fields: dict[str, Any], field: str) -> None:
    code, _, named = await refused(served.stub.ListTradingDays(pb.ListTradingDaysRequest(**fields)))
    assert (code, named) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_what_nobody_knows_is_not_found(served: Served) -> None:
    unknown = served.stub.ListTradingDays(pb.ListTradingDaysRequest(exchange="SHEF"))
    assert (await refused(unknown))[0] == grpc.StatusCode.NOT_FOUND
    session = served.stub.GetSession(pb.GetSessionRequest(symbol="no2701.SHFE"))
    assert (await refused(session))[:2] == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SYMBOL")
    stream = served.stub.StreamSessions(pb.StreamSessionsRequest(symbols=[RB, "no2701.SHFE"]))
    assert (await refused(stream))[:2] == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SYMBOL")
    nothing = served.stub.StreamSessions(pb.StreamSessionsRequest())
    assert (await refused(nothing))[::2] == (grpc.StatusCode.INVALID_ARGUMENT, ["symbols"])


async def test_a_session_says_the_state_and_what_follows(served: Served) -> None:
    assert await served.session(RB) == (CLOSED, 20261124, AUCTION, "11-24 20:55")
    served.turn_to("2026-11-24 17:30")
    assert await served.session(RB) == (CLOSED, 20261125, AUCTION, "11-24 20:55")
    assert await served.session(IF) == (CLOSED, 20261125, AUCTION, "11-25 09:25")
    served.turn_to("2026-11-24 21:30")
    assert await served.session(RB) == (OPEN, 20261125, CLOSED, "11-24 23:00")
    served.turn_to("2026-11-25 10:20")
    assert await served.session(RB) == (BREAK, 20261125, OPEN, "11-25 10:30")
    assert await served.session(IF) == (OPEN, 20261125, BREAK, "11-25 11:30")


async def test_a_stream_says_the_states_now_and_each_change(served: Served) -> None:
    call = served.stub.StreamSessions(pb.StreamSessionsRequest(symbols=[RB, IF]))
    first = [(await read(call)).session for _ in range(2)]
    assert [(one.symbol, one.state, one.trading_day) for one in first] == [
        (IF, CLOSED, 20261124),
        (RB, CLOSED, 20261124),
    ]
    served.turn_to("2026-11-24 17:00")  # the trading day changes, the states do not
    assert [(await read(call)).session.trading_day for _ in range(2)] == [20261125, 20261125]
    for moment, state in (("20:55", AUCTION), ("21:00", OPEN), ("23:00", CLOSED)):
        served.turn_to(f"2026-11-24 {moment}")
        session = (await read(call)).session
        assert (session.symbol, session.state) == (RB, state)
    call.cancel()


async def test_a_stream_beats_while_nothing_changes(served: Served) -> None:
    request = pb.StreamSessionsRequest(symbols=[RB])
    request.heartbeat_interval.FromMilliseconds(100)
    call = served.stub.StreamSessions(request)
    assert (await call.read()).WhichOneof("event") == "session"
    beat = await asyncio.wait_for(call.read(), 10)
    assert beat.heartbeat.time.ToDatetime(UTC) == served.clock.now()
    call.cancel()


async def test_a_beating_stream_asks_the_calendar_only_when_something_may_have_changed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guests may ask for ten beats a second of 500 symbols."""
    asked: list[str] = []
    status = Calendar.status

    def counting(calendar: Calendar, symbol: str, *rest: int) -> SessionStatus:
        asked.append(symbol)
        return status(calendar, symbol, *rest)

    monkeypatch.setattr(Calendar, "status", counting)
    request = pb.StreamSessionsRequest(symbols=[RB, IF])
    request.heartbeat_interval.FromMilliseconds(100)
    call = served.stub.StreamSessions(request)
    assert [(await call.read()).WhichOneof("event") for _ in range(6)] == ["session"] * 2 + ["heartbeat"] * 4
    assert len(asked) <= 4
    served.turn_to("2026-11-24 20:55")
    assert {(await read(call)).session.state for _ in range(2)} == {AUCTION, CLOSED}
    call.cancel()


async def test_streams_end_with_the_reason_when_the_service_stops() -> None:
    fakes = {"engine": FakeService(lambda context: [FakeEngine()])}
    clock = ManualClock(at("2026-11-24 16:50"))
    async with platform("market", fakes=fakes, clock=clock) as running:
        served = Served(running, clock)
        await until(lambda: _knows(served))
        call = served.stub.StreamSessions(pb.StreamSessionsRequest(symbols=[RB]))
        assert (await read(call)).WhichOneof("event") == "session"
        reading = asyncio.create_task(read(call))
        await asyncio.sleep(0)
        await running.host.stop()
        assert (await reading).end.reason == "SHUTTING_DOWN"


async def test_no_more_streams_are_open_than_the_setting_allows() -> None:
    fakes = {"engine": FakeService(lambda context: [FakeEngine()])}
    clock = ManualClock(at("2026-11-24 16:50"))
    async with platform("market", fakes=fakes, clock=clock, settings={"market": {"max_streams": 1}}) as running:
        served = Served(running, clock)
        await until(lambda: _knows(served))
        request = pb.StreamSessionsRequest(symbols=[RB])
        call = served.stub.StreamSessions(request)
        await read(call)
        assert (await refused(served.stub.StreamSessions(request)))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()
