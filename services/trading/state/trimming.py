"""Trimming of the commit log: the updates that streams can resume from are limited in number."""

import asyncio
from collections.abc import Callable

from services.kernel.data.repositories import Repositories
from services.trading.repository import TradingRepository
from services.trading.state.commit_log import CommitLog, ShardLog

TRIM_EVERY_S = 60.0
TRIMMED_AT_ONCE, TRIM_PAUSE_S = 1000, 0.01


class Trimming:
    """Deletes the oldest rows."""

    def __init__(
        self, commit_log: CommitLog, repositories: Repositories[TradingRepository], keep: Callable[[], int]
    ) -> None:
        """`keep()` updates are kept of all users together, and the last row of each shard."""
        self._commit_log = commit_log
        self._repositories = repositories
        self._keep = keep

    async def run(self) -> None:
        """Trim periodically, until cancelled."""
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            through = self._commit_log.published - self._keep()
            for shard_log in list(self._commit_log.shards.values()):
                await self._trim(shard_log, min(through, shard_log.published - 1))

    async def _trim(self, shard_log: ShardLog, through: int) -> None:
        if through <= shard_log.trimmed_through:
            return
        shard = shard_log.fence.shard
        async with self._repositories.read() as repository:
            through = await repository.last_sequence(shard, through)
        if through <= shard_log.trimmed_through:
            return
        # Stated first: what is being deleted is not promised to streams that resume.
        shard_log.trimmed_through = through
        while self._commit_log.shards.get(shard) is shard_log:
            async with self._repositories.read() as repository:
                oldest = await repository.oldest_sequences(shard, through, TRIMMED_AT_ONCE)
            if not oldest:
                return
            # In parts, since the order path cannot write meanwhile; it is first in line after each.
            await self._commit_log.forget(shard_log, oldest)
            await asyncio.sleep(TRIM_PAUSE_S)
