"""Replacing orders while the venue fills, refuses or does not answer."""

import contextlib

import grpc
from redfire.reasons import Reason

from services.kernel.errors import FailedPrecondition, Unavailable
from tests.trading.conftest import trading
from tests.trading.fakes import Peers
from tests.waiting import until


async def test_an_order_that_is_filled_before_it_could_grow_is_filled_and_not_canceled():
    peers = Peers()

    async def amend(request, call):
        peers.engine.fill(request.order_id, 3, "4000")
        await trader.becomes(request.order_id, "FILLED", "CANCELED")
        raise FailedPrecondition("filled", reason=Reason.GATEWAY_REJECTED)

    peers.engine.AmendOrder = amend
    async with trading(peers) as trader:
        order = await trader.create(quantity=3)
        await trader.becomes(order.order_id, "NEW")
        with contextlib.suppress(grpc.aio.AioRpcError):
            await trader.replace(order.order_id, quantity="5")
        assert (await trader.becomes(order.order_id, "FILLED", "CANCELED")).quantity == "3"
        assert (await trader.account()).frozen == "0"
        await trader.becomes(order.order_id, "FILLED")


async def test_an_order_that_was_filled_while_its_amend_got_lost_does_not_wait_without_limit():
    peers = Peers()

    async def amend(request, call):
        peers.engine.emit(trade=peers.engine.fill(request.order_id, 3, "4000", silent=True))
        raise Unavailable("cut")

    peers.engine.AmendOrder = amend
    async with trading(peers, reconcile_interval_s=0.3) as trader:
        order = await trader.create(quantity=3)
        await trader.becomes(order.order_id, "NEW")
        await trader.replace(order.order_id, quantity="5")
        await until(trader.trades)
        await trader.becomes(order.order_id, "FILLED")
        assert (await trader.account()).frozen == "0"
