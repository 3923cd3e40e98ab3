"""Streams of a user are counted at all replicas of market together, where they share a Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine
from tests.market.running_market import Market
from tests.market.ticks import SYMBOL
from tests.redis_server import RedisServer
from tests.waiting import until

MESSAGE = pb.StreamTicksRequest(symbols=[SYMBOL], mode=pb.DELIVERY_MODE_CONFLATED)


@asynccontextmanager
async def replica(redis: RedisServer) -> AsyncIterator[Any]:
    """A user's stub of one replica."""
    engine = FakeEngine()
    settings = {"redis": {"url": redis.url, "timeout_s": 2.0}, "market": {"max_streams_per_user": 3}}
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", settings=settings, fakes=fakes) as running:
        await Market(running, engine).ready()
        await until(lambda: running.host.resources.redis.available, 20)
        yield running.identity("alice", role="user").stub(MarketServiceStub)


async def is_refused(call: Any) -> bool:
    try:
        await call.read()
    except grpc.aio.AioRpcError as failure:
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, failure
        return True
    return False


async def test_a_users_streams_are_counted_at_both_replicas_and_each_that_ends_makes_room(redis_server: RedisServer):
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(replica(redis_server)) for _ in range(2)]
        calls = [stub.StreamTicks(MESSAGE) for stub in (one, other, one)]
        for call in calls:
            assert (await call.read()).HasField("started")
        for stub in (one, other):
            assert await is_refused(stub.StreamTicks(MESSAGE))
        calls[0].cancel()

        async def there_is_room() -> bool:
            return not await is_refused(other.StreamTicks(MESSAGE))

        await until(there_is_room, 20)
        assert await is_refused(one.StreamTicks(MESSAGE))


async def test_while_redis_hangs_each_replica_counts_its_own(redis_server: RedisServer):
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(replica(redis_server)) for _ in range(2)]
        redis_server.suspend()
        for stub in (one, other):
            calls = [stub.StreamTicks(MESSAGE) for _ in range(3)]
            for call in calls:
                assert (await call.read()).HasField("started")
            assert await is_refused(stub.StreamTicks(MESSAGE))
        redis_server.resume()
