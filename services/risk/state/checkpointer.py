"""Brings limits, states and days out of the database at start, and keeps the days of all accounts."""

import asyncio
from collections.abc import Collection, Mapping

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.shards.ownership import shard_of
from services.kernel.tasks import wait_for_event
from services.risk.domain.account_key import AccountKey
from services.risk.domain.daily import DailyPnl
from services.risk.domain.day_counts import DayCounts, oldest_kept
from services.risk.domain.limits import AccountLimits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.domain.trading_state import AccountStates
from services.risk.repository import RiskRepository
from services.risk.state.setting_store import SettingStore

# So many accounts are valued at a time: orders are not kept waiting.
GROUP = 200
# Messages of trading after which its stream's position is written though nothing of it was counted.
STEPS = 1000
# Time for writing the counts of shards that leave; what is not written then is counted by their next owner.
LEAVE_S = 0.5
# Orders count for so long for the orders per second.
RATE_S = 1.0


class Checkpointer:
    """Loads and saves the state that survives a restart."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        portfolio: Portfolio,
        limits: SettingStore[AccountKey, AccountLimits],
        states: SettingStore[str, AccountStates],
        counts: ShardCounts,
        clock: Clock,
        save_interval_s: float,
        *,
        is_shared: bool = False,
    ) -> None:
        """`is_shared`: there are replicas. What is of users is read when shards come, and written by their owner."""
        self._is_shared = is_shared
        # Epochs of the shards whose users are this process's.
        self._epochs: dict[int, int] = {}
        # Sequences of shards at the last moments, by which orders of the present second are found again.
        self._marks: dict[int, tuple[float, int]] = {}
        self._repositories = repositories
        self._portfolio = portfolio
        self._limits = limits
        self._states = states
        self._counts = counts
        self._clock = clock
        self._oldest = 0
        self._save_interval_s = save_interval_s
        self._soon = asyncio.Event()

    async def load(self) -> None:
        """Read everything, before the first order is checked."""
        async with self._repositories.read() as repository:
            self._limits.load(await repository.list_limits())
            self._states.load(await repository.list_states())
            if not self._is_shared:
                self._portfolio.load_days(await repository.list_days())
                self._counts.all.load(*await repository.list_counts())

    async def take(self, epochs: Mapping[int, int], users: Collection[str]) -> Collection[int]:
        """Read what is kept of shards' users, and own it from now on; answers the shards of which nobody does later."""
        async with self._repositories() as repository:
            positions = await repository.take_shards(epochs)
            days, rows = await repository.list_days(users), await repository.list_counts_of(users)
        self._epochs.update({shard: epochs[shard] for shard in positions})
        self._portfolio.load_days(day for day in days if shard_of(day.user_id) in positions)
        for shard, position in positions.items():
            self._counts.take(shard).load(position, [row for row in rows if shard_of(row.user_id) == shard])
        return positions.keys()

    async def leave(self, shards: Collection[int]) -> None:
        """Write what was counted of shards that leave, so that their next owner has little to count again."""
        async with asyncio.timeout(LEAVE_S):
            for shard, counts in self._counts.items():
                if shard in shards:
                    await self._save_counts(shard, counts, self._oldest, is_last=True)

    async def run(self) -> None:
        """Keep the days for as long as the process runs."""
        while True:
            await wait_for_event(self._soon, self._save_interval_s)
            self._soon.clear()
            await self.save()

    def save_soon(self) -> None:
        """Schedule a checkpoint: a restart must not forget what has changed."""
        self._soon.set()

    async def save(self) -> None:
        """Write the days and counts that have changed."""
        oldest = oldest_kept(self._clock.now())
        for shard, counts in self._counts.items():
            await self._save_counts(shard, counts, oldest)
        if oldest != self._oldest:
            self._counts.forget_before(oldest)
            self._oldest = oldest
        accounts = list(self._portfolio.accounts())
        for start in range(0, len(accounts), GROUP):
            await self._save(self._portfolio.total_up(accounts[start : start + GROUP]))
            await asyncio.sleep(0)

    async def _save_counts(self, shard: int, counts: DayCounts, oldest: int, is_last: bool = False) -> None:
        self._mark(shard, counts)
        position, rows = counts.position(), counts.take_changed()
        if position is None:
            return
        steps = position.sequence - counts.saved
        if not (rows or steps >= STEPS or (is_last and steps) or oldest != self._oldest):
            return
        try:
            async with self._repositories() as repository:
                if not self._is_shared:
                    await repository.put_counts(position, rows)
                elif shard in await self._owned(repository, [shard]):
                    await repository.put_counts(position, rows, shard, self._epochs[shard])
                else:
                    return
                if oldest != self._oldest:
                    await repository.delete_counts(oldest)
        except BaseException:
            counts.put_back(rows)
            raise
        counts.saved = position.sequence

    def _mark(self, shard: int, counts: DayCounts) -> None:
        """Note the sequence of a second ago: an owner that comes counts from there on what came in its last second."""
        now = self._clock.monotonic()
        at, sequence = self._marks.get(shard, (now, 0))
        if now - at >= RATE_S:
            counts.rate_sequence = sequence
            at, sequence = now, counts.sequence or 0
        self._marks[shard] = at, sequence

    async def _owned(self, repository: RiskRepository, shards: Collection[int]) -> set[int]:
        """Those of the shards that nobody has taken since; who has forgets them."""
        epochs = {shard: self._epochs[shard] for shard in shards if shard in self._epochs}
        return await repository.owned_of(epochs) if epochs else set()

    async def _save(self, changed: list[DailyPnl]) -> None:
        if not changed:
            return
        # Before the write: what changes while it runs is written next time.
        for day in changed:
            day.saved()
        try:
            async with self._repositories() as repository:
                if self._is_shared:
                    owned = await self._owned(repository, {shard_of(day.user_id) for day in changed})
                    changed = [day for day in changed if shard_of(day.user_id) in owned]
                await repository.put_days(changed)
        except BaseException:
            for day in changed:
                day.saved(done=False)
            raise
