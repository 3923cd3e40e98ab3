"""Orders that trading gives up: a request to send one that comes late sends nothing."""

import asyncio
import threading

import grpc
import pytest
from redfire.engine.v1 import engine_pb2 as pb

from services.engine.given_up import GivenUpOrders
from services.kernel.identifiers import new_id
from tests.engine.fake_gateway import FakeGateway
from tests.engine.running import reason_of, running_engine
from tests.waiting import until

FAKE = {"module": "tests.engine.fake_gateway", "class": "FakeGateway"}


async def query(harness, *order_ids, gateway="SIM"):
    request = pb.QueryStateRequest(gateway_name=gateway, order_ids=order_ids, give_up_order_ids=order_ids)
    return await harness.engine.QueryState(request)


async def test_an_order_that_came_before_it_was_given_up_is_there_and_a_late_one_is_refused(tmp_path):
    async with running_engine(tmp_path) as harness:
        came, venue_order_id = await harness.send(price="3000")
        late, other = new_id(), new_id()
        state = await query(harness, came, late)
        assert list(state.refused_order_ids) == [late]
        assert came in {order.order_id for order in state.orders}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await harness.send(order_id=late, price="3000")
        assert reason_of(refused.value) == "NOT_SENT"
        assert await harness.send(order_id=came, price="3000") == (came, venue_order_id)
        assert list((await query(harness, late)).refused_order_ids) == [late]
        assert (await harness.send(order_id=other, price="3000"))[0] == other


async def test_an_order_that_its_gateway_is_taking_is_not_given_up(tmp_path):
    async with running_engine(tmp_path, gateways={"FAKE": FAKE}) as harness:

        async def connected():
            return (await harness.gateway("FAKE")).status == pb.GATEWAY_STATUS_CONNECTED

        await until(connected)
        gate = FakeGateway.send_gate = threading.Event()
        order_id = new_id()
        request = {"order_id": order_id, "symbol": "sc2701.INE", "price": "500", "quantity": "2", "gateway": "FAKE"}
        try:
            sending = asyncio.ensure_future(harness.send(**request))
            await until(lambda: FakeGateway.send_gate is None)
            assert not (await query(harness, order_id, gateway="FAKE")).refused_order_ids
        finally:
            gate.set()
        assert (await sending)[1]
        assert not (await query(harness, order_id, gateway="FAKE")).refused_order_ids


def test_what_is_being_sent_is_not_given_up_and_the_oldest_are_forgotten():
    orders = GivenUpOrders()
    with orders.sending("a"), orders.sending("a"):
        pass
    with orders.sending("b"):
        assert orders.add(["a", "b"]) == ["a"]
    assert "a" in orders and "b" not in orders
    orders.add(str(number) for number in range(100_000))
    assert "a" not in orders and "99999" in orders
