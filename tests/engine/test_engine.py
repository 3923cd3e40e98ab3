"""The whole engine on a real loopback server, as trading, market and an administrator see it."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.engine.v1 import engine_pb2 as pb

from services.engine import convert
from services.engine.settings import EngineSettings
from services.kernel.clock import ManualClock
from services.kernel.errors import StartError
from services.kernel.identifiers import new_id
from tests.engine.recordings import row, write
from tests.engine.running import FAKE, SYMBOL, Harness, connected, reason_of, running_engine
from tests.recorded_days import IF, recorded_days
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


def far_below(harness, symbol=SYMBOL) -> str:
    bid = next(t.bid_prices[0] for t in reversed(harness.ticks) if t.symbol == symbol)
    return str(Decimal(str(bid)) - Decimal(40))


async def test_the_simulated_market_ticks_and_fills(tmp_path):
    async with running_engine(tmp_path, feed="sim:7", sim_ticks_per_second=50) as harness:
        contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
        assert {"IF2612.CFFEX", "rb2701.SHFE", "SR701.CZCE"} <= {c.symbol for c in contracts}
        await until(lambda: len(harness.ticks) > 100)
        by_symbol = {}
        for tick in harness.ticks:
            assert tick.sequence == by_symbol.get(tick.symbol, tick.sequence - 1) + 1
            by_symbol[tick.symbol] = tick.sequence
        assert set(by_symbol) == {c.symbol for c in contracts}
        assert harness.control_messages[0].started.realtime and not harness.control_messages[0].started.paced
        order_id, venue_order_id = await harness.send()
        last = await harness.status(order_id, "FILLED")
        trade = harness.trades(order_id)[0]
        assert last.venue_order_id == venue_order_id == trade.venue_order_id
        assert trade.quantity == "1" and Decimal(trade.price) % Decimal("0.2") == 0
        numbers = [m.sequence for m in harness.events if not m.HasField("heartbeat")]
        assert numbers[1:] == list(range(numbers[0] + 1, numbers[0] + len(numbers)))


async def test_the_same_order_id_is_one_order(tmp_path):
    async with running_engine(tmp_path) as harness:
        order_id = new_id()
        answers = await asyncio.gather(*(harness.send(order_id=order_id) for _ in range(5)))
        await harness.status(order_id, "FILLED")
        answers.append(await harness.send(order_id=order_id))
        assert len({venue for _, venue in answers}) == 1
        state = await harness.state(order_id)
        assert len(state.orders) == 1 and len(state.trades) == 1 == len(harness.trades(order_id))


async def test_a_restart_looks_like_a_reconnect(tmp_path):
    async with running_engine(tmp_path, feed="sim:7") as harness:
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        filled, _ = await harness.send()
        resting, venue_id = await harness.send(price=far_below(harness), tif="GTC")
        refused, _ = await harness.send(price="0.1")
        await harness.status(refused, "REJECTED")
        before = await harness.state(filled, refused)
        price = next(t.last_price for t in reversed(harness.ticks) if t.symbol == SYMBOL)
        sequence = harness.ticks[-1].sequence
    async with running_engine(tmp_path, feed="sim:7") as harness:
        after = await harness.state(filled, refused)
        assert after.epoch != before.epoch and after.complete
        assert sorted(after.orders, key=lambda o: o.order_id) == sorted(before.orders, key=lambda o: o.order_id)
        assert list(after.trades) == list(before.trades) and list(after.positions) == list(before.positions)
        assert (await harness.send(order_id=resting, price="4000"))[1] == venue_id
        assert (await harness.send(order_id=filled))[1] in {o.venue_order_id for o in before.orders}
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        now = next(t for t in harness.ticks if t.symbol == SYMBOL)
        assert now.sequence > sequence and abs(now.last_price - price) < 30
        again, again_id = await harness.send()
        await harness.status(again, "FILLED")
        assert int(again_id) > int(venue_id)
        assert int(harness.trades(again)[0].venue_trade_id) > max(int(t.venue_trade_id) for t in before.trades)
        await harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="SIM", order_id=resting))
        await harness.status(resting, "CANCELED")
        assert not [o for o in (await harness.state()).orders if o.order_id == resting]


async def test_a_day_that_begins_while_the_engine_is_down_ends_day_orders_and_turns_positions(tmp_path):
    """Also where no day had begun before that: the first run's day is known to the second."""
    monday = datetime(2026, 11, 23, 2, tzinfo=UTC)
    async with running_engine(tmp_path, feed="sim:7", clock=ManualClock(monday)) as harness:
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        await harness.status((await harness.send())[0], "FILLED")
        of_the_day, _ = await harness.send(price=far_below(harness))
        good_till_canceled, _ = await harness.send(price=far_below(harness), tif="GTC")
        assert (await harness.state()).positions[0].yesterday_quantity == "0"
    async with running_engine(tmp_path, feed="sim:7", clock=ManualClock(monday + timedelta(days=1))) as harness:
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        state = await harness.state(of_the_day, good_till_canceled)
        status = {order.order_id: order.status for order in state.orders}
        assert status[of_the_day] == common.ORDER_STATUS_EXPIRED
        assert status[good_till_canceled] == common.ORDER_STATUS_NEW
        assert state.trading_day == 20261124 and state.positions[0].yesterday_quantity == "1"


async def test_cancel_and_amend(tmp_path):
    async with running_engine(tmp_path) as harness:
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        price = far_below(harness)
        order_id, venue_id = await harness.send(price=price, quantity="3", tif="GTC")
        await harness.engine.AmendOrder(pb.AmendOrderRequest(gateway_name="SIM", order_id=order_id, quantity="2"))
        await until(lambda: harness.updates(order_id)[-1].quantity == "2")
        await harness.engine.AmendOrder(pb.AmendOrderRequest(gateway_name="SIM", order_id=order_id, price="4000.1"))
        await until(lambda: harness.updates(order_id)[-1].amend_rejected)
        assert harness.updates(order_id)[-1].reason == reasons.PRICE_OFF_TICK
        cancel = pb.CancelOrderRequest(gateway_name="SIM", order_id=order_id, venue_order_id=venue_id, symbol=SYMBOL)
        await harness.engine.CancelOrder(cancel)
        assert (await harness.status(order_id, "CANCELED")).cumulative_quantity == "0"
        before = len(harness.updates(order_id))
        await harness.engine.CancelOrder(cancel)
        await until(lambda: len(harness.updates(order_id)) > before)  # the end is published once more
        assert harness.updates(order_id)[-1].status == common.ORDER_STATUS_CANCELED
        for call in (
            harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="SIM", order_id="never", symbol="XX1.SHFE")),
            harness.engine.AmendOrder(pb.AmendOrderRequest(gateway_name="SIM", order_id="never", quantity="1")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await harness.status((await harness.send())[0], "FILLED")


async def test_a_disconnected_gateway_takes_no_orders_and_keeps_its_book(tmp_path):
    async with running_engine(tmp_path) as harness:
        await until(lambda: any(t.symbol == SYMBOL for t in harness.ticks))
        order_id, _ = await harness.send(price=far_below(harness), tif="GTC")
        name = pb.DisconnectGatewayRequest(gateway_name="SIM")
        assert (await harness.admin.DisconnectGateway(name)).gateway.status == pb.GATEWAY_STATUS_DISCONNECTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(caught.value) == "GATEWAY_DISCONNECTED"
        state = await harness.state()
        assert [o.order_id for o in state.orders] == [order_id] and not state.complete
        connected = (await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(gateway_name="SIM"))).gateway
        assert connected.status == pb.GATEWAY_STATUS_CONNECTED and connected.simulated
        await harness.status((await harness.send())[0], "FILLED")
        statuses = [m.gateway.status for m in harness.events if m.WhichOneof("event") == "gateway"]
        assert statuses[-3:] == [
            pb.GATEWAY_STATUS_DISCONNECTED,
            pb.GATEWAY_STATUS_CONNECTING,
            pb.GATEWAY_STATUS_CONNECTED,
        ]


async def test_gateways_are_paged_and_unknown_ones_are_not_found(tmp_path):
    async with running_engine(tmp_path, follow=False) as harness:
        page = await harness.admin.ListGateways(pb.ListGatewaysRequest(page_size=1))
        assert [g.gateway_name for g in page.gateways] == ["SIM"] and not page.next_page_token
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send(gateway="NOPE")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send(symbol="NOPE99.SHFE")
        assert reason_of(caught.value) == "UNKNOWN_SYMBOL"
        answer = await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[SYMBOL, "NOPE99.SHFE", "IF9999.CFFEX"]))
        assert list(answer.unknown_symbols) == ["NOPE99.SHFE", "IF9999.CFFEX"]


async def test_events_resume_after_a_broken_stream(tmp_path):
    async with running_engine(tmp_path) as harness:
        await harness.status((await harness.send())[0], "FILLED")
        seen = harness.events[-1].sequence
        epoch = harness.events[0].started.epoch
        other = Harness(harness.platform)
        order_id, _ = await harness.send()
        await harness.status(order_id, "FILLED")
        task = asyncio.create_task(other.follow_events(resume_after_sequence=seen, epoch=epoch))
        await until(
            lambda: other.updates(order_id) and other.updates(order_id)[-1].status == common.ORDER_STATUS_FILLED
        )
        assert other.events[0].started.resumed and other.events[1].sequence == seen + 1
        task.cancel()


async def test_a_replay_at_max_waits_for_its_subscription_and_fills_orders_by_its_quotes(tmp_path):
    file = write(tmp_path / "t.csv", [row(i / 2, 5000 + i // 2 * 0.2) for i in range(400)])
    async with running_engine(tmp_path / "data", feed=f"replay:{file}@max?start=subscribe") as harness:
        started = harness.control_messages[0].started
        assert (started.paced, started.realtime, started.on_demand) == (True, False, True)
        assert not harness.ticks
        answer = await harness.engine.Subscribe(pb.SubscribeRequest(symbols=["IF2101.CFFEX"]))
        assert not answer.unknown_symbols
        await until(lambda: any(m.HasField("feed_ended") for m in harness.control_messages), 10)
        assert len(harness.ticks) == 400
        assert [t.sequence for t in harness.ticks] == list(
            range(harness.ticks[0].sequence, harness.ticks[0].sequence + 400)
        )
        order_id, _ = await harness.send(symbol="IF2101.CFFEX", quantity="2")
        await harness.status(order_id, "FILLED")
        trade = harness.trades(order_id)[0]
        assert trade.trading_day == 20210104 and trade.time.ToDatetime().year == 2021


@pytest.mark.slow
async def test_the_recorded_days_reach_a_reader_complete_and_in_order(tmp_path):
    feed = f"replay:{recorded_days(IF)}@max?start=subscribe"
    async with running_engine(tmp_path, feed=feed) as harness:
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=["IF2101.CFFEX"]))
        await until(lambda: any(m.HasField("feed_ended") for m in harness.control_messages), 120)
        assert len(harness.ticks) == 84_347
        first = harness.ticks[0].sequence
        assert [t.sequence for t in harness.ticks] == list(range(first, first + 84_347))
        assert harness.ticks[-1].volume == 94_934 and harness.ticks[-1].trading_day == 20210106


async def test_the_feeds_rate_follows_its_live_setting(tmp_path):
    # At first eight symbols tick once in 5 s: 400 ticks would take four minutes.
    async with running_engine(tmp_path, sim_ticks_per_second=0.2) as harness:
        live = harness.platform.host.resources.live("engine", EngineSettings)
        await until(lambda: harness.ticks)
        live.overlay({"sim_ticks_per_second": 100})
        await until(lambda: len(harness.ticks) >= 400, 60)


async def test_instruments_of_an_exchange_that_vnpy_does_not_know_stop_the_start(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("symbols: {ABC.MOON: {name: A, contract_size: 1, price_tick: 1, margin_rate: 1}}")
    with pytest.raises(StartError, match=r"ABC\.MOON: vnpy knows no exchange MOON"):
        async with running_engine(tmp_path / "data", instruments_file=str(file)):
            pass


async def test_instruments_of_ones_own_trade_on_the_simulated_market(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("symbols: {sc2701.INE: {name: Oil, contract_size: 1000, price_tick: 0.1, margin_rate: 0.1}}")
    async with running_engine(tmp_path / "data", instruments_file=str(file)) as harness:
        order_id, _ = await harness.send(symbol="sc2701.INE")
        await harness.status(order_id, "FILLED")
        assert Decimal(harness.trades(order_id)[0].price) % Decimal("0.1") == 0


@pytest.mark.parametrize("cursor", ["9" * 30, "9" * 128, "\u00b2", "-1", "1e3"])
async def test_a_trades_cursor_that_is_none_asks_for_the_day(tmp_path, cursor):
    async with running_engine(tmp_path, gateways={"FAKE": FAKE}) as harness:
        await until(lambda: connected(harness, "FAKE"))
        await harness.filled((await harness.send())[0])
        await harness.filled((await harness.send(symbol="sc2701.INE", price="500.1", gateway="FAKE"))[0])
        for gateway in ("SIM", "FAKE"):
            query = pb.QueryStateRequest(gateway_name=gateway, trades_cursor=cursor)
            assert len((await harness.engine.QueryState(query)).trades) == 1


async def test_contracts_are_converted_once_and_again_when_another_is_announced(tmp_path, monkeypatch):
    """A guest who asks for what does not exist makes market ask for all of them, each second."""
    converted = []
    convert_one = convert.instrument_to_pb
    monkeypatch.setattr(convert, "instrument_to_pb", lambda *of: converted.append(of[0].symbol) or convert_one(*of))
    async with running_engine(tmp_path, gateways={"FAKE": FAKE | {"auto_connect": False}}) as harness:
        before = await harness.engine.ListContracts(pb.ListContractsRequest())
        once = len(converted)
        assert await harness.engine.ListContracts(pb.ListContractsRequest()) == before
        assert len(converted) == once >= len(before.instruments)
        await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(gateway_name="FAKE"))
        await until(lambda: connected(harness, "FAKE"))

        async def lists_oil():
            instruments = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
            return any(one.symbol == "sc2701.INE" and one.gateway_name == "FAKE" for one in instruments)

        await until(lists_oil)


async def test_a_gateway_of_another_package_trades(tmp_path):
    from tests.engine.fake_gateway import FakeGateway

    gateways = {"FAKE": FAKE}
    async with running_engine(tmp_path, gateways=gateways) as harness:
        assert await until(lambda: connected(harness, "FAKE"))
        contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
        oil = next(c for c in contracts if c.symbol == "sc2701.INE")
        assert (oil.contract_size, oil.price_tick, oil.gateway_name) == ("1000", "0.1", "FAKE")
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=["sc2701.INE"]))
        await until(lambda: any(t.symbol == "sc2701.INE" and t.bid_prices == [500.0] for t in harness.ticks))
        sent = len(FakeGateway.sent)
        order_id, venue_id = await harness.send(symbol="sc2701.INE", price="500.1", gateway="FAKE")
        assert (await harness.send(order_id=order_id, symbol="sc2701.INE", price="500.1", gateway="FAKE"))[
            1
        ] == venue_id
        assert len(FakeGateway.sent) == sent + 1
        await harness.status(order_id, "FILLED")
        assert (harness.trades(order_id)[0].price, harness.trades(order_id)[0].quantity) == ("500.1", "1")
        resting, venue_id = await harness.send(symbol="sc2701.INE", price="400", quantity="2", gateway="FAKE")
        state = await harness.state(order_id, gateway="FAKE")
        assert {o.order_id for o in state.orders} == {order_id, resting} and len(state.trades) == 1
        await harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="FAKE", order_id=resting))
        assert FakeGateway.canceled[-1] == venue_id
        for bad, reason in (({"tif": "GTC"}, "UNSUPPORTED"), ({"quantity": "101"}, "NOT_SENT")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.send(symbol="sc2701.INE", price="500.1", gateway="FAKE", **bad)
            assert reason_of(caught.value) == reason
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.engine.AmendOrder(pb.AmendOrderRequest(gateway_name="FAKE", order_id=resting, quantity="1"))
        assert reason_of(caught.value) == "UNSUPPORTED"
    async with running_engine(tmp_path, gateways=gateways) as harness:
        assert await until(lambda: connected(harness, "FAKE"))
        sent = len(FakeGateway.sent)
        again = await harness.send(order_id=resting, symbol="sc2701.INE", price="400", quantity="2", gateway="FAKE")
        assert again[1] == venue_id and len(FakeGateway.sent) == sent


async def test_gateways_that_fail_say_why_and_the_engine_lives(tmp_path):
    gateways = {
        "SILENT": {**FAKE, "setting": {"front": "tcp://10.0.0.1:1", "mood": "silent"}},
        "ANGRY": {**FAKE, "setting": {"mood": "angry"}},
        "MISSING": {"module": "no_such_module", "class": "X"},
        "LATER": {**FAKE, "auto_connect": False},
    }
    async with running_engine(tmp_path, gateways=gateways, connect_timeout_s=0.3) as harness:

        async def failed(name: str, why: str) -> bool:
            gateway = await harness.gateway(name)
            return gateway.status == pb.GATEWAY_STATUS_ERROR and why in gateway.last_error

        await until(
            lambda: failed("SILENT", "no answer within 0.3 s; its last log line: connecting to tcp://10.0.0.1:1")
        )
        await until(lambda: failed("ANGRY", "RuntimeError: wrong password"))
        await until(lambda: failed("MISSING", "no_such_module"))
        for_users = (await harness.user.ListGateways(pb.ListGatewaysRequest())).gateways
        assert {gateway.last_error for gateway in for_users} == {""}
        assert {gateway.gateway_name for gateway in for_users} >= gateways.keys()
        assert (await harness.gateway("LATER")).status == pb.GATEWAY_STATUS_DISCONNECTED
        answer = await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(gateway_name="LATER"))
        assert answer.gateway.status == pb.GATEWAY_STATUS_CONNECTED
        await harness.status((await harness.send())[0], "FILLED")


async def test_gateways_that_hang_while_they_connect_hold_up_nobody(tmp_path):
    """Also not the services beside the engine, with which it shares the threads for what blocks."""
    from tests.engine.fake_gateway import FakeGateway

    FakeGateway.hold.clear()
    hanging = {f"HANGS{number}": {**FAKE, "setting": {"mood": "hanging"}} for number in range(8)}
    try:
        async with running_engine(tmp_path, gateways=hanging, connect_timeout_s=10.0) as harness:
            for name in hanging:
                assert (await harness.gateway(name)).status == pb.GATEWAY_STATUS_CONNECTING
            threads = harness.platform.host.resources.threads
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, int), 5)
            await harness.status((await harness.send())[0], "FILLED")
    finally:
        FakeGateway.hold.set()


async def test_a_gateway_that_fails_to_close_is_disconnected_and_connects_again(tmp_path):
    async with running_engine(tmp_path, gateways={"FAKE": {**FAKE, "setting": {"mood": "sour"}}}) as harness:
        for _ in range(2):
            await until(lambda: connected(harness, "FAKE"))
            answer = await harness.admin.DisconnectGateway(pb.DisconnectGatewayRequest(gateway_name="FAKE"))
            assert answer.gateway.status == pb.GATEWAY_STATUS_DISCONNECTED
            await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(gateway_name="FAKE"))
        await harness.filled((await harness.send(symbol="sc2701.INE", price="500.1", gateway="FAKE"))[0])


async def test_an_attempt_to_connect_that_was_given_up_says_nothing_of_the_next_one(tmp_path, monkeypatch):
    from tests.engine.fake_gateway import FakeGateway

    settings = {"gateways": {"FAKE": {**FAKE, "auto_connect": False}}, "connect_timeout_s": 1.0}
    gate = threading.Event()
    monkeypatch.setattr(FakeGateway, "gate", gate)
    async with running_engine(tmp_path, **settings) as harness:
        connect = pb.ConnectGatewayRequest(gateway_name="FAKE")
        try:
            hanging = asyncio.ensure_future(harness.admin.ConnectGateway(connect))
            await until(lambda: FakeGateway.gate is None)
            await harness.admin.DisconnectGateway(pb.DisconnectGatewayRequest(gateway_name="FAKE"))
            await harness.admin.ConnectGateway(connect)
            assert await connected(harness, "FAKE")
            await hanging
        finally:
            gate.set()
        statuses = [
            m.gateway.status for m in harness.events if m.HasField("gateway") and m.gateway.gateway_name == "FAKE"
        ]
        assert pb.GATEWAY_STATUS_ERROR not in statuses and await connected(harness, "FAKE")
