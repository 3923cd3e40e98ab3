"""Ownership of shards by leases in the service's own database: each replica has its fair share of them.

When a replica comes, the others hand shards over to it, each one shard at a time; one that goes gives its shards up
some at a time, the next when these are served, and of one that died the others take what nobody renews. A shard is
served once its users are loaded.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from services.kernel.identifiers import new_id
from services.kernel.shards.lease_table import LOST, Lease, LeaseTable, fair_share
from services.kernel.shards.ownership import ALL_SHARDS, SHARDS, Ownership
from services.kernel.shards.renewal import LeaseHolder, now
from services.kernel.tasks import Tasks

log = logging.getLogger(__name__)
DRAIN_S = 0.15
"""Time that calls which are being served may take to end before their shard is handed over."""
HAND_OVER_S = 1.0
"""Time after which the next shard is handed over, though nobody said that the last one is served."""
AT_ONCE = SHARDS // 8
"""Shards that one who leaves gives up at a time: users wait for the loading of so many, and not of all."""
LEAVE_S = 2.5
"""Time after which it gives up at once what it still has."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""After shards could not be loaded, longer each time."""
SERVED = "served"


class LeasedOwnership(Ownership):
    """Shards of a service whose replicas share them by the tables `shard_leases` and `named_leases`."""

    is_shared = True

    def __init__(self, connect: Callable[[], Awaitable[Any]], address: Callable[[], str], tasks: Tasks) -> None:
        """`connect` opens a connection of asyncpg's to the service's database; `address` is where others reach it."""
        super().__init__(address)
        self._tasks = tasks
        self._holder = _ShardHolder(self, connect, address)
        self._serving: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._calls: Counter[int] = Counter()
        self._pause_s = FIRST_PAUSE_S
        self._running: list[asyncio.Task[None]] = []

    def owns(self, shard: int) -> int | None:
        """The epoch, unless the lease may have ended."""
        epoch = self._serving.get(shard)
        return epoch if epoch is not None and self._holder.is_sure else None

    @property
    def sure_until(self) -> float:
        """As far as the last renewal reaches."""
        return self._holder.sure_until

    def owned(self) -> Mapping[int, int]:
        """Epochs of what is loaded and certainly held."""
        return self._serving if self._holder.is_sure else {}

    def owner(self, shard: int) -> str | None:
        """The address that the lease names; also while the shard is still loaded there."""
        if shard in self._holder.held:
            return self.address()
        return self._holder.addresses.get(shard)

    def begin_call(self, shard: int) -> bool:
        """Note a call to serve; False also for a shard that is being handed over."""
        if shard in self._leaving or self.owns(shard) is None:
            return False
        self._calls[shard] += 1
        return True

    def end_call(self, shard: int) -> None:
        """Note the end of one."""
        self._calls[shard] -= 1

    async def changed(self, seconds: float) -> None:
        """Wait until something about the shards changes or is learned."""
        await self._holder.changed(seconds)

    def look(self) -> None:
        """Find out anew who owns what: what is known has turned out to be old."""
        self._holder.look()

    async def start(self) -> None:
        """Take what is free of this process's share, and keep it from now on."""
        self._running = [
            self._tasks.supervise("shards.leases", self._holder.run),
            self._tasks.supervise("shards.loading", self._load),
        ]
        while not self._holder.has_decided or self._holder.held.keys() - self._serving.keys():
            await self.changed(1.0)

    def wait_out_leases(self) -> None:
        """Take what a process that has ended had when its leases end."""
        self._holder.takes_from_ended = False

    async def release(self) -> None:
        """Let others take over some shards at a time, then give everything up, once running calls have ended."""
        self._holder.is_leaving = True
        if self._holder.takes_from_ended:
            try:
                await self._release_parts()
            except LOST as error:
                log.warning("shards cannot be given up one after the other: %s: %s", type(error).__name__, error)
        self._leaving.update(ALL_SHARDS)
        await self._run_leaving(ALL_SHARDS)
        await self._drained(ALL_SHARDS)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        held = list(self._holder.held)
        self._holder.lose(held)
        try:
            await self._holder.table.leave(held)
        except LOST as error:
            log.warning("shards are not given up but end by themselves: %s: %s", type(error).__name__, error)
        self._holder.table.discard()

    async def _release_parts(self) -> None:
        """Give shards up, some at a time, as long as somebody is there to take them."""
        await self._run_leaving(list(self.owned()))
        end = now() + LEAVE_S
        await self._holder.leave()
        while (part := sorted(self.owned())[:AT_ONCE]) and self._holder.others and now() < end:
            self._leaving.update(part)
            await self._drained(part)
            self._holder.lose(part)
            await self._holder.give_up(part, min(HAND_OVER_S, end - now()))

    def begin_hand_over(self, shard: int, to: str, address: str) -> "asyncio.Task[None]":
        """Hand a shard over; leases are renewed meanwhile."""
        return self._tasks.spawn("shards.hand_over", self.hand_over(shard, to, address))

    async def hand_over(self, shard: int, to: str, address: str) -> None:
        """Stop serving a shard and give it to another member."""
        if (epoch := self._holder.held.get(shard)) is None:
            return
        self._leaving.add(shard)
        try:
            await self._run_leaving([shard])
            await self._drained([shard])
            if self._holder.held.get(shard) != epoch:
                return  # it is lost already
            self._holder.lose([shard])
            await self._holder.table.give(shard, epoch, to, address)
            self._holder.addresses[shard] = address
        except LOST as error:
            log.warning("shard %d is not handed over but ends by itself: %s", shard, error)
        finally:
            self._leaving.discard(shard)

    def lost(self, shards: Collection[int]) -> None:
        """Serve these no longer."""
        for shard in shards:
            self._serving.pop(shard, None)
        self._run_lost(shards)

    async def _drained(self, shards: Collection[int]) -> None:
        end = now() + DRAIN_S
        while any(self._calls[shard] for shard in shards) and now() < end:  # noqa: ASYNC110 calls are cheaper so
            await asyncio.sleep(0.005)

    async def _load(self) -> None:
        """Load what was taken and serve it then, one batch after the other."""
        while True:
            await self._holder.has_taken.wait()
            self._holder.has_taken.clear()
            held = self._holder.held
            taken = {shard: epoch for shard, epoch in held.items() if shard not in self._serving}
            if not taken:
                continue
            try:
                await self._run_acquired(taken)
            except Exception:
                log.exception("shards cannot be loaded; they are given up")
                await self._give_up([shard for shard, epoch in taken.items() if held.get(shard) == epoch])
                self._run_lost(taken)
                continue
            if gone := [shard for shard, epoch in taken.items() if held.get(shard) != epoch]:
                self._run_lost(gone)
            self._pause_s = FIRST_PAUSE_S
            self._serving.update({shard: taken[shard] for shard in taken.keys() - set(gone)})
            if held.keys() - self._serving.keys():
                self._holder.has_taken.set()
            await self._holder.announce_served()

    async def _give_up(self, shards: Collection[int]) -> None:
        """Leave them, and what else would be this process's share, to others for a while."""
        self._holder.not_before = now() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._holder.lose(shards)
        try:
            await self._holder.table.leave(shards)
        except LOST:
            self._holder.table.discard()


class _ShardHolder(LeaseHolder):
    """The leases of shards, and who has the others."""

    def __init__(
        self, ownership: LeasedOwnership, connect: Callable[[], Awaitable[Any]], address: Callable[[], str]
    ) -> None:
        holder = new_id()
        super().__init__(LeaseTable(connect, "shard_leases", holder, address), holder)
        self._ownership = ownership
        self.addresses: dict[int, str] = {}
        self.has_decided = self.is_leaving = False
        self.has_taken = asyncio.Event()
        self.others: frozenset[str] = frozenset()
        """The other holders that are there."""
        self._times_served = 0
        """Notifications that somebody serves what it took."""
        self._give_after = 0.0
        self._giving: asyncio.Task[None] | None = None

    async def announce_served(self) -> None:
        """Tell the others what is served here now."""
        self._announce()
        try:
            await self.table.notify(SERVED)
        except LOST:
            self.look()

    async def leave(self) -> None:
        """Be no member any more, so that this share is the others'; what is held is kept. Raises LOST."""
        self.not_before = math.inf
        await self.table.leave([])

    async def give_up(self, shards: Collection[int], seconds: float) -> None:
        """Give shards up that are lost here, and wait a while until others serve them. Raises LOST."""
        end, before = now() + seconds, self._times_served
        await self.table.drop(shards)
        self.look()
        while self.others and (left_s := end - now()) > 0:
            if self._times_served > before and self.addresses.keys() >= {*shards}:
                return
            await self.changed(left_s)

    def _announce(self) -> None:
        super()._announce()
        self._ownership.announce()

    def _notified(self, payload: str) -> None:
        if payload == SERVED:
            self._give_after = 0.0
            self._times_served += 1
        super()._notified(payload)

    def _lost(self, keys: Collection[int]) -> None:
        self._ownership.lost(keys)

    async def _decide(self, leases: list[Lease]) -> None:
        members = {lease.owner: lease.address for lease in leases if lease.key is None}
        members[self.holder] = ""
        self.others = frozenset(members.keys() - {self.holder})
        shards = {int(lease.key): lease for lease in leases if lease.key is not None}
        if missing := set(ALL_SHARDS).difference(shards):
            await self.table.add(missing)
            self.look()
            return
        others = {shard: one for shard, one in shards.items() if not one.is_free and one.owner != self.holder}
        self.addresses = {shard: one.address for shard, one in others.items()}
        share = fair_share(members, SHARDS)
        if not self.is_leaving and now() >= self.not_before:
            # Handed over to this process, or taken by it in a step whose answer was lost.
            own = [shard for shard, one in shards.items() if one.owner == self.holder and shard not in self.held]
            free = [shard for shard, one in shards.items() if one.is_free and one.owner != self.holder]
            more = max(0, share[self.holder] - len(self.held) - len(own))
            if wanted := own + free[:more]:
                if await self._take(wanted):
                    self.has_taken.set()
            elif len(self.held) > share[self.holder] and now() >= self._give_after:
                self._give(members, share, Counter(one.owner for one in others.values()))
        self.has_decided = True

    def _give(self, members: Mapping[str, str], share: Mapping[str, int], has: Mapping[str, int]) -> None:
        lacking = {name: share[name] - has.get(name, 0) for name in members if name != self.holder}
        to = max(lacking, key=lambda name: lacking[name])
        served = self._ownership.owned()
        if lacking[to] > 0 and served and (self._giving is None or self._giving.done()):
            self._give_after = now() + HAND_OVER_S
            self._giving = self._ownership.begin_hand_over(max(served), to, members[to])
