"""PostgreSQL's server is killed and started again under a running trading service, which needs no restart for it."""

import asyncio

import grpc
import pytest
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb

from tests.harness import platform
from tests.postgres import installed_server
from tests.trading.conftest import FAST, Client
from tests.trading.fakes import Peers
from tests.waiting import until


@pytest.mark.slow
async def test_trading_goes_on_by_itself_after_its_database_server_was_killed_and_started_again():
    server, peers = await asyncio.to_thread(installed_server, fsync=True), Peers()
    try:
        database = {"url": server.url("restart_{name}_db"), "connect_timeout_s": 5}
        settings = {"trading": dict(FAST), "database": database}
        async with platform("trading", fakes=peers.fakes(), settings=settings) as running:
            trader = Client(running, running.identity())
            await until(lambda: not running.host.lifecycle.waiting_for("trading"), 20)
            order = await trader.create(quantity=3)
            await trader.becomes(order.order_id, "NEW")
            for number in range(2):
                await asyncio.to_thread(server.kill)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await trader.create(coid=f"while-away-{number}")
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                peers.engine.fill(order.order_id, 1, "4000", f"t{number}")
                await asyncio.to_thread(server.start)
                await until(lambda number=number: _is_taken(trader, f"while-away-{number}"), 30)
                await until(lambda number=number: _is_filled(trader, order.order_id, number + 1), 30)
            # Lists, from the database, and what is in memory agree.
            listed = (await trader.orders.ListOrders(pb.ListOrdersRequest())).orders
            assert [one.client_order_id for one in reversed(listed)] == [
                order.client_order_id, "while-away-0", "while-away-1",
            ]  # fmt: skip
            assert sorted(trade.venue_trade_id for trade in await trader.trades()) == ["t0", "t1"]
            snapshot = await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())
            assert [position.quantity for position in snapshot.positions] == ["2"]
            assert len(peers.engine.sends) == 3
    finally:
        server.close()


async def _is_taken(trader, client_order_id):
    try:
        await trader.create(coid=client_order_id)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
        return False
    return True


async def _is_filled(trader, order_id, quantity):
    try:
        return (await trader.get(order_id)).cumulative_quantity == str(quantity)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
        return False
