"""Steps whose commit takes long: who leaves, who asks, and who cancels meanwhile."""

import asyncio

import grpc
import pytest
from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.clock import Clock
from services.kernel.identifiers import new_id
from services.trading.peers import risk_client
from services.trading.state.streams import Snapshot, Streams, StreamUpdate, UpdateKind
from tests.trading.conftest import refused, trading
from tests.waiting import until


async def _later_is_answered(trader):
    """Wait until earlier requests have begun: one that is refused at once, made after them, was answered."""
    for _ in range(3):
        async with refused("NOT_FOUND"):
            await trader.orders.GetOrder(pb.GetOrderRequest(order_id=new_id()))


async def test_a_caller_that_disconnects_while_a_cancel_is_written_takes_nobody_along(commits, trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    commits.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await trader.orders.CancelOrder(pb.CancelOrderRequest(order_id=order.order_id), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    asked = asyncio.ensure_future(trader.get(order.order_id))
    await _later_is_answered(trader)
    assert not asked.done()  # what is not durable is not published
    commits.open()
    assert (await asked).order_id == order.order_id
    await trader.becomes(order.order_id, "CANCELED")
    await trader.becomes((await trader.create()).order_id, "NEW")


async def test_an_order_that_is_refused_while_all_are_canceled_disturbs_nobody(commits, caplog):
    async with trading(kept_finished_orders=1) as trader:
        for coid in ("old", "other"):
            order = await trader.create(coid=coid)
            await trader.becomes(order.order_id, "NEW")
            await trader.cancel(order.order_id)
            await trader.becomes(order.order_id, "CANCELED")
        commits.close()
        first = asyncio.ensure_future(trader.create(coid="first"))
        await until(lambda: commits.arrived == 1)
        canceled = asyncio.ensure_future(trader.orders.CancelAllOrders(pb.CancelAllOrdersRequest()))
        await _later_is_answered(trader)
        again = asyncio.ensure_future(trader.create(coid="old", quantity=2))
        await until(lambda: len(trader.risk.checks) == 4)
        commits.let(1)
        await first
        commits.open()
        assert [order.client_order_id for order in (await canceled).orders] == ["first"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await again
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert "read anew" not in caplog.text


async def test_an_order_that_is_being_written_while_gateways_are_asked_is_sent(commits):
    async with trading(reconcile_interval_s=0.05) as trader:
        await trader.create()
        commits.close()
        # Taken before: who has asked by the time that the order arrives waits for it to be written.
        asked = trader.engine.queries
        created = asyncio.ensure_future(trader.create())
        await until(lambda: commits.arrived == 1)
        await until(lambda: trader.engine.queries > asked)
        commits.open()
        order = await created
        await trader.becomes(order.order_id, "NEW")


async def test_many_updates_at_once_pass_a_stream_in_parts_between_which_it_can_end():
    async def snapshot(user_id, account_id):
        return Snapshot(0, [])

    streams = Streams(Clock(), lambda: 5000, snapshot, None, lambda user_id: (0, 0), lambda: 0)
    stream = streams.follow("u", "", None, 10.0)
    assert [item.kind for item in await anext(stream)] == [UpdateKind.SNAPSHOT_COMPLETE]
    streams.publish("u", [StreamUpdate(UpdateKind.CHANGE, number, "u", "a", b"") for number in range(1, 1001)])
    parts, seen = [], []
    while len(seen) < 1000:
        parts.append(await anext(stream))
        seen += [item.sequence for item in parts[-1]]
    assert seen == list(range(1, 1001)) and max(map(len, parts)) <= 100
    await stream.aclose()


async def test_a_stream_resumes_at_a_shards_end_that_is_beyond_what_was_published_here():
    """As where the shard was taken over while steps of others are on their way."""

    async def missed(after, through, user_id):
        for _ in range(after, through):
            yield StreamUpdate(UpdateKind.CHANGE, through, user_id, "a", b"")

    streams = Streams(Clock(), lambda: 5000, None, missed, lambda user_id: (0, 9), lambda: 5)
    stream = streams.follow("u", "", 9, 10.0)
    assert [(item.kind, item.sequence) for item in await anext(stream)] == [(UpdateKind.HEARTBEAT, 9)]
    await stream.aclose()


async def test_a_caller_that_disconnects_before_an_order_is_written_leaves_nothing_and_its_key_is_free(
    trader, monkeypatch
):
    answered = asyncio.Event()
    monkeypatch.setattr(risk_client, "TIMEOUT_S", 10)
    monkeypatch.setattr(trader.risk, "hold", answered.wait)
    request = trader.request(coid="left")
    first = asyncio.ensure_future(trader.orders.CreateOrder(request, timeout=0.3))
    again = asyncio.ensure_future(trader.orders.CreateOrder(request, timeout=10))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await first
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await again
    # The caller's time is risk's too: it is up first here or there, and either way nothing was done.
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION)
    assert (await trader.account()).frozen == "0" and not await trader.open()
    answered.set()
    order = (await trader.orders.CreateOrder(request)).order
    await trader.becomes(order.order_id, "NEW")
    assert len(trader.engine.sends) == 1


async def test_a_caller_that_disconnects_while_an_order_is_written_finds_it_once(commits, trader):
    await trader.account()
    commits.close()
    request = trader.request(coid="left")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await trader.orders.CreateOrder(request, timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    again = asyncio.ensure_future(trader.orders.CreateOrder(request))
    assert not trader.engine.sends
    commits.open()
    order = (await again).order
    await trader.becomes(order.order_id, "NEW")
    assert len(trader.engine.sends) == 1
    await trader.cancel(order.order_id)
    await trader.becomes(order.order_id, "CANCELED")
    assert (await trader.account()).frozen == "0"
