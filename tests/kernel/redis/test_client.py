"""Commands to a real Redis, and what they cost while it is away, slow, full or emptied."""

import asyncio

import pytest

from services.kernel.redis.client import RedisClient, commands
from services.kernel.redis.shared import RedisUnavailable, Script
from services.kernel.tasks import Tasks
from tests.kernel.events.proxy import Proxy
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer, installed_redis
from tests.waiting import until

ECHO = Script("return {KEYS[1], ARGV[1]}")


def skipped() -> float:
    return commands.labels("skipped")._value.get()


async def test_commands_and_scripts_are_answered(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        await redis.command("SET", redis.prefix + "a", "1", "PX", 60_000)
        assert await redis.command("GET", redis.prefix + "a") == b"1"
        assert await redis.run_script(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_a_script_is_sent_again_when_redis_forgot_it(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        await redis.run_script(ECHO, ["k"], ["v"])
        await redis.command("SCRIPT", "FLUSH")
        assert await redis.run_script(ECHO, ["k"], ["w"]) == [b"k", b"w"]
        assert redis.available


async def test_more_calls_than_connections_share_them(redis_server: RedisServer):
    async with connected(redis_server.url, pool_size=2) as redis:
        answers = await asyncio.gather(*(redis.run_script(ECHO, [str(n)], [str(n)]) for n in range(200)))
        assert answers == [[str(n).encode()] * 2 for n in range(200)]
        with redis_server.client() as other:
            assert len([c for c in other.client_list() if c["name"] == "redfiretest"]) <= 2


async def test_a_server_that_is_not_there_is_told_at_once_and_found_when_it_comes():
    server = installed_redis()
    server.kill()
    tasks = Tasks()
    redis = RedisClient(server.url, "test", "redfire test", timeout_s=2.0, pool_size=4)
    try:
        tasks.supervise("redis", redis.run)
        await until(lambda: "does not answer" in redis.failure, 20)
        with pytest.raises(RedisUnavailable):
            await redis.command("PING")
        server.start()
        await until(lambda: redis.available, 20)
        assert await redis.command("PING") in (b"PONG", True)
    finally:
        await tasks.stop()
        await redis.close()
        server.close()


async def test_a_suspended_server_costs_the_calls_under_way_their_limit_and_the_next_ones_nothing(
    redis_server: RedisServer,
):
    async with connected(redis_server.url, timeout_s=0.3) as redis:
        redis_server.suspend()
        before = skipped()
        under_way = await asyncio.gather(*(redis.command("PING") for _ in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in under_way} == {RedisUnavailable}
        assert not redis.available
        # Nothing is sent and nothing waited for: the loop does not even turn.
        for _ in range(100):
            with pytest.raises(RedisUnavailable):
                redis.command("PING").send(None)
        assert skipped() - before >= 100
        redis_server.resume()
        await until(lambda: redis.available, 20)
        assert await redis.run_script(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_answers_that_come_late_are_nobody_elses(redis_server: RedisServer):
    async with Proxy(redis_server.port) as proxy, connected(proxy.url(redis_server.url), timeout_s=0.3) as redis:
        proxy.delay_s = 5.0
        late = await asyncio.gather(*(redis.run_script(ECHO, ["late"], [n]) for n in range(8)), return_exceptions=True)
        assert {type(outcome) for outcome in late} == {RedisUnavailable}
        proxy.delay_s = 0.0
        await until(lambda: redis.available, 20)
        answers = await asyncio.gather(*(redis.run_script(ECHO, ["k"], [n]) for n in range(8)), return_exceptions=True)
        assert [a for a in answers if not isinstance(a, RedisUnavailable) and a[0] != b"k"] == []


async def test_connections_that_hang_unnoticed_fail_one_command_and_not_one_each(redis_server: RedisServer):
    async with Proxy(redis_server.port) as proxy, connected(proxy.url(redis_server.url), timeout_s=0.5) as redis:
        await asyncio.gather(*(redis.command("PING") for _ in range(4)))
        proxy.stall()
        with pytest.raises(RedisUnavailable):
            await redis.command("PING")
        await until(lambda: redis.available, 20)
        assert await redis.run_script(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_a_server_that_was_restarted_needs_no_restart_of_ours(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        await redis.command("SET", "a", "1", "PX", 60_000)
        redis_server.kill()
        redis_server.start()

        async def answered() -> bool:
            try:
                return await redis.command("GET", "a") is None
            except RedisUnavailable:
                return False

        await until(answered, 20)


async def test_a_full_server_refuses_a_write_and_stays_available():
    server = installed_redis("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    try:
        async with connected(server.url) as redis:
            with pytest.raises(RedisUnavailable, match="refuses SET"):
                for n in range(100):
                    await redis.command("SET", f"k{n}", b"x" * 100_000, "PX", 60_000)
            assert redis.available
            assert await redis.command("GET", "absent") is None
    finally:
        server.close()


async def test_a_wrong_password_is_a_failure_that_is_shown_without_it():
    server = installed_redis("--requirepass", "right")
    url = f"redis://:wrong-secret@127.0.0.1:{server.port}/0"
    tasks = Tasks()
    redis = RedisClient(url, "test", "x", timeout_s=2.0, pool_size=1)
    try:
        tasks.supervise("redis", redis.run)
        await until(lambda: "does not answer" in redis.failure, 20)
        assert "wrong-secret" not in redis.failure
        assert not redis.available
    finally:
        await tasks.stop()
        await redis.close()
        server.close()
