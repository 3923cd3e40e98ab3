"""A cache in two processes and a real Redis: what a write leaves behind, and what it costs while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.kernel.clock import ManualClock
from services.kernel.errors import NotFound
from services.kernel.redis.client import RedisClient
from services.kernel.redis.read_cache import CacheRule, ReadCache, operations
from services.kernel.redis.shared import NoMessages, NoRedis
from services.kernel.redis.subscriptions import Subscriptions
from services.kernel.tasks import Tasks
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer
from tests.waiting import until

RULE = CacheRule(
    "test",
    encode=lambda text: StringValue(value=text).SerializeToString(),
    decode=lambda data: StringValue.FromString(data).value,
    max_size=100,
)


class Rows:
    """A database: values by key, and how often they were read."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.reads = 0
        self.open = asyncio.Event()
        self.open.set()

    async def read(self, key: str) -> str:
        self.reads += 1
        value = self.values.get(key)
        await self.open.wait()
        if value is None:
            raise NotFound("row", key)
        return value


class Process:
    """One process's cache of the rows."""

    def __init__(self, redis: RedisClient, rows: Rows) -> None:
        self.redis, self.rows, self.clock = redis, rows, ManualClock()
        self.messages = Subscriptions(redis)
        self.tasks = Tasks()
        self.cache = ReadCache(RULE, redis, self.messages, self.tasks, self.clock)

    async def get(self, key: str = "a") -> str:
        return await self.cache.get(key, lambda: self.rows.read(key))

    async def write(self, value: str, key: str = "a") -> None:
        async with self.cache.changing(key):
            self.rows.values[key] = value


@asynccontextmanager
async def process(url: str, rows: Rows, timeout_s: float = 2.0) -> AsyncIterator[Process]:
    async with connected(url, timeout_s=timeout_s) as redis:
        made = Process(redis, rows)
        made.tasks.supervise("messages", made.messages.run)
        made.tasks.supervise("cache", made.cache.run)
        await until(lambda: made.messages.connected, 20)
        try:
            yield made
        finally:
            await made.tasks.stop()


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
async def two(redis_server: RedisServer, rows: Rows) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(process(redis_server.url, rows)) for _ in range(2)]


def counted(level: str, outcome: str) -> float:
    return operations.labels("test", level, outcome)._value.get()


async def test_a_value_is_read_once_for_all_processes(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    before = counted("redis", "hit"), counted("process", "hit")
    assert [await one.get() for one in (*two, *two)] == ["1"] * 4
    assert rows.reads == 1
    assert (counted("redis", "hit"), counted("process", "hit")) == (before[0] + 1, before[1] + 2)


async def test_many_who_ask_at_once_share_one_read(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    assert await asyncio.gather(*(two[0].get() for _ in range(50))) == ["1"] * 50
    assert rows.reads == 1


async def test_a_caller_that_is_cancelled_takes_nobody_elses_answer_away(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    rows.open.clear()
    first, second = asyncio.create_task(two[0].get()), asyncio.create_task(two[0].get())
    await until(lambda: rows.reads == 1)
    first.cancel()
    rows.open.set()
    assert await second == "1"


async def test_what_is_not_there_is_not_kept(two: list[Process], rows: Rows):
    with pytest.raises(NotFound):
        await two[0].get()
    rows.values["a"] = "1"
    assert await two[0].get() == "1"


async def test_a_write_is_seen_here_at_once_and_by_the_other_process_a_message_later(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    assert [await one.get() for one in two] == ["1", "1"]
    await two[0].write("2")
    assert await two[0].get() == "2"

    async def other_sees_it() -> bool:
        return await two[1].get() == "2"

    await until(other_sees_it, 20)


async def test_a_read_that_began_before_a_write_is_kept_nowhere(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    rows.open.clear()
    old = asyncio.create_task(two[0].get())
    await until(lambda: rows.reads == 1)
    await two[1].write("2")
    rows.open.set()
    assert await old in ("1", "2")
    # Neither in Redis nor in the process that read it.
    assert await two[1].get() == "2"

    async def reader_sees_it() -> bool:
        return await two[0].get() == "2"

    await until(reader_sees_it, 20)
    assert await two[1].get() == "2"


async def test_who_asks_after_a_write_does_not_join_a_read_from_before(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    rows.open.clear()
    old = asyncio.create_task(two[0].get())
    await until(lambda: rows.reads == 1)
    await two[0].write("2")
    new = asyncio.create_task(two[0].get())
    await until(lambda: rows.reads == 2)
    rows.open.set()
    assert await new == "2"
    await old


async def test_a_prefix_is_forgotten_everywhere_and_nothing_else(two: list[Process], rows: Rows, redis_server):
    keys = [f"prod/*[x]?\\/{n}" for n in range(30)] + [f"prod2/{n}" for n in range(5)]
    rows.values.update(dict.fromkeys(keys, "1"))
    for key in keys:
        await two[0].get(key)
    rows.values.update(dict.fromkeys(keys, "2"))
    await two[1].cache.invalidate_prefix("prod/*[x]?\\/")
    with redis_server.client() as client:
        assert len(list(client.scan_iter("redfire:test:cache:*"))) == 5

    async def all_new() -> bool:
        return [await two[0].get(key) for key in keys[:30]] == ["2"] * 30

    await until(all_new, 20)


async def test_a_lost_message_leaves_a_copy_for_its_short_life(two: list[Process], rows: Rows):
    rows.values["a"] = "1"
    assert await two[1].get() == "1"
    # The message of this write goes astray.
    two[1].messages._listeners.clear()
    await two[0].write("2")
    assert await two[1].get() == "1"
    two[1].clock.advance(RULE.own_ttl_s)
    assert await two[1].get() == "2"


async def test_emptied_redis_costs_a_read_and_no_more(two: list[Process], rows: Rows, redis_server: RedisServer):
    rows.values["a"] = "1"
    await two[0].get()
    redis_server.empty()
    assert await two[1].get() == "1"
    assert rows.reads == 2


async def test_while_redis_hangs_reads_go_to_the_database_and_writes_are_made_up_for(
    redis_server: RedisServer, rows: Rows
):
    rows.values["a"] = "1"
    async with (
        process(redis_server.url, rows, timeout_s=0.3) as one,
        process(redis_server.url, rows, timeout_s=0.3) as other,
    ):
        assert [await one.get(), await other.get()] == ["1", "1"]
        redis_server.suspend()
        failed = counted("redis", "failed")
        await one.write("2")
        assert counted("redis", "failed") > failed
        assert await one.get() == "2"
        redis_server.resume()

        async def both_see_it() -> bool:
            other.clock.advance(RULE.own_ttl_s)
            return not one.cache._unsent and [await one.get(), await other.get()] == ["2", "2"]

        # Redis had the old copy, and kept it: it goes when the write's invalidation is made up for.
        await until(both_see_it, 20)


async def test_without_redis_every_read_is_the_databases(rows: Rows):
    cache = ReadCache(RULE, NoRedis(), NoMessages(), Tasks(), ManualClock())
    rows.values["a"] = "1"
    for _ in range(3):
        assert await cache.get("a", lambda: rows.read("a")) == "1"
    assert rows.reads == 3
    await cache.invalidate("a")
    assert not cache._unsent


async def test_what_cannot_be_read_is_read_from_the_database(two: list[Process], rows: Rows, redis_server: RedisServer):
    rows.values["a"] = "1"
    for kept in (b"\x01\xff\xff\xff", b"nonsense", b"\x00mark of somebody"):
        with redis_server.client() as client:
            client.set("redfire:test:cache:test:v1:a", kept)
        assert await two[0].get() == "1"
        two[0].clock.advance(RULE.own_ttl_s)
    assert rows.reads == 3


async def test_keys_are_bounded_quoted_and_end(two: list[Process], rows: Rows, redis_server: RedisServer):
    names = ["x\r\nFLUSHALL\r\n", "*", "a b", "ü" * 60, "k" * 10_000]
    rows.values.update(dict.fromkeys(names, "1"))
    for name in names:
        await two[0].get(name)
    with redis_server.client() as client:
        keys = list(client.scan_iter())
        assert len(keys) == 4  # one is too long to be kept
        for key in keys:
            assert key.startswith(b"redfire:test:cache:test:v1:") and b"*" not in key and b"\n" not in key
            assert 0 < client.pttl(key) <= RULE.shared_ttl_s * 1000


async def test_memory_is_bounded(two: list[Process], rows: Rows):
    rows.values.update({str(n): "1" for n in range(300)})
    for n in range(300):
        await two[0].get(str(n))
    assert len(two[0].cache._own) <= RULE.max_size
    assert not two[0].cache._loading
