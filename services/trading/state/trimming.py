"""Trimming of the commit log: the updates that streams can resume from are limited in number, and in age."""

import asyncio
from collections.abc import Callable

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.trading.models import PERIODS
from services.trading.repository import TradingRepository
from services.trading.state.commit_log import CommitLog, ShardLog
from services.trading.state.periods import is_over, periods_to_empty

TRIM_EVERY_S = 60.0
TRIMMED_AT_ONCE, TRIM_PAUSE_S = 1000, 0.01


class Trimming:
    """States up to where the log is not promised any more; then drops whole periods, or from a file the oldest rows."""

    def __init__(
        self,
        commit_log: CommitLog,
        repositories: Repositories[TradingRepository],
        keep: Callable[[], int],
        clock: Clock,
        by_period: bool,
    ) -> None:
        """`keep()` updates are kept of all users together; `by_period`: in a log with partitions, for some days."""
        self._commit_log = commit_log
        self._repositories = repositories
        self._keep = keep
        self._clock = clock
        self._by_period = by_period

    async def run(self) -> None:
        """Trim periodically, until cancelled."""
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            through = self._commit_log.published - self._keep()
            for shard_log in list(self._commit_log.shards.values()):
                await self._trim(shard_log, min(through, shard_log.published))
            if self._by_period:
                await self._empty_periods()

    async def _trim(self, shard_log: ShardLog, through: int) -> None:
        shard = shard_log.fence.shard
        async with self._repositories.read() as repository:
            through = await repository.last_sequence(shard, through) if through > shard_log.trimmed_through else 0
            if self._by_period:
                oldest = periods_to_empty(self._clock.now_ns())
                through = max(through, await repository.last_sequence_of(shard, oldest))
        if through <= shard_log.trimmed_through or self._commit_log.shards.get(shard) is not shard_log:
            return
        # Stated first: what is being deleted is not promised to streams that resume.
        await self._commit_log.state_trimmed(shard_log, through)
        while not self._by_period and self._commit_log.shards.get(shard) is shard_log:
            async with self._repositories.read() as repository:
                rows = await repository.oldest_sequences(shard, through, TRIMMED_AT_ONCE)
            if not rows:
                return
            # In parts, since the order path cannot write meanwhile; it is first in line after each.
            await self._commit_log.forget(shard_log, rows)
            await asyncio.sleep(TRIM_PAUSE_S)

    async def _empty_periods(self) -> None:
        for period in range(PERIODS):
            if is_over(period, self._clock.now_ns()):
                async with self._repositories.read() as repository:
                    is_promised = await repository.is_promised(period)
                if not is_promised:
                    async with self._repositories() as repository:
                        await repository.empty_period(period)
