"""A cache of what a database has, for what is read far more often than written: in this process, then in Redis.

Used only while this process hears of invalidations: with no Redis, or one that is away, every read is the database's.
What a write invalidated is gone here when the write returns, and at the other replicas a message later; a copy that a
lost message leaves lives `own_ttl_s`. A read that was under way during a write is kept nowhere: who misses in Redis
leaves a mark of its own under the key, a write removes it, and only who finds its mark again puts the value there.
What a write could not invalidate for lack of Redis is invalidated when it answers again; a process that died before
leaves a copy for `shared_ttl_s` at most.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from prometheus_client import Counter

from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.identifiers import new_id
from services.kernel.redis.shared import Messages, Redis, RedisUnavailable, Script
from services.kernel.tasks import Tasks

log = logging.getLogger(__name__)
V = TypeVar("V")
# Of keys: another where the same bytes would mean something else.
FORMAT = "v1"
MARK, VALUE = b"\x00", b"\x01"
MARK_S = 10.0
MAX_KEY, MAX_UNSENT = 200, 10_000
SCAN_COUNT = 500
RETRY_S = 0.2
operations = Counter(
    "cache_operations_total",
    "Reads and invalidations of caches, by level (process, redis, database) and outcome (hit, miss, failed, skipped).",
    ["cache", "level", "outcome"],
)
_READ = Script("""
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
""")
_STORE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
""")
_INVALIDATE = Script("""
redis.call('UNLINK', unpack(KEYS))
for i = 2, #ARGV do redis.call('PUBLISH', ARGV[1], ARGV[i]) end
return 1
""")


@dataclass(frozen=True, slots=True)
class CacheRule(Generic[V]):
    """A cache's name, the way of its values to bytes (protobuf) and back, and its bounds."""

    name: str
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    max_size: int = 10_000
    own_ttl_s: float = 2.0
    shared_ttl_s: float = 30.0


class ReadCache(Generic[V]):
    """Values by key, read through."""

    def __init__(self, rule: CacheRule[V], redis: Redis, messages: Messages, tasks: Tasks, clock: Clock) -> None:
        self._rule = rule
        self._redis = redis
        self._messages = messages
        self._tasks = tasks
        self._own: TtlCache[str, V] = TtlCache(rule.max_size, rule.own_ttl_s, clock)
        self._loading: dict[str, asyncio.Task[V]] = {}
        # Counts invalidations: what was read before the last one may be old.
        self._invalidated = 0
        self._unsent: set[str] = set()
        self._has_unsent = asyncio.Event()
        self._channel = f"cache:{rule.name}:{FORMAT}"
        self._listeners: list[Callable[[], None]] = []
        messages.subscribe(self._channel, self._heard)
        messages.on_connected(self._forget_all)

    def on_invalidated(self, listener: Callable[[], None]) -> None:
        """Call `listener` when another replica, or this one, invalidates something."""
        self._listeners.append(listener)

    async def get(self, key: str, load: Callable[[], Awaitable[V]]) -> V:
        """The value; `load` reads it from the database. Who asks for a key at the same time waits for one read."""
        if not self._messages.connected or self._unsent or len(key) > MAX_KEY:
            self._count("database", "skipped")
            return await load()
        value = self._own.get(key)
        if value is not None:
            self._count("process", "hit")
            return value
        self._count("process", "miss")
        loading = self._loading.get(key)
        if loading is None:
            # A task of its own: a caller that is cancelled takes nobody else's answer away.
            loading = self._tasks.spawn(f"cache.{self._rule.name}", self._read(key, load), awaited=True)
            self._loading[key] = loading
            loading.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(loading)

    @asynccontextmanager
    async def changing(self, key: str) -> AsyncIterator[None]:
        """Invalidate a key after the block that writes its value, whatever becomes of that."""
        try:
            yield
        finally:
            await self.invalidate(key)

    @asynccontextmanager
    async def changing_all(self, prefix: str) -> AsyncIterator[None]:
        """The same for all keys that begin so."""
        try:
            yield
        finally:
            await self.invalidate_prefix(prefix)

    async def invalidate(self, *keys: str) -> None:
        """Forget keys, here now and everywhere else soon; after the commit of what changed."""
        for key in keys:
            self._forget("=" + key)
        await self._send([f"={key}" for key in keys])

    async def invalidate_prefix(self, prefix: str) -> None:
        """Forget all keys that begin so: a write of many."""
        self._forget("*" + prefix)
        await self._send([f"*{prefix}"])

    async def run(self) -> None:
        """Send the invalidations that could not be sent, as soon as Redis answers, until cancelled."""
        while True:
            await self._has_unsent.wait()
            await asyncio.sleep(RETRY_S)
            if not self._redis.available:
                continue
            unsent = list(self._unsent)
            try:
                await self._invalidate_shared(unsent)
            except RedisUnavailable:
                continue
            self._unsent.difference_update(unsent)
            if not self._unsent:
                self._has_unsent.clear()

    # Reading -----------------------------------------------------------------------------------------------------

    async def _read(self, key: str, load: Callable[[], Awaitable[V]]) -> V:
        before = self._invalidated
        mark = MARK + new_id().encode()
        is_marked = False
        try:
            kept = await self._redis.run_script(_READ, [self._key(key)], [mark, int(MARK_S * 1000)])
        except RedisUnavailable:
            self._count("redis", "failed")
        else:
            value = self._decoded(kept)
            if value is not None:
                self._count("redis", "hit")
                self._keep(key, value, before)
                return value
            self._count("redis", "miss")
            is_marked = kept is None
        value = await load()
        self._keep(key, value, before)
        if is_marked:
            arguments = [mark, VALUE + self._rule.encode(value), int(self._rule.shared_ttl_s * 1000)]
            try:
                await self._redis.run_script(_STORE, [self._key(key)], arguments)
            except RedisUnavailable:
                self._count("redis", "failed")
        return value

    def _decoded(self, kept: bytes | None) -> V | None:
        if kept is None or kept[:1] != VALUE:
            return None
        try:
            return self._rule.decode(kept[1:])
        except Exception as error:  # whatever somebody put there
            log.warning("cache %s: a value cannot be read: %s", self._rule.name, type(error).__name__)
            return None

    def _keep(self, key: str, value: V, before: int) -> None:
        if before == self._invalidated and self._messages.connected:
            self._own.put(key, value)

    def _loaded(self, key: str, done: asyncio.Task[V]) -> None:
        if self._loading.get(key) is done:
            del self._loading[key]

    # Invalidating ------------------------------------------------------------------------------------------------

    def _heard(self, message: bytes) -> None:
        self._forget(message.decode())

    def _forget(self, what: str) -> None:
        """Forget `=key` or `*prefix`; who asks from now on does not join a read that began before."""
        self._invalidated += 1
        if what.startswith("="):
            self._own.pop(what[1:])
            self._loading.pop(what[1:], None)
        else:
            # Of one key and another a prefix says no more than their first characters: all are few.
            self._own.clear()
            self._loading.clear()
        for listener in self._listeners:
            listener()

    def _forget_all(self) -> None:
        self._forget("*")

    async def _send(self, invalidations: list[str]) -> None:
        try:
            await self._invalidate_shared(invalidations)
            self._count("redis", "invalidated")
        except RedisUnavailable:
            if self._redis.prefix:
                self._count("redis", "failed")
                self._unsent.update(invalidations if len(self._unsent) < MAX_UNSENT else ["*"])
                self._has_unsent.set()

    async def _invalidate_shared(self, invalidations: list[str]) -> None:
        keys = [self._key(what[1:]) for what in invalidations if what.startswith("=")]
        prefixes = [what for what in invalidations if what.startswith("*")]
        channel = self._redis.prefix + self._channel
        for first in range(0, len(keys), SCAN_COUNT):
            some = keys[first : first + SCAN_COUNT]
            said = [what for what in invalidations if what.startswith("=")][first : first + SCAN_COUNT]
            await self._redis.run_script(_INVALIDATE, some, [channel, *said])
        for what in prefixes:
            await self._unlink_all(what[1:])
            await self._redis.command("PUBLISH", channel, what)

    async def _unlink_all(self, prefix: str) -> None:
        """By SCAN, which blocks nobody as KEYS does; a key that comes meanwhile was read after the commit."""
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", self._key(prefix)) + "*"
        cursor: Any = 0
        while True:
            cursor, keys = await self._redis.command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            if keys:
                await self._redis.command("UNLINK", *keys)
            if int(cursor) == 0:
                return

    def _key(self, key: str) -> str:
        return f"{self._redis.prefix}{self._channel}:{quote(key, safe='/', errors='surrogatepass')}"

    def _count(self, level: str, outcome: str) -> None:
        operations.labels(self._rule.name, level, outcome).inc()
