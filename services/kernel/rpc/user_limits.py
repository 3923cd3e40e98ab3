"""Limits of users whose calls came by the edge: calls a minute and open streams, by whatever sessions and keys; and of
addresses that ask for passwords and tokens at a service's own port, where no edge has counted them.

The edge knows no keys' users, so twelve keys would be twelve quotas; here they are one. With Redis all replicas count
together: each adds what it counted to the minute's sums every second, and takes from its own what others counted. So
for a second each may let pass what is left. Open streams are leases there, of all replicas of all services together.
Without Redis each counts what it sees itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from redfire.options.v1 import options_pb2
from redfire.reasons import Reason

from services.kernel.client_network import network_of
from services.kernel.errors import ResourceExhausted
from services.kernel.identifiers import new_id
from services.kernel.policy import MethodPolicy
from services.kernel.redis.shared import Redis, RedisUnavailable, Script, key_part
from services.kernel.redis.shared_quota import SharedQuota
from services.kernel.rpc.call import Call

MOST_USERS = 50_000
SYNC_S = 1.0
SYNCED_AT_ONCE = 200
TOTAL = "total"
CLASSES: Mapping[int, str] = {options_pb2.RATE_LIMIT_DEFAULT: "default", options_pb2.RATE_LIMIT_TRADING: "trading"}
# Market limits these itself, by role, and for all replicas together.
OWN_LIMIT = frozenset(f"/redfire.market.v1.MarketService/{name}" for name in ("StreamTicks", "StreamBars"))

# KEYS: the minute's sums. ARGV: seconds that they are kept, then what is added to each. Answers the sums.
_ADD = Script("""
local sums = {}
for i, key in ipairs(KEYS) do
  sums[i] = redis.call('INCRBY', key, ARGV[i + 1])
  redis.call('EXPIRE', key, ARGV[1])
end
return sums
""")


class Limits(Protocol):
    """The numbers, as the settings of the process have them."""

    @property
    def calls(self) -> bool:
        """True where calls are limited."""

    @property
    def calls_per_minute(self) -> int:
        """A user's calls but those of trading."""

    @property
    def trading_calls_per_minute(self) -> int:
        """A user's calls of trading."""

    @property
    def all_calls_per_minute(self) -> int:
        """A user's calls in all."""

    @property
    def auth_calls_per_minute(self) -> int:
        """An address's calls about passwords and tokens."""

    @property
    def streams(self) -> int:
        """Streams of a user whose role is not below."""

    @property
    def streams_by_role(self) -> Mapping[str, int]:
        """Streams of a user by role."""

    @property
    def anonymous_streams(self) -> int:
        """Streams of an address without a user."""


class TooManyCalls(ResourceExhausted):
    """More calls of a user than a minute has room for; retry_delay says when to come back."""

    reason = Reason.RATE_LIMITED


class TooManyAttempts(ResourceExhausted):
    """More logins, registrations and the like of an address than a minute has room for; see retry_delay."""

    reason = Reason.RATE_LIMITED


class TooManyStreams(ResourceExhausted):
    """A user, or an address without a user, has as many streams open as it may."""

    reason = Reason.OVERLOADED


class _Bucket:
    """Calls that are left; it fills within a minute."""

    __slots__ = ("filled_at", "left", "others", "since_sync", "window", "window_own")

    def __init__(self, size: float, now: float) -> None:
        self.left = size
        self.filled_at = now
        self.since_sync = 0
        self.window = 0
        self.window_own = 0
        self.others = 0

    def fill(self, size: float, now: float) -> None:
        self.left = min(size, self.left + (now - self.filled_at) * size / 60)
        self.filled_at = now


class CallBudget:
    """Calls of each user that came by the edge."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """By `wall`, seconds since 1970, replicas agree on the minute."""
        self._clock = clock
        self._wall = wall
        self._sizes: Mapping[str, float] = {
            "default": limits.calls_per_minute,
            "trading": limits.trading_calls_per_minute,
            TOTAL: limits.all_calls_per_minute,
        }
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, user_id: str, rate_class: str) -> None:
        """Count a call. Raises TooManyCalls."""
        now = self._clock()
        buckets = [self._bucket(user_id, name, now) for name in (rate_class, TOTAL)]
        sizes = (self._sizes[rate_class], self._sizes[TOTAL])
        for bucket, size in zip(buckets, sizes, strict=True):
            bucket.fill(size, now)
            if bucket.left < 1:
                raise TooManyCalls(retry_after_s=round((1 - bucket.left) * 60 / size, 3))
        for bucket in buckets:
            bucket.left -= 1
            bucket.since_sync += 1

    def _bucket(self, user_id: str, name: str, now: float) -> _Bucket:
        key = (user_id, name)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MOST_USERS:
                # The one that was made first: it has filled again, or its user goes on with a new one.
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = _Bucket(self._sizes[name], now)
        return bucket

    async def run(self, redis: Redis) -> None:
        """Count together with the other replicas, until cancelled."""
        while True:
            await asyncio.sleep(SYNC_S)
            await self.sync(redis)

    async def sync(self, redis: Redis) -> None:
        """Add what was counted here since the last time, and take off what others counted, if Redis answers."""
        counted = [(key, bucket) for key, bucket in self._buckets.items() if bucket.since_sync]
        window = int(self._wall() // 60)
        for first in range(0, len(counted), SYNCED_AT_ONCE):
            some = counted[first : first + SYNCED_AT_ONCE]
            added = [bucket.since_sync for _, bucket in some]
            keys = [f"{redis.prefix}{{calls}}:{name}:{key_part(user)}:{window}" for (user, name), _ in some]
            try:
                sums: Sequence[int] = await redis.run_script(_ADD, keys, [120, *added])
            except RedisUnavailable:
                return
            for (_, bucket), own, total in zip(some, added, sums, strict=True):
                _take_off(bucket, window, own, int(total))


def _take_off(bucket: _Bucket, window: int, added: int, total: int) -> None:
    """Take off what other replicas added since this one looked."""
    if bucket.window != window:
        bucket.window, bucket.window_own, bucket.others = window, 0, 0
    bucket.since_sync -= added
    bucket.window_own += added
    others = max(0, total - bucket.window_own)
    bucket.left -= max(0, others - bucket.others)
    bucket.others = others


class AddressBudget:
    """Calls about passwords and tokens of each address, of IPv6 each /64, that came not by the edge."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, client_address: str) -> None:
        """Count a call. Raises TooManyAttempts."""
        network, now, size = network_of(client_address), self._clock(), self._limits.auth_calls_per_minute
        bucket = self._buckets.get(network)
        if bucket is None:
            if len(self._buckets) >= MOST_USERS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[network] = _Bucket(size, now)
        bucket.fill(size, now)
        if bucket.left < 1:
            raise TooManyAttempts(retry_after_s=round((1 - bucket.left) * 60 / size, 3))
        bucket.left -= 1


class StreamCounts:
    """Open streams of each user by role, and of each address without a user."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()
        self._quota: SharedQuota | None = None

    def share(self, quota: SharedQuota) -> None:
        """Count together with all other processes from now on."""
        self._quota = quota

    async def open(self, policy: MethodPolicy, call: Call) -> Callable[[], None]:
        """Count a stream that begins; answers what is to be called at its end. Raises TooManyStreams."""
        identity, limits = call.identity, self._limits
        if identity.kind == "anonymous":
            key, most = f"address {network_of(call.client_address)}", limits.anonymous_streams
        elif policy.full_name not in OWN_LIMIT:
            key, most = identity.user_id, limits.streams_by_role.get(identity.role, limits.streams)
        else:
            return _nothing
        if self._open[key] >= most:
            raise TooManyStreams(retry_after_s=1.0, limit=most)
        self._open[key] += 1
        if self._quota is None:
            return partial(self._close, key)
        holding_id, taken = new_id(), False
        try:
            taken = await self._quota.take(key, holding_id, most)
        finally:
            if not taken:
                self._close(key)
        if not taken:
            raise TooManyStreams(retry_after_s=1.0, limit=most)
        return partial(self._close, key, holding_id)

    def _close(self, key: str, holding_id: str = "") -> None:
        if self._quota is not None and holding_id:
            self._quota.release(holding_id)
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]


class UserLimits:
    """All limits of users in this process. What does not come by the edge has those of addresses alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.calls = CallBudget(limits)
        self._addresses = AddressBudget(limits)
        self._streams = StreamCounts(limits)

    def admit_address(self, call: Call) -> None:
        """Count a call about a password or token, unless the edge has, or a service calls. Raises TooManyAttempts."""
        if self._limits.calls and not call.is_from_edge and call.identity.kind != "service":
            self._addresses.take(call.client_address)

    def admit(self, policy: MethodPolicy, call: Call) -> None:
        """Count an admitted call. Raises TooManyCalls."""
        if call.is_from_edge and self._limits.calls and call.identity.kind == "user":
            rate_class = CLASSES.get(policy.rate_limit)
            if rate_class is not None:
                self.calls.take(call.identity.user_id, rate_class)

    async def open_stream(self, policy: MethodPolicy, call: Call) -> Callable[[], None]:
        """Count an admitted stream; answers what is to be called at its end. Raises TooManyCalls, TooManyStreams."""
        if not call.is_from_edge:
            return _nothing
        self.admit(policy, call)
        return await self._streams.open(policy, call)

    def share_streams(self, quota: SharedQuota) -> None:
        """Count open streams together with all other processes."""
        self._streams.share(quota)


def _nothing() -> None:
    return None
