"""Days on which Chinese exchanges are closed beside weekends, and for which years they are known."""

import logging
from dataclasses import dataclass
from functools import cache

import chinese_calendar

from services.quant.calendar.days import day_number, day_of_number, to_number
from services.quant.calendar.table import load_table

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Closures:
    """Public holidays and the table's closures, as days since 1970. Outside `first` to `last` they are not known."""

    days: frozenset[int]
    first: int
    last: int
    _logged: bool = False

    def closes(self, day: int) -> bool:
        """Return whether a day is one of them. The first day that is not known is logged, once."""
        if not (self.first <= day <= self.last or self._logged):
            self._logged = True
            known = day_number(self.first), day_number(self.last)
            log.warning("holidays are known from %d to %d; outside only weekends are closed", *known)
        return day in self.days


@cache
def load_closures() -> Closures:
    """The closures, read once. Raises: StartError when the table is wrong."""
    holidays = sorted(chinese_calendar.constants.holidays)
    days = frozenset(day_of_number(to_number(day)) for day in (*holidays, *load_table().closures))
    first, last = holidays[0].year * 10_000 + 101, holidays[-1].year * 10_000 + 1231
    return Closures(days, day_of_number(first), day_of_number(last))
