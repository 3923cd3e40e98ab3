"""The exchanges' calendar over gRPC: convert, call the service, convert."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from typing import Any

from redfire.market.v1 import calendar_service_pb2 as pb
from redfire.market.v1 import calendar_service_pb2_grpc as rpc

from services.kernel.clock import Clock
from services.kernel.errors import Invalid
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.market.calendar_service import CalendarService, DaysQuery, TradingDay
from services.market.convert import seconds_from_pb, timestamp_to_pb
from services.quant.calendar import Session, SessionKind, SessionState, SessionStatus

_KINDS: dict[SessionKind, Any] = {kind: pb.SessionKind.Value(f"SESSION_KIND_{kind.name}") for kind in SessionKind}
_STATES: dict[SessionState, Any] = {
    state: pb.SessionState.Value(f"SESSION_STATE_{state.name}") for state in SessionState
}


class CalendarApi(rpc.CalendarServiceServicer):
    """redfire.market.v1.CalendarService."""

    def __init__(self, calendar: CalendarService, clock: Clock) -> None:
        self._calendar = calendar
        self._clock = clock

    async def ListTradingDays(self, request: pb.ListTradingDaysRequest, call: Call) -> pb.ListTradingDaysResponse:
        """Trading days, oldest first."""
        page = Page.of(request, cursor=(str,))
        start, end = _day(request.start_date, "start_date"), _day(request.end_date, "end_date")
        query = DaysQuery(request.exchange, start, end, request.product, request.symbol)
        # As a date: a client can make up tokens, and not every number is one.
        after = _day(page.after[0], "page_token") if page.after else 0
        rows = self._calendar.list_trading_days(query, after, page.size + 1)
        cut = page.slice(rows, lambda day: [_iso(day.number)])
        return pb.ListTradingDaysResponse(days=map(_trading_day_to_pb, cut.items), next_page_token=cut.next_page_token)

    async def GetSession(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        """The present session of a market."""
        status = await self._calendar.get_session(request.symbol)
        return pb.GetSessionResponse(session=_session_to_pb(request.symbol, status))

    async def StreamSessions(
        self, request: pb.StreamSessionsRequest, call: Call
    ) -> AsyncGenerator[pb.StreamSessionsResponse, None]:
        """Sessions of markets as they change."""
        stream = self._calendar.stream_sessions(request.symbols, seconds_from_pb(request, "heartbeat_interval"))
        async with aclosing(stream):
            async for change in stream:
                if change is None:
                    yield pb.StreamSessionsResponse(heartbeat={"time": timestamp_to_pb(self._clock.now_ns())})
                else:
                    yield pb.StreamSessionsResponse(session=_session_to_pb(*change))
        yield pb.StreamSessionsResponse(end={"reason": self._calendar.end_reason})


def _day(text: str, field: str) -> int:
    """`2026-11-24` as 20261124; 0 when not given."""
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid(f"{field}: {text} is no date", field=field) from None
    return day.year * 10_000 + day.month * 100 + day.day if day else 0


def _iso(number: int) -> str:
    return f"{number // 10_000:04}-{number // 100 % 100:02}-{number % 100:02}"


def _trading_day_to_pb(day: TradingDay) -> pb.TradingDay:
    return pb.TradingDay(trading_day=day.number, sessions=map(_span_to_pb, day.sessions), provisional=day.provisional)


def _span_to_pb(session: Session) -> pb.SessionSpan:
    return pb.SessionSpan(
        start_time=timestamp_to_pb(session.start_ns),
        end_time=timestamp_to_pb(session.end_ns),
        kind=_KINDS[session.kind],
    )


def _session_to_pb(symbol: str, status: SessionStatus) -> pb.Session:
    return pb.Session(
        symbol=symbol,
        state=_STATES[status.state],
        trading_day=status.trading_day,
        next_state=_STATES[status.next_state],
        next_change_time=timestamp_to_pb(status.next_change_ns) if status.next_change_ns else None,
    )
