"""Failed logins of two replicas count together in a real Redis, and alone without it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.auth.settings import AuthSettings
from services.auth.shared_throttle import SharedThrottle
from services.auth.throttle import LoginThrottle, TooManyLogins
from services.kernel.clock import Clock
from services.kernel.redis.client import RedisClient
from services.kernel.redis.shared import NoRedis
from services.kernel.runtime.live_settings import LiveSettings
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer
from tests.waiting import until

HERE, THERE = "192.0.2.1", "198.51.100.7"
# Slow to forget: on a busy machine a failure must not be forgotten meanwhile.
SETTINGS = LiveSettings(AuthSettings(login_forget_s=3600, login_max_delay_s=60))


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    async with connected(redis_server.url) as client:
        yield client


def replica(redis: RedisClient | NoRedis) -> SharedThrottle:
    return SharedThrottle(LoginThrottle(SETTINGS, Clock()), redis, SETTINGS)


async def attempt(throttle: SharedThrottle, name: str = "alice", address: str = HERE) -> float:
    """Begin a login; the pause that was asked for instead, or 0."""
    try:
        await throttle.admit(name, address)
    except TooManyLogins as error:
        return error.retry_after_s or 0.0
    return 0.0


async def fail(throttle: SharedThrottle, name: str = "alice", address: str = HERE) -> float:
    pause_s = await attempt(throttle, name, address)
    if not pause_s:
        await throttle.failed(name, address)
    return pause_s


async def fail_in_turn(replicas: list[SharedThrottle], times: int, name: str = "alice") -> list[float]:
    return [await fail(replicas[n % len(replicas)], name) for n in range(times)]


async def test_free_failures_are_counted_by_all_replicas_together(redis: RedisClient):
    both = [replica(redis), replica(redis)]
    assert await fail_in_turn(both, 5) == [0.0] * 5
    for throttle in (*both, replica(redis)):
        assert 0 < await attempt(throttle) <= 1.0
    # Another name at that address is not slowed, nor this one elsewhere.
    assert await attempt(both[0], "bob") == 0.0
    assert await attempt(both[1], "alice", THERE) == 0.0


async def test_pauses_grow_with_the_failures_of_all(redis: RedisClient):
    both = [replica(redis), replica(redis)]
    await fail_in_turn(both, 5)

    async def admitted() -> bool:
        return not await fail(both[0])

    await until(admitted, 20)
    assert 1.0 < await attempt(both[1]) <= 2.0


async def test_a_success_at_one_replica_forgives_the_failures_at_the_others(redis: RedisClient):
    both = [replica(redis), replica(redis)]
    await fail_in_turn(both, 4)
    await both[0].admit("alice", HERE)
    await both[0].succeeded("alice", HERE)
    assert await fail_in_turn([replica(redis), replica(redis)], 5) == [0.0] * 5


async def test_the_owner_is_known_at_every_replica_from_where_they_logged_in(redis: RedisClient):
    both = [replica(redis), replica(redis)]
    await both[0].admit("alice", HERE)
    await both[0].succeeded("alice", HERE)
    for n in range(40):
        await fail(replica(redis), "alice", f"198.51.100.{n}")
    assert await attempt(both[1], "alice", HERE) == 0.0
    assert 0 < await attempt(both[1], "alice", "203.0.113.9") <= AuthSettings().login_account_max_delay_s


async def test_of_attempts_at_once_through_two_replicas_one_is_let_through_when_slowed(redis: RedisClient):
    both = [replica(redis), replica(redis)]
    await fail_in_turn(both, 8, "alice")
    fresh = [replica(redis), replica(redis)]
    outcomes: list[float] = []

    async def one_is_through() -> bool:
        outcomes[:] = await asyncio.gather(*(attempt(fresh[n % 2]) for n in range(20)))
        return 0.0 in outcomes

    await until(one_is_through, 30)
    assert outcomes.count(0.0) == 1


async def test_a_refusal_by_all_leaves_no_claim_at_the_one_that_asked(redis: RedisClient):
    slowed, asked = replica(redis), replica(redis)
    await fail_in_turn([slowed], 5)
    assert await attempt(asked) > 0
    assert asked._own._pairs.wait_s("alice|192.0.2.1", asked._own._clock.monotonic()) == 0.0


async def test_after_redis_was_emptied_each_replica_still_has_what_it_saw(
    redis: RedisClient, redis_server: RedisServer
):
    one, other = replica(redis), replica(redis)
    await fail_in_turn([one], 5)
    await fail_in_turn([other], 0)
    redis_server.empty()
    assert await attempt(one) > 0
    # The other has seen none: it has free failures of its own, and no more.
    assert await fail_in_turn([other], 5) == [0.0] * 5
    assert await attempt(other) > 0


async def test_without_redis_and_while_it_hangs_a_replica_counts_alone(redis_server: RedisServer):
    async with connected(redis_server.url, timeout_s=0.3) as redis:
        redis_server.suspend()
        for throttle in (replica(redis), replica(NoRedis())):
            assert await fail_in_turn([throttle], 5) == [0.0] * 5
            assert await attempt(throttle) > 0
        redis_server.resume()


@pytest.mark.parametrize("name", ["*", "a:b}{login}", "x\r\nFLUSHALL\r\n", "\0", "ü" * 5000, "\ud800", "KEYS[1]"])
async def test_keys_are_bounded_whatever_the_name_and_all_end(redis: RedisClient, redis_server: RedisServer, name: str):
    throttle = replica(redis)
    await fail_in_turn([throttle], 3, name)
    await throttle.admit(name, "no address: \r\n*" * 100)
    await throttle.succeeded(name, "no address: \r\n*" * 100)
    with redis_server.client() as client:
        keys = list(client.scan_iter())
        assert len(keys) == 4
        for key in keys:
            assert key.startswith(b"redfire:test:{login}:") and len(key) < 120
            assert 0 < client.pttl(key) <= 31 * 86_400_000


async def test_what_another_program_put_under_a_key_stops_no_login(redis: RedisClient, redis_server: RedisServer):
    throttle = replica(redis)
    await fail(throttle)
    with redis_server.client() as client:
        for key in client.scan_iter():
            client.set(key, "nonsense")
    assert await fail_in_turn([throttle], 4) == [0.0] * 4
    assert await attempt(throttle) > 0
