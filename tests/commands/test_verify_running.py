"""`redfire verify` beside trading that runs: its memory, its venue, and what only takes its time."""

import json
import os
from contextlib import asynccontextmanager

import pytest
from redfire.common.v1 import common_pb2

from services.kernel.errors import StartError
from services.kernel.identifiers import new_id
from tests.commands.broken_books import SqliteBooks, checks, look, trade
from tests.trading.conftest import trading
from tests.trading.fakes import SYMBOL

pytestmark = pytest.mark.slow
# Reconciliation, which would repair what a test does to the venue, is not asked again meanwhile.
RARELY = {"reconcile_interval_s": 600}


@asynccontextmanager
async def running(folder):
    """Trading that traded, its books, and the ids of an order that rests and one that closes."""
    async with trading(data_dir=folder, **RARELY) as client:
        resting, closing = await trade(client)
        address = client.platform.host.address
        document = {"pid": os.getpid(), "services": {"engine": address, "trading": [address]}}
        (folder / "addresses.json").write_text(json.dumps(document))
        yield client, SqliteBooks(folder), resting, closing


@pytest.fixture
async def live(tmp_path):
    (tmp_path / "data").mkdir()
    async with running(tmp_path / "data") as parts:
        yield parts


async def test_a_platform_that_runs_is_asked_and_nothing_is_found(live):
    _, books, *_ = live
    outcome = await look(books, 5.0)
    assert (outcome.findings.kept, outcome.left_out) == ([], [])
    assert outcome.counts["orders at venues"] == 2 and outcome.counts["trades of the day at venues"] == 4


async def test_an_acknowledged_order_that_is_not_at_the_venue_is_found(live):
    client, books, resting, _ = live
    del client.engine.orders[resting]
    outcome = await look(books, 0.5)
    assert [(f.check, f.order_id) for f in outcome.findings.kept] == [("venue_order", resting)]


async def test_an_order_that_the_venue_has_ended_is_found(live):
    client, books, resting, _ = live
    client.engine.update(resting, "CANCELED", silent=True)
    outcome = await look(books, 0.5)
    assert [(f.check, f.expected) for f in outcome.findings.kept] == [("venue_order", "CANCELED")]


async def test_an_order_that_works_at_the_venue_alone_is_found(live):
    client, books, resting, _ = live
    stranger = new_id()
    client.engine.orders[stranger] = type(client.engine.orders[resting])()
    client.engine.orders[stranger].CopyFrom(client.engine.orders[resting])
    client.engine.orders[stranger].order_id, client.engine.orders[stranger].venue_order_id = stranger, "v99"
    outcome = await look(books, 0.5)
    assert [(f.check, f.order_id) for f in outcome.findings.kept] == [("venue_order", stranger)]


async def test_another_rest_at_the_venue_is_found(live):
    client, books, resting, _ = live
    client.engine.orders[resting].quantity = "3"
    outcome = await look(books, 0.5)
    assert [(f.check, f.expected, f.found) for f in outcome.findings.kept] == [("venue_leaves", "3", "1")]


async def test_a_fill_that_is_not_booked_is_found(live):
    client, books, resting, _ = live
    client.engine.fill(resting, 1, 3900, trade_id="t-lost", silent=True)
    outcome = await look(books, 0.5)
    found = {finding.check: finding for finding in outcome.findings.kept}
    assert found.keys() == {"venue_trade", "venue_order"}
    assert found["venue_trade"].subject == "venue trade t-lost" and found["venue_trade"].found == "nothing"


async def test_a_repair_books_what_the_venue_has_and_edits_nothing(live):
    client, books, resting, closing = live
    client.engine.fill(resting, 1, 3900, trade_id="t-lost", silent=True)
    client.engine.update(closing, "CANCELED", silent=True)
    client.engine.positions[0].quantity = "5"
    outcome = await look(books, 0.5, repair=True)
    assert (outcome.findings.kept, outcome.before_repair) == ([], 4)
    assert "t-lost" in [trade.venue_trade_id for trade in await client.trades()]
    books.sql("UPDATE accounts SET balance = '1'")
    outcome = await look(books, 0.5, repair=True)
    assert checks(outcome) == {"balance", "memory_balance"} and outcome.before_repair == 2


async def test_another_position_at_the_venue_is_found(live):
    client, books, *_ = live
    client.engine.positions[0].quantity = "44"
    outcome = await look(books, 0.5)
    assert [(f.check, f.expected) for f in outcome.findings.kept] == [("venue_position", "44")]
    assert SYMBOL in outcome.findings.kept[0].subject


async def test_what_is_frozen_otherwise_than_open_orders_need_is_found(live):
    _, books, resting, closing = live
    books.sql(f"UPDATE orders SET reserve_price = '39' WHERE order_id = '{resting}'")
    outcome = await look(books, 0.5)
    assert checks(outcome) == {"frozen"}
    books.sql(f"""UPDATE orders SET details = '{{"hold_today": "1"}}' WHERE order_id = '{closing}'""")
    outcome = await look(books, 0.5)
    assert {finding.subject for finding in outcome.findings.kept} == {"", f"{SYMBOL} LONG"}


async def test_books_that_memory_has_otherwise_are_found(live):
    _, books, resting, *_ = live
    books.sql(f"UPDATE orders SET status = 3 WHERE order_id = '{resting}'")
    assert checks(await look(books, 0.5)) == {"memory_order"}


async def test_an_account_that_two_processes_own_is_found(live):
    _, books, *_ = live
    file = books.folder / "addresses.json"
    document = json.loads(file.read_text())
    document["services"]["trading"] *= 2  # which both say that they have all
    file.write_text(json.dumps(document))
    outcome = await look(books, 0.5)
    assert [(one.check, one.account_id != "") for one in outcome.findings.kept] == [("account_owner", True)]


async def test_an_outcome_that_stays_open_is_found_and_one_that_comes_is_not(live):
    client, books, *_ = live
    client.engine.ack = False
    order = await client.create(price="3901")
    outcome = await look(books, 0.5)
    assert [(f.check, f.order_id, f.found) for f in outcome.findings.kept] == [
        ("order_unsettled", order.order_id, "PENDING_NEW")
    ]
    client.engine.before_query = _answers(client, order.order_id)
    assert checks(await look(books, 30.0)) == set()


def _answers(client, order_id):
    """The venue acknowledges with the second look."""

    async def answer(_):
        if client.engine.orders[order_id].status == common_pb2.ORDER_STATUS_PENDING_NEW:
            client.engine.update(order_id, "NEW")

    return answer


async def test_events_that_do_not_move_are_found(live):
    _, books, *_ = live
    books.sql(
        "INSERT INTO inbox (event_id, position, routing_key, aggregate_id, payload, state, attempts, error, "
        f"accept_time) VALUES ('{new_id()}', 1, 'no.such', 'u', x'', 'WAITING', 0, '', 1)"
    )
    outcome = await look(books)
    assert checks(outcome) <= {"inbox", "dead_letter"} and checks(outcome)


async def test_a_platform_that_does_not_answer_cannot_be_checked(live, monkeypatch):
    _, books, *_ = live
    monkeypatch.setattr("services.commands.verify.convergence.PATIENCE_S", 0.1)
    document = {"pid": os.getpid(), "services": {"engine": "127.0.0.1:9", "trading": "127.0.0.1:9"}}
    (books.folder / "addresses.json").write_text(json.dumps(document))
    with pytest.raises(StartError, match="cannot be asked"):
        await look(books, 0.1)


async def test_addresses_that_a_killed_platform_left_are_no_platform(live):
    _, books, *_ = live
    (books.folder / "addresses.json").write_text(json.dumps({"pid": 2**22 + 1, "services": {"engine": "127.0.0.1:9"}}))
    assert "nothing runs" in (await look(books)).left_out[0]
