from datetime import UTC, datetime, timedelta

from services.engine.sim.order_ids import SimOrderIds
from services.kernel.identifiers import new_id

NOW = datetime.now(UTC)


def test_with_all_ids_in_memory_nothing_is_looked_up():
    ids = SimOrderIds([("a", 1, NOW), ("b", 2, NOW)], kept=5)
    assert ids.find("a") == 1 and ids.find("c") is None
    assert not ids.may_be_older(new_id()) and not ids.may_be_older("whatever")


def test_an_id_from_before_what_is_remembered_is_looked_up():
    ids = SimOrderIds([("a", 1, NOW - timedelta(hours=1)), ("b", 2, NOW - timedelta(minutes=30))], kept=1)
    assert ids.find("a") is None and ids.find("b") == 2
    assert not ids.may_be_older(new_id())
    assert ids.may_be_older("not-a-uuid")
    now = datetime.now(UTC)
    ids.add("c", 3, now)
    ids.add("d", 4, now)
    assert ids.may_be_older(new_id())  # within a minute: clocks differ
