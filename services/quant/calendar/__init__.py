"""Trading days and sessions: the one rule that every service asks.

**Trading day.** On Chinese exchanges a moment belongs to the first day that is open, counted from 17:00 Shanghai time:
from 17:00 on it is the next open day, so that Friday's night and the weekend are Monday's, and the evening before a
holiday is the day after it. The rule is the same for all their products, with or without a night session. Open are
Mondays to Fridays without the public holidays (package chinesecalendar) and without the closures of `table.yaml`;
weekends that are worked in exchange for holidays are closed. Years that the package does not know yet have weekends
only: `Calendar.known_from` and `known_until` say which, and the log says it once.

**Sessions** come from `table.yaml`, by product and by the trading day from which they hold. A night session exists
when nothing but a weekend lies between the trading day and the one before it (the exchanges' holiday notices).

**State.** AUCTION and OPEN take orders. BREAK lies between two sessions of a day: 10:15 to 10:30, noon. All else is
CLOSED: after the last session, weekends and holidays, and from the night's end until the morning, when the trading day
and its DAY orders live on (`day_end_ns` says when they end).

**Other exchanges** (CME, BINANCE, LOCAL …) are open round the clock, every day, and their trading day is the day in
UTC. A recording that carries its own trading days keeps them: nobody asks this calendar.
"""

from services.quant.calendar.calendar import Calendar
from services.quant.calendar.session import Session, SessionKind, SessionState, SessionStatus

__all__ = ["Calendar", "Session", "SessionKind", "SessionState", "SessionStatus"]
