"""Sessions of one product of a Chinese exchange, day by day."""

import re
from datetime import date

from services.quant.calendar.days import DAY_NS, ROLL_NS, SHANGHAI_NS, ChineseDays, day_of_number, last_open, to_date
from services.quant.calendar.session import Session, SessionKind
from services.quant.calendar.table import Auction, Exchange, Hours, Table, in_force

_LETTERS = re.compile(r"^[A-Za-z]+")
_HOT = re.compile(r"HOT$", re.IGNORECASE)


def product_of(code: str) -> str:
    """The product of a contract, continuous contract or option: `rb2701`, `rb_HOT`, `rbHOT`, `rb2701C3000` → `rb`."""
    letters = _LETTERS.match(code)
    return _HOT.sub("", letters[0]) or letters[0] if letters else ""


class Product:
    """Sessions of a product; one that the table does not name has its exchange's hours and no nights."""

    def __init__(self, table: Table, exchange: Exchange, product: str, days: ChineseDays) -> None:
        name = product.upper()  # recordings write RB, the exchange rb
        self._table = table
        self._exchange = exchange
        self._days = days
        named = (entry for entry in exchange.products if name in (one.upper() for one in entry.products))
        own = next(named, None)
        dated = own.hours if own else exchange.hours
        self._hours = {since: table.hours[hours] for since, hours in dated.items()}
        nights = (entry.ends for entry in exchange.nights if name in (one.upper() for one in entry.products))
        self._nights = next(nights, {})

    def hours(self, day: date) -> tuple[Hours | None, int | None]:
        """The hours that hold on a date, and when the night before ends; whether or not it is a trading day."""
        hours = in_force(self._hours, day)
        return hours, in_force(self._nights, day) if hours else None

    def sessions(self, trading_day: int) -> tuple[Session, ...]:
        """Sessions of a trading day (YYYYMMDD) in order of time; none when it is not one."""
        today = day_of_number(trading_day)
        when = to_date(trading_day)
        hours, night_end = self.hours(when)
        if hours is None or not self._days.is_open(today):
            return ()
        sessions: list[Session] = []
        before = last_open(self._days, today - 1)
        if night_end is not None and self._holds_night(before, today, when):
            night = self._table.night
            sessions.append(_auction(before, night.auction))
            end = before * DAY_NS + night_end + (DAY_NS if night_end < ROLL_NS else 0) - SHANGHAI_NS
            sessions.append(Session(before * DAY_NS + night.start - SHANGHAI_NS, end, SessionKind.CONTINUOUS))
        since = self._exchange.morning_auction_after_night
        if not sessions or (since is not None and when >= since):
            sessions.append(_auction(today, hours.auction))
        midnight = today * DAY_NS - SHANGHAI_NS
        sessions += (Session(midnight + a, midnight + b, SessionKind.CONTINUOUS) for a, b in hours.continuous)
        if hours.closing_auction:
            sessions.append(_auction(today, hours.closing_auction))
        return tuple(sessions)

    def _holds_night(self, before: int, today: int, when: date) -> bool:
        """True when only a weekend lies between, and nights are not suspended."""
        if any((day + 3) % 7 < 5 for day in range(before + 1, today)):
            return False
        return not any(first <= when <= last for first, last in self._table.nights_suspended)


def _auction(day: int, auction: Auction) -> Session:
    midnight = day * DAY_NS - SHANGHAI_NS
    begin, matching, end = auction
    return Session(midnight + begin, midnight + end, SessionKind.AUCTION, midnight + matching)
