"""Records of a real gateway's orders, trades, days and positions, and how long they are kept."""

import logging
import sqlite3
from contextlib import closing
from datetime import UTC

import grpc
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.engine.v1 import engine_pb2 as pb
from sqlalchemy import event

from services.engine.models import Base
from services.engine.sim import venue as sim_venue
from services.engine.vnpy import engine as vnpy_engine
from services.engine.vnpy import venue as vnpy_venue
from services.engine.vnpy import venue_orders
from services.kernel.clock import ManualClock
from services.kernel.identifiers import new_id
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, SC, at
from tests.engine.running import complete, engine_at, is_status, reason_of, running_engine, send, venue_of
from tests.waiting import until


async def test_more_trades_than_fit_in_a_page_or_in_vnpys_memory(front, tmp_path, monkeypatch):
    monkeypatch.setattr(vnpy_venue, "TRADES_PAGE", 40)
    monkeypatch.setattr(vnpy_engine, "_KEPT_FINISHED", 10)
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness, quantity="100")
        for _ in range(100):
            front.fill(front.find(venue_order_id), 1)
        await harness.filled(order_id, 100)
        seen, cursor, more, pages = [], "", True, 0
        while more:
            request = pb.QueryStateRequest(gateway_name="CTP", trades_cursor=cursor)
            page = await harness.engine.QueryState(request)
            seen += [trade.venue_trade_id for trade in page.trades]
            cursor, more, pages = page.next_trades_cursor, page.more_trades, pages + 1
        assert pages == 3 and len(seen) == len(set(seen)) == 100
        # A cursor that is not known any more begins with the day.
        again = await harness.engine.QueryState(pb.QueryStateRequest(gateway_name="CTP", trades_cursor="what"))
        assert [trade.venue_trade_id for trade in again.trades] == seen[:40] and again.more_trades


async def test_what_a_gateway_has_is_complete_when_all_its_contracts_and_orders_were_taken(
    front, tmp_path, monkeypatch
):
    monkeypatch.setattr(vnpy_engine, "_CONTRACTS_AT_ONCE", 1)
    for number in range(3_000):
        front.instruments[f"x{number}"] = ctp.Instrument(f"x{number}", "SHFE", 10, 1.0)
    async with engine_at(front, tmp_path, settle_s=0) as harness:
        contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
        assert sum(contract.gateway_name == "CTP" for contract in contracts) == 3_003


async def test_orders_that_left_the_memory_are_still_ours(front, tmp_path, monkeypatch):
    monkeypatch.setattr(venue_orders, "FINISHED_KEPT", 2)
    async with engine_at(front, tmp_path) as harness:
        resting, resting_id = await send(harness)
        early, early_id = await send(harness)
        front.lost = {"trade"}
        front.fill(front.find(early_id), 2)
        front.lost = set()
        for _ in range(5):
            order_id, venue_order_id = await send(harness, quantity="1")
            front.fill(front.find(venue_order_id), 1)
            await harness.status(order_id, "FILLED")
        assert early not in venue_of(harness)._orders._orders
        front.disconnect()  # the flow is sent again, and with it the fill that was lost
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        front.reconnect()
        await until(lambda: harness.trades(early))
        front.fill(front.find(resting_id), 2)
        await harness.status(resting, "FILLED")
        assert not [m for m in harness.events if m.HasField("trade") and not m.trade.order_id]


async def test_orders_that_a_gateway_never_had_are_looked_up_together(front, tmp_path, monkeypatch):
    monkeypatch.setattr(venue_orders, "FINISHED_KEPT", 0)
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness, quantity="1")
        front.fill(front.find(venue_order_id), 1)
        await harness.filled(order_id)
        statements = []
        engine = harness.platform.host.resources.database("engine", Base)._engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *of: statements.append(of[2]))
        state = await harness.state(order_id, *(new_id() for _ in range(300)), gateway="CTP")
        assert [order.order_id for order in state.orders] == [order_id]
        assert not state.uncertain_order_ids
        assert len(statements) < 10


async def test_a_fill_of_another_symbol_is_not_booked_on_ours_though_vnpy_says_so(front, tmp_path):
    """Two exchanges count alike, and vnpy finds a trade's order by OrderSysID alone."""
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        front.fill(front.external(SC, ctp.BUY, ctp.OPEN, 510.0, 1), 1)
        ours = front.find(venue_order_id)
        other = next(order for order in front.orders.values() if order.symbol == "sc2701")
        assert ours.sys_id == other.sys_id
        await until(lambda: [m for m in harness.events if m.HasField("trade")])
        third = front.external(RB, ctp.SELL, ctp.OPEN, 3200.0, 1)
        third.sys_id = ours.sys_id  # and vnpy's map has the order that was reported last
        front.fill(third, 1)
        await until(lambda: len([m for m in harness.events if m.HasField("trade")]) == 2)
        assert not harness.trades(order_id)


async def test_a_cancel_that_comes_too_late_changes_nothing(front, tmp_path, caplog):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        front.lost = {"order", "trade"}
        front.fill(front.find(venue_order_id), 2)
        with caplog.at_level(logging.INFO, logger="services.engine.gateway"):
            await harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="CTP", order_id=order_id))
            await until(lambda: "代码：26" in caplog.text)
        assert harness.updates(order_id)[-1].status == common.ORDER_STATUS_NEW


async def test_orders_end_with_their_day_when_it_was_seen_to_its_end(front, tmp_path):
    clock = front.clock = ManualClock(at("2026-11-26 21:05"))
    front.trading_day = 20261127
    async with engine_at(front, tmp_path, clock=clock) as harness:
        seen, _ = await send(harness)
        await harness.status(seen, "NEW")
        clock.advance((at("2026-11-27 16:59:50") - clock.now()).total_seconds())
        front.settle()
        clock.advance(20)
        ended = await harness.status(seen, "EXPIRED")
        assert ended.reason == reasons.ORDER_EXPIRED
        day = await until(lambda: [m.trading_day for m in harness.events if m.HasField("trading_day")])
        assert (day[-1].gateway_name, day[-1].trading_day) == ("CTP", 20261130)
        state = await harness.state(seen, gateway="CTP")
        assert [o.status for o in state.orders] == [common.ORDER_STATUS_EXPIRED]
        front.disconnect()  # CTP starts anew for each day, and wants its settlement confirmed
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        front.reconnect()
        clock.advance((at("2026-11-30 10:00") - clock.now()).total_seconds())
        await until(lambda: complete(harness))
        first, _ = await send(harness)
        await harness.status(first, "NEW")
    clock.advance((at("2026-11-30 15:30") - clock.now()).total_seconds())
    async with engine_at(front, tmp_path, clock=clock) as harness:  # connected after the day's end
        clock.advance((at("2026-11-30 16:59") - clock.now()).total_seconds())
        await until(lambda: complete(harness))
    front.settle()
    clock.advance((at("2026-11-30 21:30") - clock.now()).total_seconds())
    front.settle()
    async with engine_at(front, tmp_path, clock=clock) as harness:
        state = await harness.state(first, gateway="CTP")
        assert [o.status for o in state.orders] == [common.ORDER_STATUS_EXPIRED]
        unseen, _ = await send(harness)
        await harness.status(unseen, "NEW")
    clock.advance((at("2026-12-01 21:30") - clock.now()).total_seconds())
    front.settle()
    async with engine_at(front, tmp_path, clock=clock) as harness:
        # Nobody was there when its day ended: what became of it then is not known.
        assert list((await harness.state(unseen, gateway="CTP")).uncertain_order_ids) == [unseen]


async def test_a_night_trade_of_dce_is_of_the_day_that_it_is_dated_and_of_last_evening(front, tmp_path):
    clock = front.clock = ManualClock(at("2026-11-27 21:05"))  # a Friday
    front.trading_day = 20261130
    async with engine_at(front, tmp_path, clock=clock) as harness:
        order_id, venue_order_id = await send(harness, symbol="m2701.DCE", price="2900")
        front.fill(front.find(venue_order_id), 2)
        await harness.filled(order_id)
        trade = harness.trades(order_id)[0]
        assert front.history[0].date == "20261130" and trade.trading_day == 20261130
        assert trade.time.ToDatetime(tzinfo=UTC) == clock.now()


async def test_sims_trades_of_the_day_come_in_pages_too(tmp_path, monkeypatch):
    monkeypatch.setattr(sim_venue, "TRADES_PAGE", 3)
    async with running_engine(tmp_path) as harness:
        ids = [(await harness.send())[0] for _ in range(5)]
        for order_id in ids:
            await harness.status(order_id, "FILLED")
        first = await harness.state()
        assert len(first.trades) == 3 and first.more_trades
        rest = await harness.engine.QueryState(
            pb.QueryStateRequest(gateway_name="SIM", trades_cursor=first.next_trades_cursor)
        )
        assert not rest.more_trades
        order_ids = [t.order_id for t in (*first.trades, *rest.trades)]
        assert set(order_ids) == set(ids)
        none = await harness.engine.QueryState(
            pb.QueryStateRequest(gateway_name="SIM", trades_cursor=rest.next_trades_cursor)
        )
        assert not none.trades and none.next_trades_cursor == rest.next_trades_cursor


async def test_the_engines_span_joins_the_orders_trace(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        exporter = InMemorySpanExporter()
        harness.platform.host.resources.tracing.export(SimpleSpanProcessor(exporter))
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        order_id = new_id()
        await harness.engine.SendOrder(
            pb.SendOrderRequest(
                gateway_name="CTP",
                order_id=order_id,
                symbol="rb2701.SHFE",
                type=common.ORDER_TYPE_LIMIT,
                price="3100",
                side=common.SIDE_BUY,
                quantity="1",
                traceparent=f"00-{trace_id}-b7ad6b7169203331-01",
            )
        )
        spans = {span.name: span for span in exporter.get_finished_spans()}
        span = spans["redfire.engine.gateway/SendOrder"]
        assert f"{span.context.trace_id:032x}" == trace_id and span.attributes["order_id"] == order_id
        assert span.attributes["venue_order_id"]


@pytest.mark.slow
async def test_positions_are_published_with_todays_and_yesterdays_and_no_more_often_than_they_change(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        front.books.holdings["rb2701", ctp.BUY].yesterday = 3
        _, venue_order_id = await send(harness, symbol="m2701.DCE", price="2900")
        front.fill(front.find(venue_order_id), 2)

        async def reported():
            return {
                (p.symbol, p.side): (p.quantity, p.yesterday_quantity)
                for p in (await harness.state(gateway="CTP")).positions
                if p.quantity != "0"
            } == {
                ("rb2701.SHFE", common.POSITION_SIDE_LONG): ("3", "3"),
                ("m2701.DCE", common.POSITION_SIDE_LONG): ("2", "0"),
            }

        await until(reported, 15)
        events = [m.position for m in harness.events if m.HasField("position") and m.position.gateway_name == "CTP"]
        assert len({(p.symbol, p.quantity, p.yesterday_quantity) for p in events}) == len(events)


async def test_what_ctp_has_no_words_for_is_unsupported_and_was_never_sent(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        for words in ({"tif": "GTC"}, {"tif": "GTD"}):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await send(harness, **words)
            assert reason_of(caught.value) == "UNSUPPORTED"
        order_id = new_id()
        request = pb.SendOrderRequest(
            gateway_name="CTP", order_id=order_id, symbol="rb2701.SHFE", type=common.ORDER_TYPE_LIMIT, price="3100",
            side=common.SIDE_BUY, quantity="1", post_only=True,
        )  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.engine.SendOrder(request)
        assert reason_of(caught.value) == "UNSUPPORTED"
        state = await harness.state(order_id, gateway="CTP")
        assert not state.orders and not state.uncertain_order_ids and not front.inserts
        # IOC and FOK it has.
        front.quote("rb2701", 3099.0, 3100.0, 1)
        some, _ = await send(harness, tif="IOC")
        await harness.status(some, "CANCELED")
        assert [t.quantity for t in harness.trades(some)] == ["1"]
        front.quote("rb2701", 3099.0, 3100.0, 1)
        none, _ = await send(harness, tif="FOK")
        await harness.status(none, "CANCELED")
        assert not harness.trades(none)


async def test_orders_that_the_version_before_wrote_down_are_still_ours(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness, side="SELL")
        await harness.status(order_id, "NEW")
    file = tmp_path / "engine_db.sqlite"
    with closing(sqlite3.connect(file)) as database:
        (time,) = database.execute("SELECT create_time FROM gateway_orders").fetchone()
        later = "alembic_version", "schema_compatibility", "audit_records", "audit_chains", "shard_epochs"
        for table in (*later, "gateway_orders"):
            database.execute(f"DROP TABLE IF EXISTS {table}")
        columns = "order_id VARCHAR(64) PRIMARY KEY, gateway_name VARCHAR(32), venue_order_id VARCHAR(128)"
        database.execute(f"CREATE TABLE gateway_orders ({columns}, symbol VARCHAR(64), create_time BIGINT)")
        for one, theirs in ((order_id, venue_order_id), ("refused", "refused"), ("begun", "")):
            row = (one, "CTP", theirs, "rb2701.SHFE", time)
            database.execute("INSERT INTO gateway_orders VALUES (?, ?, ?, ?, ?)", row)
        database.commit()
    async with engine_at(front, tmp_path) as harness:
        state = await harness.state(order_id, "refused", "begun", gateway="CTP")
        assert [o.order_id for o in state.orders] == [order_id] and list(state.uncertain_order_ids) == ["begun"]
        front.fill(front.find(venue_order_id), 2)
        await harness.filled(order_id)
