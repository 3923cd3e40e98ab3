"""A step happens in memory and on disk, or the books are read anew before anything else is done."""

import ast
import asyncio
import itertools
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

import pytest
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from sqlalchemy import text

from services.kernel.clock import ManualClock
from services.kernel.data import writes
from services.trading import repository as repository_module
from services.trading.domain import apply_reports
from services.trading.emulation.stops import Stops
from tests.trading.conftest import trading
from tests.trading.fakes import OTHER, SYMBOL
from tests.waiting import until


@pytest.mark.parametrize("where", ["book_position", "Trade"])
async def test_a_fill_whose_step_fails_half_way_is_booked_once_from_what_the_database_has(trader, where, monkeypatch):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    real, failures = getattr(apply_reports, where), []

    def fails_once(*args, **kwargs):
        if not failures:
            failures.append(where)
            if where == "book_position":
                real(*args, **kwargs)
            raise ValueError("a fault in the middle")
        return real(*args, **kwargs)

    monkeypatch.setattr(apply_reports, where, fails_once)
    trader.engine.fill(order.order_id, 1, "4000")
    await until(lambda: failures)
    await until(lambda: _trades(trader, 1), 10)
    trader.engine.fill(order.order_id, 1, "4000")
    await until(lambda: _trades(trader, 2), 10)
    (position,) = await trader.positions()
    account = await trader.account()
    assert position.quantity == "2"
    assert D(account.balance) == 1_000_000 - sum((D(t.commission) for t in await trader.trades()), D(0))
    assert sum((D(e.amount) for e in await trader.entries() if e.ledger_account.startswith("cash")), D(0)) == D(
        account.balance
    )


async def _trades(trader, count):
    if trader.platform.host.lifecycle.waiting_for("trading"):
        return False
    return len(await trader.trades()) == count


async def test_a_report_that_can_never_be_booked_keeps_no_other_from_it(trader, monkeypatch):
    orders = [await trader.create() for _ in range(2)]
    for order in orders:
        await trader.becomes(order.order_id, "NEW")
    real, tried = apply_reports.book_position, []

    def fails(cache, account, order, *rest):
        if order.order_id == orders[0].order_id:
            tried.append(order.order_id)
            raise ValueError("a lasting fault")
        return real(cache, account, order, *rest)

    monkeypatch.setattr(apply_reports, "book_position", fails)
    trader.engine.fill(orders[0].order_id, 1, "4000")
    await until(lambda: len(tried) >= 3, 10)
    trader.engine.fill(orders[1].order_id, 1, "4000")
    await until(lambda: _trades(trader, 1), 10)
    assert len(tried) == 3 and (await trader.positions())[0].quantity == "1"


def test_every_step_is_a_block():
    count = 0
    for file in Path(repository_module.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        blocks = {item.context_expr for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items}
        steps = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin"
            if ast.unparse(node.func.value) in (("self",) if file.name == "store.py" else ("store", "self._store"))
        ]
        assert all(step in blocks for step in steps), file.name
        count += len(steps)
        for node in ast.walk(tree):
            if isinstance(node, ast.With) and any(item.context_expr in steps for item in node.items):
                assert not any(isinstance(inner, ast.Await) for inner in ast.walk(node)), (file.name, node.lineno)
    assert count > 40  # of all rooms


async def test_more_steps_at_once_than_the_writer_takes_go_through(monkeypatch):
    monkeypatch.setattr(writes, "MAX_WAITING", 10)
    async with trading(paper_cash="900000000000") as trader:
        stops = await asyncio.gather(*(trader.create(type="STOP", stop_price="4100") for _ in range(300)))
        await until(lambda: trader.market.listeners)
        trader.market.price(SYMBOL, 4101.0)
        await until(lambda: len(trader.engine.sends) == len(stops), 20)
        assert {send.order_id for send in trader.engine.sends} == {stop.order_id for stop in stops}


@pytest.mark.slow
async def test_the_commit_log_is_trimmed_in_parts_and_streams_resume_after_that(tmp_path, monkeypatch):
    from services.trading.state import commit_log, trimming

    monkeypatch.setattr(trimming, "TRIMMED_AT_ONCE", 7)
    monkeypatch.setattr(trimming, "TRIM_EVERY_S", 0.05)
    parts, forget = [], commit_log.CommitLog.forget

    def counted(self, shard_log, sequences):
        parts.append(len(sequences))
        return forget(self, shard_log, sequences)

    monkeypatch.setattr(commit_log.CommitLog, "forget", counted)
    async with trading(data_dir=tmp_path, user_id="u-1", resume_window=1000, paper_cash="900000000000") as trader:
        for _ in range(12):
            await asyncio.gather(*(trader.create() for _ in range(50)))
        await until(lambda: _is_trimmed(trader, 1000), 60)
        assert len(parts) > 3 and max(parts) == 7
        await _resumes_where_it_is_kept(trader)
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await _resumes_where_it_is_kept(trader)


async def _is_trimmed(trader, keep):
    query = text("SELECT min(sequence), max(sequence) FROM journal")
    ((oldest, newest),) = await trader.platform.rows("trading", query)
    return oldest > newest - keep


async def _resumes_where_it_is_kept(trader):
    last = (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence
    kept = trader.orders.StreamOrders(order_pb.StreamOrdersRequest(resume_after_sequence=last - 500))
    assert (await kept.read()).sequence == last - 499
    trimmed = trader.orders.StreamOrders(order_pb.StreamOrdersRequest(resume_after_sequence=1))
    assert (await trimmed.read()).gap.first_sequence == 2
    kept.cancel()
    trimmed.cancel()


@pytest.fixture
def in_parts(monkeypatch):
    """Limit batches to ten at once; returns the largest number of steps between two turns of the loop."""
    from services.trading.day import margin_calls
    from services.trading.emulation import stops

    monkeypatch.setattr(stops, "AT_ONCE", 10)
    monkeypatch.setattr(margin_calls, "CANCELED_PART", 10)

    async def largest(made, enough):
        turns = []
        while len(made) < enough:
            turns.append(len(made))
            await asyncio.sleep(0)
        return max(after - before for before, after in itertools.pairwise([*turns, len(made)]))

    return largest


async def test_stops_that_one_price_triggers_are_sent_in_parts_each_once(in_parts, monkeypatch):
    triggered, real = [], Stops._send

    def send(self, order, *rest):
        triggered.append(order.order_id)
        real(self, order, *rest)

    monkeypatch.setattr(Stops, "_send", send)
    async with trading(paper_cash="900000000000") as trader:
        held = await trader.create(quantity=100)
        await trader.becomes(held.order_id, "NEW")
        trader.engine.fill(held.order_id, 100, "4000")
        await trader.becomes(held.order_id, "FILLED")
        closing = {"side": "SELL", "effect": "CLOSE", "type": "STOP", "stop_price": "3900"}
        stops = await asyncio.gather(*(trader.create(**closing) for _ in range(100)))
        await until(lambda: trader.market.listeners)
        watched = asyncio.create_task(in_parts(triggered, 100))
        trader.market.price(SYMBOL, 3890.0)
        trader.market.price(SYMBOL, 4000.0)  # what was triggered is, though the price has gone back
        await until(lambda: len(trader.engine.sends) == 101, 10)
        assert await watched <= 10
        assert sorted(triggered) == sorted(stop.order_id for stop in stops)


async def test_a_margin_call_cancels_in_parts(in_parts, monkeypatch):
    canceled, real = [], apply_reports.cancel

    def cancel(cache, order, *rest):
        canceled.append(order.order_id)
        real(cache, order, *rest)

    async with trading(clock=ManualClock(datetime(2026, 1, 5, 2, tzinfo=UTC)), enforce_sessions=True) as trader:
        held = await trader.create(quantity=3)
        await trader.becomes(held.order_id, "NEW")
        trader.engine.fill(held.order_id, 3, "4000")
        await trader.becomes(held.order_id, "FILLED")
        resting = await asyncio.gather(*(trader.create(symbol=OTHER, price="3400") for _ in range(40)))
        await until(lambda: trader.market.listeners)
        monkeypatch.setattr(apply_reports, "cancel", cancel)
        watched = asyncio.create_task(in_parts(canceled, 40))
        trader.market.price(SYMBOL, 3200.0)
        for order in resting:
            await trader.becomes(order.order_id, "CANCELED")
        assert await watched <= 10 and sorted(canceled) == sorted(order.order_id for order in resting)
