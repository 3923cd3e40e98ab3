"""Whole replicas, each a server with shards on PostgreSQL: their clients notice nothing of the shards' moves."""

import asyncio
import contextlib
import itertools
from collections import Counter

import pytest
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceServicer, OrderServiceStub

from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import SHARDS, shard_of
from tests.harness import FakeService, TokenMint, complete, platform
from tests.kernel.shards.replicas import Base
from tests.postgres import opened
from tests.waiting import until

pytestmark = pytest.mark.slow
LONG_S = 90.0
SOME = range(0, SHARDS, 8)
_names = itertools.count(1)


@complete
class Orders(OrderServiceServicer):
    """Answers for the users that were loaded here."""

    def __init__(self, shards) -> None:
        self._shards = shards
        self.loaded = set()
        shards.on_acquired(self._load)
        shards.on_lost(self.loaded.difference_update)

    async def _load(self, shards):
        self.loaded |= set(shards)

    async def GetOrder(self, request, call):
        assert shard_of(call.user_id) in self.loaded
        await asyncio.sleep(0)
        self._shards.fence(call.user_id)
        return pb.GetOrderResponse(order={"order_id": request.order_id})


class Client:
    """Asks for an order of each shard's user at any replica, again and again."""

    def __init__(self, mint) -> None:
        self.users = {}
        while len(self.users) < SHARDS:
            user = new_id()
            self.users[shard_of(user)] = mint.token(user)
        self.at = []
        self.rounds = Counter()

    async def ask_on(self, shard):
        while True:
            for replica in list(self.at):
                stub = replica.stub(OrderServiceStub, self.users[shard])
                await stub.GetOrder(pb.GetOrderRequest(order_id=new_id()), timeout=20)
            self.rounds[shard] += 1

    async def goes_on(self):
        """Wait until every user had an answer from all replicas that are known now."""
        before = dict(self.rounds)
        await until(lambda: all(self.rounds[shard] > before.get(shard, 0) + 1 for shard in SOME), LONG_S)


async def test_clients_see_no_error_when_replicas_come_and_stop(postgres):
    url, mint = postgres.url(f"replicas{next(_names)}_{{name}}"), TokenMint()
    async with opened(url.replace("{name}", "trading"), Base):
        pass
    client = Client(mint)

    def servicers(context):
        context.database("trading", Base)
        return [Orders(context.shards())]

    async with contextlib.AsyncExitStack() as all_replicas:

        async def start():
            stack = await all_replicas.enter_async_context(contextlib.AsyncExitStack())
            settings = {"database": {"url": url}}
            started = platform(fakes={"trading": FakeService(servicers)}, mint=mint, settings=settings)
            replica = await stack.enter_async_context(started)
            replica.stop, replica.shards = stack.aclose, replica.host.resources.shards("trading")
            client.at.append(replica)
            return replica

        first = await start()
        assert len(first.shards.owned()) == SHARDS
        asking = [asyncio.create_task(client.ask_on(shard)) for shard in SOME]
        second = await start()
        await until(lambda: len(second.shards.owned()) == SHARDS / 2, LONG_S)
        third = await start()
        await until(lambda: len(third.shards.owned()) == 21, LONG_S)
        # Its clients go elsewhere first, as the edge sees to.
        client.at.remove(first)
        await client.goes_on()
        await first.stop()
        await until(lambda: len(second.shards.owned()) + len(third.shards.owned()) == SHARDS, LONG_S)
        await client.goes_on()
        for task in asking:
            assert not task.done(), task.exception()
            task.cancel()
