"""Counts of what happened lately, by key: this process's own, and those of all replicas together in Redis.

The larger one counts. So without Redis each process counts what it sees itself, and after Redis was emptied nothing
is forgotten by the process that saw it.
"""

from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.redis.shared import Redis, RedisUnavailable, Script, key_part

_ADD = Script("""
local count = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return count
""")


class SharedCounts:
    """Counts that are forgotten `window_s` after the last time; of at most `max_keys` keys in this process."""

    def __init__(self, name: str, window_s: float, redis: Redis, clock: Clock, max_keys: int = 10_000) -> None:
        self._name = name
        self._window_s = window_s
        self._redis = redis
        self._own: TtlCache[str, int] = TtlCache(max_keys, window_s, clock)

    async def get(self, key: str) -> int:
        """The count of a key within the window."""
        own = self._own.get(key) or 0
        try:
            return max(own, int(await self._redis.command("GET", self._key(key)) or 0))
        except (RedisUnavailable, ValueError):
            return own

    async def add(self, key: str) -> None:
        """Count a key once more."""
        self._own.put(key, (self._own.get(key) or 0) + 1)
        try:
            await self._redis.run_script(_ADD, [self._key(key)], [int(self._window_s * 1000)])
        except RedisUnavailable:
            return

    async def forget(self, key: str) -> None:
        """Begin anew with none; what another replica counted itself stays until it expires."""
        self._own.pop(key)
        try:
            await self._redis.command("UNLINK", self._key(key))
        except RedisUnavailable:
            return

    def _key(self, key: str) -> str:
        return f"{self._redis.prefix}count:{self._name}:{key_part(key)}"
