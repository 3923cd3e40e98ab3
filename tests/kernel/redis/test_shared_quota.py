"""Quotas of two replicas in a real Redis: totals hold, come back after it was emptied, and end with who held them."""

import asyncio

from services.kernel.redis import shared_quota
from services.kernel.redis.client import RedisClient
from services.kernel.redis.shared import NoRedis
from services.kernel.redis.shared_quota import SharedQuota
from services.kernel.tasks import Tasks
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer
from tests.waiting import until


def replicas(redis: RedisClient) -> list[SharedQuota]:
    return [SharedQuota("streams", redis, Tasks()) for _ in range(2)]


def held(server: RedisServer) -> int:
    with server.client() as client:
        return sum(client.zcard(key) for key in client.scan_iter())


async def test_totals_hold_across_replicas_also_for_many_at_once(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        both = replicas(redis)
        taken = await asyncio.gather(*(both[n % 2].take("alice", f"s{n}", 5) for n in range(40)))
        assert taken.count(True) == 5
        # Another owner has a quota of their own.
        assert await both[0].take("bob", "b", 5)


async def test_what_is_let_go_is_free_for_another_replica(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        one, other = replicas(redis)
        assert await one.take("alice", "s1", 1)
        assert not await other.take("alice", "s2", 1)
        # It was never held: letting it go gives nothing back.
        other.release("s2")
        assert not await other.take("alice", "s2", 1)
        one.release("s1")
        await until(lambda: held(redis_server) == 0, 20)
        assert await other.take("alice", "s3", 1)


async def test_holdings_of_a_process_that_died_end_by_themselves(redis_server: RedisServer, monkeypatch):
    monkeypatch.setattr(shared_quota, "LEASE_S", 0.5)
    async with connected(redis_server.url) as redis:
        one, other = replicas(redis)
        assert await one.take("alice", "s1", 1)

        async def is_free() -> bool:
            return await other.take("alice", "s2", 1)

        await until(is_free, 20)


async def test_after_redis_was_emptied_the_totals_come_back(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        one, other = replicas(redis)
        for stream in ("s1", "s2"):
            assert await one.take("alice", stream, 2)
        redis_server.empty()
        await one.renew()
        assert not await other.take("alice", "s3", 2)
        with redis_server.client() as client:
            (key,) = client.scan_iter()
            assert 0 < client.pttl(key) <= 30_000 and len(key) < 100


async def test_without_redis_and_while_it_hangs_the_callers_own_count_is_all(redis_server: RedisServer):
    async with connected(redis_server.url, timeout_s=0.3) as redis:
        redis_server.suspend()
        for quota in (SharedQuota("streams", redis, Tasks()), SharedQuota("streams", NoRedis(), Tasks())):
            assert await quota.take("alice", "s1", 0)
            quota.release("s1")
        redis_server.resume()
