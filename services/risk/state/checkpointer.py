"""Brings limits, states and days out of the database at start, and keeps the days of all accounts."""

import asyncio

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.tasks import wait_for_event
from services.risk.domain.daily import DailyPnl
from services.risk.domain.day_counts import DayCounts, oldest_kept
from services.risk.domain.limits import AccountLimits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.trading_state import AccountStates
from services.risk.repository import AccountKey, RiskRepository
from services.risk.state.setting_store import SettingStore

# So many accounts are valued at a time: orders are not kept waiting.
GROUP = 200
# Messages of trading after which its stream's position is written though nothing of it was counted.
STEPS = 1000


class Checkpointer:
    """Loads and saves the state that survives a restart."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        portfolio: Portfolio,
        limits: SettingStore[AccountKey, AccountLimits],
        states: SettingStore[str, AccountStates],
        counts: DayCounts,
        clock: Clock,
        save_interval_s: float,
    ) -> None:
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
            self._portfolio.load_days(await repository.list_days())
            self._counts.load(*await repository.list_counts())

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
        await self._save_counts()
        accounts = list(self._portfolio.accounts())
        for start in range(0, len(accounts), GROUP):
            await self._save(self._portfolio.total_up(accounts[start : start + GROUP]))
            await asyncio.sleep(0)

    async def _save_counts(self) -> None:
        oldest = oldest_kept(self._clock.now())
        position, rows = self._counts.position(), self._counts.take_changed()
        if position is None or not (rows or position.sequence >= self._counts.saved + STEPS or oldest != self._oldest):
            return
        try:
            async with self._repositories() as repository:
                await repository.put_counts(position, rows)
                if oldest != self._oldest:
                    await repository.delete_counts(oldest)
        except BaseException:
            self._counts.put_back(rows)
            raise
        self._counts.saved = position.sequence
        if oldest != self._oldest:
            self._counts.forget_before(oldest)
            self._oldest = oldest

    async def _save(self, changed: list[DailyPnl]) -> None:
        if not changed:
            return
        # Before the write: what changes while it runs is written next time.
        for day in changed:
            day.saved()
        try:
            async with self._repositories() as repository:
                await repository.put_days(changed)
        except BaseException:
            for day in changed:
                day.saved(done=False)
            raise
