"""Random days at CTP: whatever is lost, cut or restarted, each fill is published once, for its owner."""

import asyncio
import itertools
import os
import random
from contextlib import AsyncExitStack, suppress

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb

from services.kernel.identifiers import new_id
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, SC, M
from tests.engine.running import complete, engine_at, send
from tests.waiting import until

pytestmark = pytest.mark.slow

EXTERNAL = 9_000  # prices from here on are other people's
STEPS = 60


class Day:
    """One day's random steps. Each order of ours has a price of its own, by which the front's order is known."""

    def __init__(self, front, folder, seed):
        self.front, self.folder = front, folder
        self.chance = random.Random(seed)
        self.prices = itertools.count(1000)
        self.external_prices = itertools.count(EXTERNAL)
        self.ours = {}  # price → order id
        self.answered = {}  # order id → venue's id
        self.refused = set()
        self.harness = None
        self.sends = []

    async def run(self):
        steps = [self.send] * 6 + [self.fill] * 8 + [self.cancel, self.external, self.lose, self.cut, self.swallow]
        steps += [self.restart]
        async with AsyncExitStack() as self.stack:
            await self.start()
            for _ in range(STEPS):
                await self.chance.choice(steps)()
                if self.chance.random() < 0.5:
                    await asyncio.sleep(0.005)
            await self.mend()
            await self.check()

    async def start(self):
        self.harness = await self.stack.enter_async_context(
            engine_at(self.front, self.folder, ready=False, send_timeout_s=1)
        )
        await until(lambda: complete(self.harness), 10)

    async def send(self):
        order_id, price = new_id(), next(self.prices)
        self.ours[float(price)] = order_id

        async def sending(harness=self.harness):
            try:
                _, venue_order_id = await send(
                    harness, order_id=order_id, price=str(price), quantity=str(self.chance.randint(1, 3)),
                    symbol=self.chance.choice([RB, SC, M]).vt_symbol, side=self.chance.choice(["BUY", "SELL"]),
                )  # fmt: skip
                self.answered[order_id] = venue_order_id
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    self.refused.add(order_id)

        self.sends.append(asyncio.create_task(sending()))
        if self.chance.random() < 0.7:
            await asyncio.wait([self.sends[-1]])

    def open_orders(self):
        with self.front.lock:
            return [order for order in self.front.orders.values() if order.open and order.sys_id]

    async def fill(self):
        if orders := self.open_orders():
            order = self.chance.choice(orders)
            self.front.fill(order, self.chance.randint(1, order.left))

    async def cancel(self):
        if self.answered:
            order_id = self.chance.choice(list(self.answered))
            with suppress(grpc.aio.AioRpcError):
                await self.harness.engine.CancelOrder(pb.CancelOrderRequest(gateway_name="CTP", order_id=order_id))

    async def external(self):
        instrument = self.chance.choice([RB, SC, M])
        side = self.chance.choice([ctp.BUY, ctp.SELL])
        self.front.external(instrument, side, ctp.OPEN, float(next(self.external_prices)), 2)

    async def lose(self):
        self.front.lost = set() if self.front.lost else {"order", "trade", "answer"}

    async def cut(self):
        if self.front.up:
            self.front.disconnect()
        else:
            self.front.reconnect()

    async def swallow(self):
        self.front.swallowed_inserts = 1

    async def restart(self):
        hangs = self.chance.random() < 0.5
        if hangs:
            self.front.gate.clear()
            await self.send_without_waiting()
        await self.stack.aclose()
        self.front.gate.set()
        await self.fill()
        self.front.reconnect()
        await self.start()

    async def send_without_waiting(self):
        order_id, price = new_id(), next(self.prices)
        self.ours[float(price)] = order_id

        async def sending(harness=self.harness):
            with suppress(grpc.aio.AioRpcError):
                await send(harness, order_id=order_id, price=str(price))

        self.sends.append(asyncio.create_task(sending()))
        await asyncio.sleep(0.02)

    async def mend(self):
        """Restore the connection, and wait until all that was lost is published."""
        self.front.lost = set()
        self.front.swallowed_inserts = 0
        await asyncio.gather(*self.sends, return_exceptions=True)  # a channel that closes cancels its calls
        if self.front.up:
            self.front.disconnect()
        self.front.reconnect()
        await until(lambda: len(self.front.sessions) == 1 and self.front.sessions[0].logged_in, 10)
        await until(lambda: complete(self.harness), 10)

    async def trades(self):
        trades, cursor, more = [], "", True
        while more:
            page = await self.harness.engine.QueryState(pb.QueryStateRequest(gateway_name="CTP", trades_cursor=cursor))
            trades += page.trades
            cursor, more = page.next_trades_cursor, page.more_trades
        return trades

    async def check(self):
        front = self.front
        ids = list(self.ours.values())

        async def agrees():
            published = sorted((float(t.price), int(t.quantity), t.order_id) for t in await self.trades())
            there = sorted((t.price, t.volume, self.ours.get(t.price, "")) for t in front.history)
            self.seen = published, there
            return published == there

        try:
            await until(agrees, 5)
        except AssertionError:
            raise AssertionError(f"published and not there: {set(self.seen[0]) ^ set(self.seen[1])}") from None
        state = await self.harness.state(*ids, gateway="CTP")
        shown = {order.order_id for order in state.orders if order.order_id}
        prices = [order.price for order in front.orders.values()]
        assert len(prices) == len(set(prices)), "an order was sent twice"
        for price, order_id in self.ours.items():
            if price in prices:
                assert order_id in shown, "an order that the venue has is not known"
                assert order_id not in self.refused, "an order that the venue has was refused"
            else:
                assert order_id not in shown or order_id in self.answered
        by_id = {order.order_id: order for order in state.orders}
        for order in front.orders.values():
            if order.price in self.ours and not order.open:
                published = by_id[self.ours[order.price]]
                assert int(published.cumulative_quantity) == order.traded
                full = order.traded == order.volume
                assert published.status == (common.ORDER_STATUS_FILLED if full else common.ORDER_STATUS_CANCELED)


@pytest.mark.parametrize("seed", range(int(os.environ.get("REDFIRE_TEST_SEEDS", "6"))))
async def test_a_random_day(front, tmp_path, seed):
    day = Day(front, tmp_path, seed)
    await day.run()
    assert front.history and day.answered  # something was there to compare
