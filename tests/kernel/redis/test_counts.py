"""Counts of two replicas in a real Redis, and alone without it."""

from services.kernel.clock import Clock, ManualClock
from services.kernel.redis.counts import SharedCounts
from services.kernel.redis.shared import NoRedis
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer


async def test_replicas_count_together_and_forget_together(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        one, other = (SharedCounts("test", 900, redis, Clock()) for _ in range(2))
        for counts in (one, other, other):
            await counts.add("alice")
        assert [await one.get("alice"), await other.get("alice"), await one.get("bob")] == [3, 3, 0]
        await other.forget("alice")
        assert await other.get("alice") == 0
        # What a replica saw itself it knows also without Redis: it is not forgotten by another's success.
        assert await one.get("alice") == 1


async def test_after_redis_was_emptied_each_knows_what_it_saw(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        one, other = (SharedCounts("test", 900, redis, Clock()) for _ in range(2))
        for counts in (one, one, other):
            await counts.add("alice")
        redis_server.empty()
        assert [await one.get("alice"), await other.get("alice")] == [2, 1]


async def test_without_redis_and_while_it_hangs_a_process_counts_alone(redis_server: RedisServer):
    async with connected(redis_server.url, timeout_s=0.3) as redis:
        redis_server.suspend()
        for counts in (SharedCounts("test", 900, redis, Clock()), SharedCounts("test", 900, NoRedis(), Clock())):
            await counts.add("alice")
            await counts.add("alice")
            assert await counts.get("alice") == 2
        redis_server.resume()


async def test_a_count_ends_with_its_window_here_and_in_redis(redis_server: RedisServer):
    clock = ManualClock()
    async with connected(redis_server.url) as redis:
        counts = SharedCounts("test", 900, redis, clock)
        await counts.add("x\r\n*" * 1000)
        with redis_server.client() as client:
            (key,) = client.scan_iter()
            assert len(key) < 100 and 0 < client.pttl(key) <= 900_000
            client.delete(key)
        clock.advance(900)
        assert await counts.get("x\r\n*" * 1000) == 0
