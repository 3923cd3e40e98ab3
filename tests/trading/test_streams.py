"""The stream of orders: snapshot, updates, resume, gap, heartbeat, end."""

import asyncio

from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.trading.state.streams import AccountSubscriber, StreamUpdate, UpdateKind
from tests.trading.conftest import Client, refused, trading
from tests.waiting import until


class Follower:
    """Collects a stream in the background."""

    def __init__(self, stub, request=None, rpc="StreamOrders"):
        self.messages = []
        self.call = getattr(stub, rpc)(request or pb.StreamOrdersRequest(), timeout=30)
        self.task = asyncio.ensure_future(self._read())

    async def _read(self):
        async for message in self.call:
            self.messages.append(message)

    def kinds(self):
        return [m.WhichOneof("event") for m in self.messages]

    async def until(self, condition):
        return await until(lambda: next((m for m in self.messages if condition(m)), None))

    async def stop(self):
        self.call.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_stream_begins_with_a_snapshot_and_publishes_each_change_once(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    follower = Follower(trader.orders)
    complete = await follower.until(lambda m: m.HasField("snapshot_complete"))
    assert follower.kinds() == ["account", "order", "snapshot_complete"]
    trader.engine.fill(order.order_id, 1, "4000")
    await follower.until(lambda m: m.account.margin not in ("", "0"))
    updates = [m for m in follower.messages[3:] if m.WhichOneof("event") != "heartbeat"]
    assert {m.WhichOneof("event") for m in updates} == {"order", "trade", "position", "account"}
    sequences = [m.sequence for m in updates]
    assert sequences == sorted(set(sequences)) and sequences[0] > complete.sequence
    await follower.stop()


async def test_resume_replays_what_was_missed_without_a_snapshot(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    snapshot = await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())
    assert [o.order_id for o in snapshot.orders] == [order.order_id]
    trader.engine.fill(order.order_id, 1, "4000")
    await trader.becomes(order.order_id, "FILLED")
    follower = Follower(trader.orders, pb.StreamOrdersRequest(resume_after_sequence=snapshot.sequence))
    await follower.until(lambda m: m.order.status == 4)
    second = await trader.create()
    await follower.until(lambda m: m.order.order_id == second.order_id)
    assert "snapshot_complete" not in follower.kinds() and "trade" in follower.kinds()
    changes = [m.sequence for m in follower.messages if m.WhichOneof("event") != "heartbeat"]
    assert changes == sorted(set(changes)) and changes[0] == snapshot.sequence + 1
    await follower.stop()


async def test_what_is_not_kept_is_a_gap_and_then_a_snapshot(trader):
    await trader.create()
    follower = Follower(trader.orders, pb.StreamOrdersRequest(resume_after_sequence=10**9))
    await follower.until(lambda m: m.HasField("snapshot_complete"))
    assert follower.kinds()[0] == "gap"
    await follower.stop()


async def test_silence_is_broken_by_heartbeats_and_others_updates_are_not_received(trader):
    request = pb.StreamOrdersRequest()
    request.heartbeat_interval.FromMilliseconds(100)
    mallory = Client(trader.platform, trader.platform.identity())
    await mallory.account()
    follower = Follower(mallory.orders, request)
    await follower.until(lambda m: m.HasField("snapshot_complete"))
    await trader.create()
    await follower.until(lambda m: m.HasField("heartbeat"))
    assert "order" not in follower.kinds()
    await follower.stop()
    async with refused("NOT_FOUND"):
        async for _ in mallory.orders.StreamOrders(
            pb.StreamOrdersRequest(account_id=(await trader.account()).account_id)
        ):
            pass


async def test_risk_watches_everybody(trader):
    other = Client(trader.platform, trader.platform.identity())
    mine = await trader.create()
    follower = Follower(
        trader.platform.service_stub(OrderServiceStub, "risk"), pb.WatchTradingRequest(), "WatchTrading"
    )
    await until(lambda: any(m.update.HasField("snapshot_complete") for m in follower.messages))
    theirs = await other.create()
    await until(lambda: any(m.update.order.order_id == theirs.order_id for m in follower.messages))
    users = {m.update.order.order_id: m.user_id for m in follower.messages if m.update.HasField("order")}
    assert users == {mine.order_id: trader.user.user_id, theirs.order_id: other.user.user_id}
    stub = trader.platform.service_stub(OrderServiceStub, "risk")
    answer = await stub.CancelAccountOrders(pb.CancelAccountOrdersRequest(user_id=other.user.user_id))
    assert answer.count == 1
    await other.becomes(theirs.order_id, "CANCELED")
    assert (await trader.get(mine.order_id)).status in (1, 2)
    await follower.stop()


async def test_the_stream_ends_properly_when_the_platform_stops():
    async with trading() as trader:
        follower = Follower(trader.orders)
        await follower.until(lambda m: m.HasField("snapshot_complete"))
        stub_task = follower.task
        await trader.platform.host.lifecycle.drain(2)
        await stub_task
        assert follower.messages[-1].end.reason == "SHUTTING_DOWN"


async def test_a_slow_follower_gets_an_end_message_and_holds_no_memory():
    subscription = AccountSubscriber("a", 3)
    subscription.offer([StreamUpdate(UpdateKind.CHANGE, n, account_id="a") for n in range(3)])
    assert len(await subscription.take(1)) == 3
    subscription.offer([StreamUpdate(UpdateKind.CHANGE, n, account_id="a") for n in range(4)])
    assert subscription.has_ended and await subscription.take(1) == []
    assert subscription.end_reason == "SLOW_CONSUMER"


async def test_sequences_go_on_after_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        await trader.create()
        await trader.account()
        first = (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await trader.create()
        follower = Follower(trader.orders, pb.StreamOrdersRequest(resume_after_sequence=first))
        await follower.until(lambda m: m.HasField("order"))
        assert "gap" not in follower.kinds() and all(m.sequence > first for m in follower.messages)
        await follower.stop()
