"""The exchanges' calendar for callers: trading days, sessions, and streams of session changes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from services.kernel.clock import Clock
from services.kernel.errors import Invalid, NotFound
from services.market.service import TooManyStreams
from services.market.settings import MarketSettings
from services.quant.calendar import Calendar, Session, SessionStatus
from services.quant.calendar.days import days_after
from services.quant.calendar.product import product_of

MOST_DAYS = 3660
DEFAULT_DAYS = 30
POLL_S = 0.2
_NEVER = 1 << 63


class Instrument(Protocol):
    """The fields of an instrument that the calendar reads."""

    @property
    def expire_date(self) -> str:
        """Its last day, `YYYY-MM-DD`; empty when it has none."""


class Listed(Protocol):
    """The instruments."""

    @property
    def symbols(self) -> Collection[str]:
        """All symbols."""

    def find(self, symbol: str) -> Instrument | None:
        """The instrument."""

    async def require(self, symbols: Iterable[str]) -> None:
        """Raises: UnknownSymbol, Unavailable."""


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A trading day (YYYYMMDD) and its sessions. `provisional`: the holidays of its year are not known yet."""

    number: int
    sessions: tuple[Session, ...]
    provisional: bool


@dataclass(frozen=True, slots=True)
class DaysQuery:
    """A range of trading days: YYYYMMDD, 0 where not given; the sessions are those of `product` or of `symbol`."""

    exchange: str
    start: int
    end: int
    product: str = ""
    symbol: str = ""


class CalendarService:
    """Answers from the calendar. `run` wakes the streams when a market's state changes."""

    def __init__(
        self, calendar: Calendar, instruments: Listed, clock: Clock, settings: Callable[[], MarketSettings]
    ) -> None:
        self._calendar = calendar
        self._instruments = instruments
        self._clock = clock
        self._settings = settings
        self._changed = asyncio.Event()
        self._due_ns = _NEVER
        self._streams = 0
        self._end_reason = ""

    def list_trading_days(self, query: DaysQuery, after: int, limit: int) -> list[TradingDay]:
        """Trading days, at most `limit`, after the day `after`, oldest first.

        Raises: NotFound for an exchange that neither the calendar nor an instrument has; Invalid for a symbol of
        another exchange or product, and for a range that is too long or ends before it begins.
        """
        exchange, product = query.exchange, query.product
        if not self._calendar.knows(exchange) and exchange not in self._exchanges():
            raise NotFound("exchange", exchange)
        if query.symbol:
            code, _, other = query.symbol.rpartition(".")
            if other != exchange:
                raise Invalid(f"symbol: {query.symbol} is not of {exchange}", field="symbol")
            if product and product.upper() != product_of(code).upper():
                raise Invalid(f"product: {query.symbol} is not of {product}", field="product")
            product = product_of(code)
        start = query.start or self._calendar.trading_day_of_exchange(exchange, self._clock.now_ns())
        end = query.end or days_after(start, DEFAULT_DAYS)
        if end < start:
            raise Invalid("end_date: is before start_date", field="end_date")
        if end > days_after(start, MOST_DAYS):
            raise Invalid(f"end_date: is more than {MOST_DAYS} days after start_date", field="end_date")
        first = max(start, days_after(after, 1) if after else 0)
        days: list[TradingDay] = []
        if first <= end:
            for day in self._calendar.iterate_trading_days(exchange, first, end):
                sessions = self._calendar.sessions(exchange, product, day)
                days.append(TradingDay(day, sessions, not self._calendar.knows_holidays(exchange, day)))
                if len(days) == limit:
                    break
        return days

    async def get_session(self, symbol: str) -> SessionStatus:
        """The present session of an instrument's market. Raises: UnknownSymbol, Unavailable."""
        await self._instruments.require((symbol,))
        return self._status(symbol, self._clock.now_ns())

    async def stream_sessions(
        self, symbols: Iterable[str], heartbeat_s: float | None
    ) -> AsyncGenerator[tuple[str, SessionStatus] | None, None]:
        """Yield each symbol's status now and at each change, and None when nothing happened for a while.

        Ends when the service does; `end_reason` gives the reason. Raises: UnknownSymbol, Unavailable, TooManyStreams.
        """
        unique_symbols = sorted(set(symbols))
        await self._instruments.require(unique_symbols)
        settings = self._settings()
        if self._streams >= settings.max_streams:
            raise TooManyStreams(settings.max_streams)
        self._streams += 1
        try:
            sent: dict[str, SessionStatus] = {}
            due_ns = 0
            while not self._end_reason:
                # Not at each heartbeat: 500 symbols take milliseconds of everybody's loop.
                if self._clock.now_ns() >= due_ns:
                    changed, due_ns = self._statuses(unique_symbols, sent)
                    for symbol, status in changed:
                        sent[symbol] = status
                        yield symbol, status
                    if changed:
                        continue  # time has passed while they were written
                self._due_ns = min(self._due_ns, due_ns)
                try:
                    await asyncio.wait_for(self._changed.wait(), heartbeat_s or settings.heartbeat_s)
                except TimeoutError:
                    yield None
        finally:
            self._streams -= 1

    @property
    def end_reason(self) -> str:
        """The reason why streams end; empty while they go on."""
        return self._end_reason

    async def run(self) -> None:
        """Wake the streams when the earliest change of any of their markets is due."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._clock.now_ns() >= self._due_ns:
                self._wake()

    def drain(self, reason: str) -> None:
        """End the streams."""
        self._end_reason = reason
        self._wake()

    def _wake(self) -> None:
        self._due_ns = _NEVER
        self._changed.set()
        self._changed = asyncio.Event()

    def _statuses(
        self, symbols: list[str], sent: dict[str, SessionStatus]
    ) -> tuple[list[tuple[str, SessionStatus]], int]:
        """The statuses that are not as they were sent, and when the next one of all changes."""
        now_ns, changed, due_ns = self._clock.now_ns(), [], _NEVER
        for symbol in symbols:
            status = self._status(symbol, now_ns)
            if sent.get(symbol) != status:
                changed.append((symbol, status))
            day_ends_ns = self._calendar.day_span_ns(symbol, status.trading_day)[1]
            due_ns = min(due_ns, day_ends_ns, status.next_change_ns or _NEVER)
        return changed, due_ns

    def _status(self, symbol: str, now_ns: int) -> SessionStatus:
        """A contract is closed after its last day."""
        instrument = self._instruments.find(symbol)
        last_day = instrument.expire_date.replace("-", "") if instrument is not None else ""
        return self._calendar.status(symbol, now_ns, int(last_day or 0))

    def _exchanges(self) -> set[str]:
        return {symbol.rpartition(".")[2] for symbol in self._instruments.symbols}
