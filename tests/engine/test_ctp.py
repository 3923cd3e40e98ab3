"""Orders at a real gateway: sent, lost, reported late, again or wrongly, as CTP does it."""

import asyncio
import logging

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb

from services.engine.vnpy import venue as vnpy_venue
from services.kernel.identifiers import new_id
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, SC
from tests.engine.running import complete, engine_at, is_status, reason_of, send, venue_of
from tests.waiting import until


async def test_an_order_is_taken_filled_in_parts_and_its_fill_ids_are_never_reused(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        assert harness.updates(order_id)[-1].type == common.ORDER_TYPE_LIMIT
        front.fill(front.find(venue_order_id), 1, 3099)
        await harness.status(order_id, "PARTIALLY_FILLED")
        front.fill(front.find(venue_order_id), 1, 3100)
        await harness.status(order_id, "FILLED")
        trades = await until(lambda: len(harness.trades(order_id)) == 2 and harness.trades(order_id))
        assert [(t.price, t.quantity) for t in trades] == [("3099", "1"), ("3100", "1")]
        assert all(t.trading_day == front.trading_day and t.kind == pb.TRADE_UPDATE_KIND_NEW for t in trades)
        ids = {t.venue_trade_id for t in trades}
        # The exchange counts anew on another exchange, and the next day.
        other, venue_order_id = await send(harness, symbol="sc2701.INE", price="500")
        front.fill(front.find(venue_order_id), 2)
        await until(lambda: harness.trades(other))
        assert len(ids | {harness.trades(other)[0].venue_trade_id}) == 3


async def test_a_gateway_that_hangs_holds_up_neither_the_loop_nor_another_gateway(front, tmp_path):
    async with engine_at(front, tmp_path, send_timeout_s=0.3) as harness:
        front.gate.clear()
        order_id = new_id()
        late = asyncio.create_task(send(harness, order_id=order_id))
        filled, _ = await harness.send()
        await harness.status(filled, "FILLED")  # SIM goes on meanwhile
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await late
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # What never began is known not to be there, and is refused; what began is not known.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(harness, order_id=(behind := new_id()))
        assert reason_of(caught.value) == "NOT_SENT"
        assert list((await harness.state(order_id, behind, gateway="CTP")).uncertain_order_ids) == [order_id]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(harness, order_id=order_id)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        front.gate.set()
        await harness.status(order_id, "NEW")
        assert front.inserts == 1 and not (await harness.state(order_id, gateway="CTP")).uncertain_order_ids


async def test_a_gateway_that_fails_while_it_takes_an_order_leaves_the_outcome_unknown(front, tmp_path, monkeypatch):
    async with engine_at(front, tmp_path) as harness:
        insert = front.insert

        def broken(session, order):
            insert(session, order)
            raise KeyError("rb2701")

        monkeypatch.setattr(front, "insert", broken)
        order_id = new_id()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(harness, order_id=order_id)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        monkeypatch.setattr(front, "insert", insert)
        # The venue has it, and reports it: by its content it is known.
        await harness.status(order_id, "NEW")
        state = await harness.state(order_id, gateway="CTP")
        assert [o.order_id for o in state.orders] == [order_id] and not state.uncertain_order_ids


async def test_an_order_that_a_hanging_gateway_has_taken_is_matched_before_it_answers(front, tmp_path, monkeypatch):
    monkeypatch.setattr(vnpy_venue, "_ANSWER_S", 0.05)
    async with engine_at(front, tmp_path, send_timeout_s=0.2) as harness:
        front.answers.clear()
        with pytest.raises(grpc.aio.AioRpcError):
            await send(harness, order_id=(order_id := new_id()))
        front.disconnect()
        front.reconnect()
        await harness.status(order_id, "NEW")
        state = await harness.state(order_id, gateway="CTP")
        assert [o.order_id for o in state.orders] == [order_id] and not state.uncertain_order_ids
        front.answers.set()
        again, _ = await send(harness, price="3001")
        await harness.status(again, "NEW")
        assert front.inserts == 2


async def test_an_order_that_is_being_sent_is_not_taken_for_a_lost_one_of_the_same_content(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        front.swallowed_inserts = 1
        insert = front.insert
        front.insert = lambda session, order: insert(session, order) or fail()

        def fail():
            raise KeyError("rb2701")

        with pytest.raises(grpc.aio.AioRpcError):
            await send(harness, order_id=(lost := new_id()))
        front.insert = insert
        front.answers.clear()
        sending = asyncio.create_task(send(harness))
        venue = venue_of(harness)
        await until(lambda: [order for order in venue._all_orders() if order.status.name == "NOTTRADED"])
        venue.settle()
        front.answers.set()
        order_id, venue_order_id = await sending
        await harness.status(order_id, "NEW")
        state = await harness.state(lost, order_id, gateway="CTP")
        assert [(o.order_id, o.venue_order_id) for o in state.orders] == [(order_id, venue_order_id)]
        assert list(state.uncertain_order_ids) == [lost]


async def test_reports_of_an_order_before_its_gateway_answers_are_ours_once_it_does(front, tmp_path, monkeypatch):
    monkeypatch.setattr(vnpy_venue, "_ANSWER_S", 0.05)
    async with engine_at(front, tmp_path, send_timeout_s=30) as harness:
        front.answers.clear()
        order_id = new_id()
        sending = asyncio.create_task(send(harness, order_id=order_id))
        await until(lambda: [m for m in harness.events if m.HasField("order")])
        front.fill(next(iter(front.orders.values())), 1)
        await until(lambda: [m for m in harness.events if m.HasField("trade")])
        assert not harness.trades(order_id)  # nobody knows yet whose it is
        cursor = (await harness.state(gateway="CTP")).next_trades_cursor
        front.answers.set()
        await sending
        await harness.status(order_id, "PARTIALLY_FILLED")
        assert len(await until(lambda: harness.trades(order_id))) == 1
        again = await harness.engine.QueryState(pb.QueryStateRequest(gateway_name="CTP", trades_cursor=cursor))
        assert [trade.order_id for trade in again.trades] == [order_id]


async def test_cancels_go_before_orders_that_wait_for_the_gateway(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        resting, _ = await send(harness)
        await harness.status(resting, "NEW")
        front.gate.clear()
        sends = [asyncio.create_task(send(harness, price=str(3000 + n))) for n in range(3)]
        await until(lambda: len(front_calls(harness)) == 3)
        cancel = asyncio.ensure_future(
            harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="CTP", order_id=resting))
        )
        await until(lambda: len(front_calls(harness)) == 3 and waiting_cancels(harness))
        front.gate.set()
        await cancel
        await asyncio.gather(*sends)
        await harness.status(resting, "CANCELED")
        statuses = [item.status for _, item in front.flow if item.status in (ctp.CANCELED, ctp.QUEUEING)]
        # The resting one, the one that was under way, then the cancel, then the rest.
        assert statuses == [ctp.QUEUEING, ctp.QUEUEING, ctp.CANCELED, ctp.QUEUEING, ctp.QUEUEING]


def front_calls(harness):
    return venue_of(harness)._calls


def waiting_cancels(harness):
    return len(venue_of(harness)._thread._waiting[0])


async def kill_while_sending(front, folder, **order):
    """The state that a kill -9 between the call of the gateway and the note of its answer leaves."""
    async with engine_at(front, folder) as harness:
        order_id, venue_order_id = await send(harness, **order)
        await harness.status(order_id, "NEW")
        from services.engine.models import GatewayOrderRow

        database = harness.platform.host.resources.database("engine", None)
        venue = venue_of(harness)
        row = (await venue._orders.find(order_id)).row()
    async with engine_at(front, folder, ready=False, gateways={}) as harness:
        database = harness.platform.host.resources.database("engine", None)
        upsert = database.upsert(GatewayOrderRow, ["order_id"])
        row |= {"venue_order_id": "", "state": "SENDING", "status": "PENDING_NEW", "is_open": True}
        await database.writer().submit([(upsert, row)])
    return order_id, venue_order_id


async def test_an_order_sent_by_an_engine_that_was_killed_is_matched_by_its_content(front, tmp_path):
    order_id, venue_order_id = await kill_while_sending(front, tmp_path)
    front.fill(front.find(venue_order_id), 1)  # nobody was there
    async with engine_at(front, tmp_path) as harness:
        state = await harness.state(order_id, gateway="CTP")
        assert [(o.order_id, o.venue_order_id) for o in state.orders] == [(order_id, venue_order_id)]
        assert [t.order_id for t in state.trades] == [order_id] and not state.uncertain_order_ids
        front.fill(front.find(venue_order_id), 1)
        await harness.filled(order_id, 2)
        assert len({t.venue_trade_id for t in harness.trades(order_id)}) == 2
        assert (await send(harness, order_id=order_id))[1] == venue_order_id and front.inserts == 1


@pytest.mark.slow
async def test_two_orders_of_the_same_content_are_not_guessed_about(front, tmp_path):
    order_id, venue_order_id = await kill_while_sending(front, tmp_path)
    front.external(RB, ctp.BUY, ctp.OPEN, 3100.0, 2)
    async with engine_at(front, tmp_path) as harness:
        state = await harness.state(order_id, gateway="CTP")
        assert list(state.uncertain_order_ids) == [order_id]
        assert [o.order_id for o in state.orders] == ["", ""]
        front.fill(front.find(venue_order_id), 2)
        await until(lambda: [m for m in harness.events if m.HasField("trade") and not m.trade.order_id])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="CTP", order_id=order_id))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_order_that_the_venue_does_not_show_is_uncertain_and_a_refused_one_was_never_sent(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        front.clock.monotonic = lambda: 1e9  # all in one second
        front.swallowed_inserts = 1
        lost, _ = await send(harness)
        front.orders_per_second = 1
        refused = await refuse(harness)
        state = await harness.state(lost, refused, gateway="CTP")
        assert [o.order_id for o in state.orders] == [lost]  # vnpy takes it for submitted
        front.disconnect()
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        front.reconnect()
        await until(lambda: complete(harness))
        state = await harness.state(lost, refused, gateway="CTP")  # the venue sent all it has, and this is not there
        assert list(state.uncertain_order_ids) == [lost] and not state.orders
    async with engine_at(front, tmp_path) as harness:
        state = await harness.state(lost, refused, "never", gateway="CTP")
        assert list(state.uncertain_order_ids) == [lost] and not state.orders


async def refuse(harness) -> str:
    order_id = new_id()
    try:
        await send(harness, order_id=order_id, price="2999")
    except grpc.aio.AioRpcError as error:
        assert reason_of(error) == "NOT_SENT" and "-3" in error.details()
    return order_id


@pytest.mark.slow
async def test_all_trades_of_the_day_come_in_pages_external_ones_and_after_a_restart_too(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness, quantity="3")
        other = front.external(SC, ctp.SELL, ctp.OPEN, 510.0, 1)
        front.fill(front.find(venue_order_id), 1)
        front.fill(other, 1)
        state = await until(lambda: trades_of_day(harness, 2))
        assert [t.order_id for t in state.trades] == [order_id, ""] and not state.more_trades
        front.fill(front.find(venue_order_id), 1)
        await until(lambda: len(harness.trades(order_id)) == 2)
        later = await harness.engine.QueryState(
            pb.QueryStateRequest(gateway_name="CTP", trades_cursor=state.next_trades_cursor)
        )
        assert len(later.trades) == 1 and later.next_trades_cursor != state.next_trades_cursor
        front.fill(front.find(venue_order_id), 1)
        await harness.filled(order_id, 3)
    async with engine_at(front, tmp_path) as harness:
        after = await until(lambda: trades_of_day(harness, 4))
        assert len({t.venue_trade_id for t in after.trades}) == 4
        rest = await harness.engine.QueryState(
            pb.QueryStateRequest(gateway_name="CTP", trades_cursor=later.next_trades_cursor, order_ids=[order_id])
        )
        assert [o.status for o in rest.orders if o.order_id == order_id] == [common.ORDER_STATUS_FILLED]
        assert len(rest.trades) == 3  # the new one of the day, and all of the order asked about


async def trades_of_day(harness, count):
    state = await harness.state(gateway="CTP")
    return state if len(state.trades) == count else None


async def test_a_lost_connection_is_reported_and_what_happened_meanwhile_follows_the_reconnect(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        front.disconnect()
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        assert not (await harness.state(gateway="CTP")).complete
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(harness)
        assert reason_of(caught.value) == "GATEWAY_DISCONNECTED"
        assert (await send(harness, order_id=order_id))[1] == venue_order_id  # the gateway has this one
        front.fill(front.find(venue_order_id), 2)
        front.reconnect()
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTED))
        await harness.filled(order_id)
        assert len(harness.trades(order_id)) == 1
        await until(lambda: complete(harness))
        second, venue_order_id = await send(harness)  # another session, other ids
        await harness.status(second, "NEW")
        assert (
            front.find(venue_order_id).session_id != front.find(harness.updates(order_id)[-1].venue_order_id).session_id
        )


async def test_answers_that_were_lost_are_recovered_when_the_flow_is_resent(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, _ = await send(harness, quantity="1")
        front.fill(next(order for order in front.orders.values() if order.volume == 1), 1)
        await harness.filled(order_id)
        before = len(harness.updates(order_id))
        front.lost = {"order", "trade", "answer"}
        order_id, venue_order_id = await send(harness)
        front.fill(front.find(venue_order_id), 2)
        front.lost = set()
        front.disconnect()
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        front.reconnect()
        await harness.filled(order_id)
        assert [t.quantity for t in harness.trades(order_id)] == ["2"]
        # What was published before is not published as if it were going on again.
        again = {update.status for update in harness.updates(order_id)[before:]}
        assert again <= {common.ORDER_STATUS_FILLED} and len(harness.trades(order_id)) == 1


@pytest.mark.parametrize(
    ("words", "code"), [({"quantity": "400000"}, 31), ({"side": "SELL", "effect": "CLOSE_TODAY"}, 50)]
)
async def test_the_fronts_refusals_end_an_order(front, tmp_path, words, code, caplog):
    front.garbled = True
    words = dict(words)
    effect = words.pop("effect", "OPEN")
    async with engine_at(front, tmp_path) as harness:
        order_id = new_id()
        with caplog.at_level(logging.INFO, logger="services.engine.gateway"):
            answer = await harness.engine.SendOrder(
                pb.SendOrderRequest(
                    gateway_name="CTP",
                    order_id=order_id,
                    symbol="rb2701.SHFE",
                    type=common.ORDER_TYPE_LIMIT,
                    side=common.Side.Value(f"SIDE_{words.get('side', 'BUY')}"),
                    quantity=words.get("quantity", "1"),
                    time_in_force=common.TIME_IN_FORCE_DAY,
                    price="3100",
                    position_effect=common.PositionEffect.Value(f"POSITION_EFFECT_{effect}"),
                )
            )
            await harness.status(order_id, "REJECTED")
        assert answer.venue_order_id and f"代码：{code}" in caplog.text
        assert (await harness.gateway("CTP")).status == pb.GATEWAY_STATUS_CONNECTED


async def test_settlement_must_be_confirmed_before_orders(front, tmp_path, caplog):
    front.confirms_settlement = False
    caplog.set_level("INFO")
    async with engine_at(front, tmp_path) as harness:
        order_id, _ = await send(harness)
        await harness.status(order_id, "REJECTED")
        assert "代码：42" in caplog.text and front.inserts == 1 and not front.orders


async def test_contracts_that_come_late_leave_the_answer_incomplete(front, tmp_path):
    order_id, venue_order_id = await kill_while_sending(front, tmp_path)
    front.instruments_ready.clear()
    async with engine_at(front, tmp_path, ready=False) as harness:
        await until(lambda: front.sessions)
        state = await harness.state(order_id, gateway="CTP")
        assert not state.complete and list(state.uncertain_order_ids) == [order_id]
        front.instruments_ready.set()
        await until(lambda: complete(harness))
        assert [o.venue_order_id for o in (await harness.state(order_id, gateway="CTP")).orders] == [venue_order_id]


async def test_account_reports_are_published(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        account = await until(lambda: [m.account for m in harness.events if m.HasField("account")])
        assert (account[0].venue_account_id, account[0].balance) == ("123456", "10000000")
        state = await harness.state(gateway="CTP")
        assert [(a.gateway_name, a.available) for a in state.accounts] == [("CTP", "10000000")]


async def test_the_gateways_state_is_reported(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        real, sim = await harness.gateway("CTP"), await harness.gateway("SIM")
        names = [common.TimeInForce.Name(lifetime) for lifetime in real.time_in_forces]
        assert names == ["TIME_IN_FORCE_DAY", "TIME_IN_FORCE_IOC", "TIME_IN_FORCE_FOK"]
        assert not real.keeps_order_ids and sim.keeps_order_ids and len(sim.time_in_forces) == 5
