"""Quotas of what is held for a while, such as open streams, by all replicas together.

Each holding is a lease in Redis, which its process renews; those of a process that died end by themselves. Without
Redis the caller's own count is all there is; holdings come to Redis with the next renewal when it answers again, or
after it was emptied.
"""

import asyncio
from collections.abc import Sequence

from services.kernel.redis.shared import Redis, RedisUnavailable, Script, key_part
from services.kernel.tasks import Tasks

LEASE_S, RENEW_S = 30.0, 8.0
RENEWED_AT_ONCE = 500
_NOW = "local clock = redis.call('TIME') local now = clock[1] * 1000 + math.floor(clock[2] / 1000)"
_TAKE = Script(f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")
_RENEW = Script(f"""{_NOW}
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
""")


class SharedQuota:
    """A quota by owner, for all replicas together."""

    def __init__(self, name: str, redis: Redis, tasks: Tasks) -> None:
        self._name = name
        self._redis = redis
        self._tasks = tasks
        self._held: dict[str, str] = {}

    async def take(self, owner: str, holding_id: str, limit: int) -> bool:
        """Hold one more, until it is released; False when the owner has `limit` already, at all replicas together."""
        taken = not self._redis.available or await self._lease(owner, holding_id, limit)
        if taken:
            self._held[holding_id] = owner
        return taken

    def release(self, holding_id: str) -> None:
        """Hold it no longer; in Redis soon."""
        owner = self._held.pop(holding_id, None)
        if owner is not None and self._redis.available:
            self._tasks.spawn(f"quota.{self._name}", self._release(owner, holding_id))

    async def run(self) -> None:
        """Renew what is held here, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.renew()

    async def renew(self) -> None:
        """Renew what is held here, if Redis answers."""
        held = list(self._held.items())
        for first in range(0, len(held), RENEWED_AT_ONCE):
            some = held[first : first + RENEWED_AT_ONCE]
            keys: Sequence[str] = [self._key(owner) for _, owner in some]
            try:
                await self._redis.run_script(_RENEW, keys, [int(LEASE_S * 1000), *(held_id for held_id, _ in some)])
            except RedisUnavailable:
                return

    async def _lease(self, owner: str, holding_id: str, limit: int) -> bool:
        arguments = [holding_id, limit, int(LEASE_S * 1000)]
        try:
            return bool(await self._redis.run_script(_TAKE, [self._key(owner)], arguments))
        except RedisUnavailable:
            return True

    async def _release(self, owner: str, holding_id: str) -> None:
        try:
            await self._redis.command("ZREM", self._key(owner), holding_id)
        except RedisUnavailable:
            return  # it ends by itself

    def _key(self, owner: str) -> str:
        # One slot of a cluster: those of several owners are renewed at once.
        return f"{self._redis.prefix}{{quota:{self._name}}}:{key_part(owner)}"
