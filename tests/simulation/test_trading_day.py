from datetime import datetime

import pytest

from services.simulation.trading_day import SHANGHAI, TradingCalendar


@pytest.mark.parametrize(
    ("local", "day"),
    [
        ("2026-11-20 16:59:59", 20261120),
        ("2026-11-20 17:00:00", 20261123),  # Friday night is Monday's
        ("2026-11-21 12:00:00", 20261123),
        ("2026-11-22 23:00:00", 20261123),
        ("2026-11-23 16:59:59", 20261123),
        ("2026-11-23 17:00:00", 20261124),
        ("2026-11-24 02:29:00", 20261124),
        ("2026-12-31 21:00:00", 20270101),
    ],
)
def test_a_trading_day_begins_at_five_in_the_afternoon(local, day):
    moment = datetime.fromisoformat(local).replace(tzinfo=SHANGHAI)
    calendar = TradingCalendar()
    assert calendar.day_of(int(moment.timestamp()) * 10**9) == day
    assert calendar.day_of(int(moment.timestamp()) * 10**9 + 1) == day
