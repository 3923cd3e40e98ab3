"""Races for one key of idempotency: requests at once, and ones that do not wait for the answer, make one order."""

import asyncio
import random

import grpc
from redfire.trading.v1 import order_service_pb2 as order_pb

from tests.trading.conftest import reason_of, trading
from tests.waiting import until

AT_ONCE = 100


async def _all_orders(client):
    return list((await client.orders.ListOrders(order_pb.ListOrdersRequest(page_size=1000))).orders)


async def test_one_key_a_hundred_times_at_once_is_one_order(both_databases):
    async with trading() as client:
        await client.account()
        answers = await asyncio.gather(*(client.create(coid="one") for _ in range(AT_ONCE)))
        assert len({order.order_id for order in answers}) == 1
        await client.becomes(answers[0].order_id, "NEW")
        assert [order.client_order_id for order in await _all_orders(client)] == ["one"]
        assert [sent.order_id for sent in client.engine.sends] == [answers[0].order_id]


async def test_of_different_orders_with_one_key_at_once_one_is_taken(both_databases):
    async with trading() as client:
        await client.account()
        asked = [client.create(coid="one", quantity=1 + number % 5) for number in range(AT_ONCE)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        orders = [answer for answer in answers if not isinstance(answer, BaseException)]
        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert len({order.order_id for order in orders}) == 1 and len(orders) == AT_ONCE // 5
        assert {reason_of(error) for error in refused} == {"CLIENT_ORDER_ID_REUSED"}
        (stored,) = await _all_orders(client)
        assert stored.quantity == orders[0].quantity
        await until(lambda: len(client.engine.sends) == 1)


async def test_what_became_of_an_order_whose_deadline_expired_is_learned_by_its_key(both_databases):
    """Deadlines that end before, while and after it is accepted: the same key answers with the one order there is."""
    chance = random.Random(20261129)
    async with trading(paper_cash=10**9) as client:
        await client.account()
        requests = [client.request(coid=f"late-{number}") for number in range(AT_ONCE)]
        limits = [0.0005 * chance.random() * 2 ** chance.randint(0, 8) for _ in requests]
        expired = await asyncio.gather(
            *(client.orders.CreateOrder(one, timeout=limit) for one, limit in zip(requests, limits, strict=True)),
            return_exceptions=True,
        )
        failed = [answer for answer in expired if isinstance(answer, grpc.aio.AioRpcError)]
        assert {error.code() for error in failed} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        known = {
            one.client_order_id: answer.order.order_id
            for one, answer in zip(requests, expired, strict=True)
            if not isinstance(answer, BaseException)
        }
        learned = await asyncio.gather(*(client.orders.CreateOrder(one, timeout=30) for one in requests))
        ids = {answer.order.client_order_id: answer.order.order_id for answer in learned}
        assert ids.keys() == {one.client_order_id for one in requests} and known.items() <= ids.items()
        stored = await _all_orders(client)
        assert {order.client_order_id: order.order_id for order in stored} == ids and len(stored) == AT_ONCE
        await until(lambda: len(client.engine.sends) >= AT_ONCE, 20)
        assert sorted(sent.order_id for sent in client.engine.sends) == sorted(ids.values())
