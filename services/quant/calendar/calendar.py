"""The calendar: trading days, sessions and states of exchanges and products."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from services.quant.calendar.closures import Closures, load_closures
from services.quant.calendar.days import (
    DAY_NS,
    MINUTE_NS,
    ChineseDays,
    Days,
    RoundTheClock,
    day_number,
    day_of_number,
    last_open,
    next_open,
    open_days,
    span,
    to_date,
)
from services.quant.calendar.product import Product, product_of
from services.quant.calendar.session import Session, SessionKind, SessionState, SessionStatus
from services.quant.calendar.table import Table, load_table

MOST_CACHED = 1 << 15
"""Symbols, and days of products, that are remembered: CTP announces about 20,000 contracts, most of them options."""
_STATES = {SessionKind.AUCTION: SessionState.AUCTION, SessionKind.CONTINUOUS: SessionState.OPEN}
_LATEST = 99991231
Hours: TypeAlias = tuple[tuple[str, str], ...]


class _Timeline(NamedTuple):
    """A trading day's states: state `i` holds from `starts[i]` until the next one or the day's end."""

    starts: list[int]
    states: list[SessionState]


class Calendar:
    """Trading days and sessions of all exchanges. Symbols are like `rb2701.SHFE`; trading days are YYYYMMDD.

    Quick for moments in order: `trading_day` compares with the span that it answered last. One calendar must not be
    shared by threads that ask about very different times: it stays right, but forgets what it remembers.
    """

    def __init__(self, table: Table, closures: Closures) -> None:
        self._table = table
        self.known_from, self.known_until = day_number(closures.first), day_number(closures.last)
        """The days (YYYYMMDD) between which holidays are known; outside only weekends are closed."""
        self._chinese = ChineseDays(closures.closes)
        self._always = RoundTheClock()
        self._days: dict[str, Days] = {}
        self._products: dict[str, Product | None] = {}  # by symbol
        self._named: dict[tuple[str, str], Product] = {}  # by exchange and product
        self._timelines: dict[tuple[Product, int], _Timeline] = {}
        self._hours: dict[tuple[Product, int], Hours] = {}

    @classmethod
    def load(cls) -> "Calendar":
        """The calendar of our own table and of package chinesecalendar's holidays.

        Files are read once; to make another calendar costs nothing. Raises: StartError when the table is wrong.
        """
        return cls(load_table(), load_closures())

    def knows(self, exchange: str) -> bool:
        """Return whether the table has the exchange; others are open round the clock."""
        return exchange in self._table.exchanges

    def knows_holidays(self, exchange: str, day: int) -> bool:
        """Return whether the holidays of the day's year are known; where there are none they are."""
        return not self.knows(exchange) or self.known_from <= day <= self.known_until

    # Trading days

    def trading_day(self, symbol: str, time_ns: int) -> int:
        """The trading day that a moment belongs to."""
        days = self._days.get(symbol)
        return (self.days_of(symbol) if days is None else days).of(time_ns)

    def trading_day_of_exchange(self, exchange: str, time_ns: int) -> int:
        """The trading day of an exchange that a moment belongs to."""
        return self._days_of_exchange(exchange).of(time_ns)

    def chinese_trading_day(self, time_ns: int) -> int:
        """The trading day that all Chinese exchanges share: for what is no symbol's, like a gateway's day."""
        return self._chinese.of(time_ns)

    def is_trading_day(self, exchange: str, day: int) -> bool:
        """Return whether the exchange is open on a day (YYYYMMDD)."""
        return self._days_of_exchange(exchange).is_open(day_of_number(day))

    def trading_days(self, exchange: str, start: int, end: int) -> list[int]:
        """The trading days from `start` to `end`, both included."""
        return list(self.iterate_trading_days(exchange, start, end))

    def iterate_trading_days(self, exchange: str, start: int, end: int) -> Iterator[int]:
        """The same one by one."""
        days = open_days(self._days_of_exchange(exchange), day_of_number(start), day_of_number(end))
        return (day_number(day) for day in days)

    def next_trading_day(self, exchange: str, day: int) -> int:
        """The first trading day after `day`."""
        return day_number(next_open(self._days_of_exchange(exchange), day_of_number(day) + 1))

    def previous_trading_day(self, exchange: str, day: int) -> int:
        """The last trading day before `day`."""
        return day_number(last_open(self._days_of_exchange(exchange), day_of_number(day) - 1))

    def day_begin_ns(self, symbol: str, trading_day: int) -> int:
        """Begin of the first session of a trading day, its auction included."""
        sessions = self.sessions_of(symbol, trading_day)
        return sessions[0].start_ns if sessions else self.day_span_ns(symbol, trading_day)[0]

    def day_end_ns(self, symbol: str, trading_day: int) -> int:
        """End of the last session of a trading day: DAY orders end. Of a day without sessions, its span's end."""
        sessions = self.sessions_of(symbol, trading_day)
        return sessions[-1].end_ns if sessions else self.day_span_ns(symbol, trading_day)[1]

    def day_span_ns(self, symbol: str, trading_day: int) -> tuple[int, int]:
        """All moments that belong to a trading day: from `start_ns` until before `end_ns`."""
        return span(self.days_of(symbol), day_of_number(trading_day))

    # Sessions

    def sessions(self, exchange: str, product: str, trading_day: int) -> tuple[Session, ...]:
        """Sessions of a trading day in order of time, the night's first; none when it is not a trading day."""
        return self._sessions(self._product(exchange, product), trading_day)

    def sessions_of(self, symbol: str, trading_day: int) -> tuple[Session, ...]:
        """Sessions of a symbol's trading day in order of time."""
        return self._sessions(self._product_of_symbol(symbol), trading_day)

    def hours(self, symbol: str, day: int = _LATEST) -> Hours:
        """Continuous trading as a contract specification has it: `(("21:00", "23:00"), …, ("13:30", "15:00"))`

        What holds on a date (YYYYMMDD), the latest by default, whatever its holidays and cancelled nights. A market
        round the clock has `(("00:00", "24:00"),)`.
        """
        product = self._product_of_symbol(symbol)
        if product is None:
            return (("00:00", "24:00"),)
        key = (product, day)
        hours = self._hours.get(key)
        if hours is None:
            if len(self._hours) >= MOST_CACHED:
                self._hours.clear()
            hours = self._hours[key] = self._hours_of(product, day)
        return hours

    def _hours_of(self, product: Product, day: int) -> Hours:
        hours, night_end = product.hours(to_date(day))
        if hours is None:
            return ()
        night = ((self._table.night.start, night_end),) if night_end is not None else ()
        spans = [*night, *hours.continuous]
        if hours.closing_auction:
            spans[-1] = spans[-1][0], hours.closing_auction[2]
        return tuple((_clock(start), _clock(end)) for start, end in spans)

    def status(self, symbol: str, time_ns: int, last_day: int = 0) -> SessionStatus:
        """The state at a moment, and the next one; `last_day` is a contract's last trading day, 0 when it has none."""
        trading_day = self.trading_day(symbol, time_ns)
        if 0 < last_day < trading_day:
            return SessionStatus(SessionState.CLOSED, trading_day, SessionState.CLOSED, 0)
        product = self._product_of_symbol(symbol)
        if product is None:
            return SessionStatus(SessionState.OPEN, trading_day, SessionState.OPEN, 0)
        starts, states = self._timeline(symbol, product, trading_day)
        index = bisect_right(starts, time_ns) - 1
        if index + 1 < len(starts):
            return SessionStatus(states[index], trading_day, states[index + 1], starts[index + 1])
        # Closed after the last session: the next one is another trading day's.
        exchange = symbol.rpartition(".")[2]
        day = trading_day
        for _ in range(_DAYS_AHEAD):
            day = self.next_trading_day(exchange, day)
            if 0 < last_day < day:
                break
            starts, states = self._timeline(symbol, product, day)
            if len(starts) > 1:
                return SessionStatus(SessionState.CLOSED, trading_day, states[1], starts[1])
        return SessionStatus(SessionState.CLOSED, trading_day, SessionState.CLOSED, 0)

    def takes_orders(self, symbol: str, time_ns: int, last_day: int = 0) -> bool:
        """Return whether the market is in an auction or open."""
        return self.status(symbol, time_ns, last_day).state.takes_orders

    def _timeline(self, symbol: str, product: Product, trading_day: int) -> _Timeline:
        key = (product, trading_day)
        timeline = self._timelines.get(key)
        if timeline is None:
            if len(self._timelines) >= MOST_CACHED:
                self._timelines.clear()
            begin, _ = self.day_span_ns(symbol, trading_day)
            midnight_ns = day_of_number(trading_day) * DAY_NS - self._chinese.offset_ns
            timeline = self._timelines[key] = _timeline(begin, midnight_ns, product.sessions(trading_day))
        return timeline

    def _sessions(self, product: Product | None, trading_day: int) -> tuple[Session, ...]:
        if product is None:
            start = day_of_number(trading_day) * DAY_NS
            return (Session(start, start + DAY_NS, SessionKind.CONTINUOUS),)
        return product.sessions(trading_day)

    # Symbols

    def _days_of_exchange(self, exchange: str) -> Days:
        return self._chinese if self.knows(exchange) else self._always

    def days_of(self, symbol: str) -> Days:
        """The days of a symbol's exchange."""
        days = self._days.get(symbol)
        if days is None:
            if len(self._days) >= MOST_CACHED:
                self._days.clear()
            days = self._days[symbol] = self._days_of_exchange(symbol.rpartition(".")[2])
        return days

    def _product_of_symbol(self, symbol: str) -> Product | None:
        if symbol in self._products:
            return self._products[symbol]
        if len(self._products) >= MOST_CACHED:
            self._products.clear()
        code, _, exchange = symbol.rpartition(".")
        known = self._products[symbol] = self._product(exchange, product_of(code))
        return known

    def _product(self, exchange: str, product: str) -> Product | None:
        """A product of a Chinese exchange; None for one that is open round the clock."""
        entry = self._table.exchanges.get(exchange)
        if entry is None:
            return None
        key = (exchange, product)
        named = self._named.get(key)
        if named is None:
            if len(self._named) >= MOST_CACHED:
                self._named.clear()
            named = self._named[key] = Product(self._table, entry, product, self._chinese)
        return named


_DAYS_AHEAD = 400
"""The span in which the next session is looked for: a product that is not listed yet has none."""


def _timeline(begin_ns: int, midnight_ns: int, sessions: tuple[Session, ...]) -> _Timeline:
    """States of a trading day; what began before its midnight is its night."""
    starts, states = [begin_ns], [SessionState.CLOSED]
    for session in sessions:
        if session.start_ns == starts[-1]:
            states[-1] = _STATES[session.kind]
        else:
            starts.append(session.start_ns)
            states.append(_STATES[session.kind])
        starts.append(session.end_ns)
        states.append(SessionState.CLOSED if session.start_ns < midnight_ns else SessionState.BREAK)
    if sessions:
        states[-1] = SessionState.CLOSED
    return _Timeline(starts, states)


def _clock(time_ns: int) -> str:
    minutes = time_ns // MINUTE_NS
    return f"{minutes // 60:02}:{minutes % 60:02}"
