"""Leases: an account's working orders end when its client's stream is gone for too long."""

import asyncio
import contextlib

import grpc
from google.protobuf import duration_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub
from sqlalchemy import select

from services.kernel.clock import ManualClock
from services.kernel.data.writes import Mode
from services.trading.models import LeaseRow
from tests.trading.commits import NOTHING_DONE
from tests.trading.conftest import Client, refused, trading
from tests.waiting import until

CANCEL_ON_DISCONNECT = 66


def lease(seconds=1, stops=False):
    return order_pb.StreamOrdersRequest(
        cancel_on_disconnect=duration_pb2.Duration(seconds=seconds), cancel_protective_stops=stops
    )


async def armed(stream):
    """The lease that a stream reports as armed."""
    async for message in stream:
        if message.WhichOneof("event") == "lease":
            return message
    raise AssertionError("the stream ended")


async def position(trader, quantity=1):
    order = await trader.create(quantity=quantity)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, quantity, "4000")
    await trader.becomes(order.order_id, "FILLED")


class Cut:
    """A TCP proxy whose connections can be cut."""

    def __init__(self, address):
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.cut()
        self._server.close()

    def cut(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, back]

        async def pipe(source, sink):
            while data := await source.read(65536):
                sink.write(data)

        with contextlib.suppress(OSError):
            await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def test_a_line_that_is_cut_cancels_working_orders_and_leaves_protective_stops(trader):
    await position(trader)
    working = await trader.create(price="3900")
    entry_stop = await trader.create(type="STOP", stop_price="4100")
    protection = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    async with Cut(trader.platform.host.address) as line:
        channel = grpc.aio.insecure_channel(line.address)
        stream = OrderServiceStub(channel).StreamOrders(
            lease(), metadata=[("authorization", f"Bearer {trader.user.token}")]
        )
        message = await armed(stream)
        assert message.lease.account_id == working.account_id and message.lease.cancel_on_disconnect.seconds == 1
        preview = await trader.orders.PreviewOrder(preview_of(trader))
        assert preview.cancel_on_disconnect.seconds == 1
        line.cut()
        for order in (working, entry_stop):
            done = await trader.becomes(order.order_id, "CANCELED")
            assert done.reject_reason == CANCEL_ON_DISCONNECT
        assert (await trader.get(protection.order_id)).status == 2
        await channel.close()
    await until(lambda: lapsed(trader))


async def lapsed(trader):
    return not (await trader.orders.PreviewOrder(preview_of(trader))).HasField("cancel_on_disconnect")


def preview_of(trader):
    request = trader.request()
    return order_pb.PreviewOrderRequest(
        client_order_id=request.client_order_id, symbol=request.symbol, side=request.side, type=request.type,
        quantity=request.quantity, price=request.price, time_in_force=request.time_in_force,
    )  # fmt: skip


async def test_protective_stops_end_too_where_that_was_asked_for(trader):
    await position(trader)
    protection = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    stream = trader.orders.StreamOrders(lease(stops=True), timeout=None)
    assert (await armed(stream)).lease.cancel_protective_stops
    stream.cancel()
    done = await trader.becomes(protection.order_id, "CANCELED")
    assert done.reject_reason == CANCEL_ON_DISCONNECT


class Other(Client):
    """Another user whose lease runs out: when its order is gone, all leases that were over by then have been ended."""

    @classmethod
    async def with_a_lease(cls, trader, seconds):
        other = cls(trader.platform, trader.platform.identity())
        order = await other.create(price="3900")
        await other.becomes(order.order_id, "NEW")
        stream = other.orders.StreamOrders(lease(seconds), timeout=None)
        await armed(stream)
        stream.cancel()
        other.order_id = order.order_id
        await until(lambda: running_out(trader, order.account_id))
        return other

    async def is_over(self):
        await self.becomes(self.order_id, "CANCELED")


async def running_out(trader, account_id):
    """Return whether nobody holds the account's lease any more."""
    query = select(LeaseRow.deadline_ns).where(LeaseRow.account_id == account_id)
    return any(deadline_ns > 0 for (deadline_ns,) in await trader.platform.rows("trading", query))


async def test_a_stream_that_follows_in_time_or_another_that_is_still_there_keeps_the_orders():
    clock = ManualClock()
    async with trading(clock=clock) as trader:
        working = await trader.create(price="3900")
        await trader.becomes(working.order_id, "NEW")
        first, second = (trader.orders.StreamOrders(lease(), timeout=None) for _ in range(2))
        await armed(first)
        await armed(second)
        first.cancel()
        second.cancel()
        await until(lambda: running_out(trader, working.account_id))
        third, fourth = (trader.orders.StreamOrders(lease(), timeout=None) for _ in range(2))
        await armed(third)
        await armed(fourth)
        third.cancel()
        other = await Other.with_a_lease(trader, 60)
        clock.advance(61)
        await other.is_over()
        assert (await trader.get(working.order_id)).status == 2
        fourth.cancel()
        await until(lambda: running_out(trader, working.account_id))
        clock.advance(2)
        await trader.becomes(working.order_id, "CANCELED")


async def test_a_lease_outlives_a_restart_and_orders_end_unless_their_client_comes_back(tmp_path):
    clock = ManualClock()
    async with trading(data_dir=tmp_path, user_id="u-1", clock=clock) as trader:
        working = await trader.create(price="3900")
        await trader.becomes(working.order_id, "NEW")
        await armed(trader.orders.StreamOrders(lease(60), timeout=None))
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1", clock=clock) as trader:
        clock.advance(61)
        done = await trader.becomes(working.order_id, "CANCELED")
        assert done.reject_reason == CANCEL_ON_DISCONNECT
        kept = await trader.create(price="3900")
        await trader.becomes(kept.order_id, "NEW")
        await armed(trader.orders.StreamOrders(lease(60), timeout=None))
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1", clock=clock) as trader:
        await armed(trader.orders.StreamOrders(lease(60), timeout=None))
        other = await Other.with_a_lease(trader, 60)
        clock.advance(61)
        await other.is_over()
        assert (await trader.get(kept.order_id)).status == 2


async def test_a_lease_whose_end_could_not_be_written_ends_when_it_can_be(commits):
    clock, failed = ManualClock(), []

    def fault(group):
        ends = any(one.mode is Mode.DELETE for submission in group for one, _ in submission.writes)
        if failed or not ends:
            return None
        failed.append(group)
        return NOTHING_DONE

    commits.fault = fault
    async with trading(clock=clock) as trader:
        working = await trader.create(price="3900")
        await trader.becomes(working.order_id, "NEW")
        stream = trader.orders.StreamOrders(lease(), timeout=None)
        await armed(stream)
        stream.cancel()
        await until(lambda: running_out(trader, working.account_id))
        clock.advance(2)
        # Else the next start would cancel whatever is working then.
        await until(lambda: failed)

        async def is_ended():
            return not await running_out(trader, working.account_id)

        await until(is_ended)
        await trader.becomes(working.order_id, "CANCELED")


async def test_only_who_may_cancel_may_arm_a_lease(trader):
    reader = trader.platform.identity(trader.user.user_id, role="user")
    async with refused("PERMISSION_DENIED"):
        async for _ in reader.stub(OrderServiceStub).StreamOrders(lease()):
            pass
    async with refused("INVALID_FIELD"):
        async for _ in trader.orders.StreamOrders(order_pb.StreamOrdersRequest(cancel_protective_stops=True)):
            pass
