"""Epochs of the shards whose owners send orders: of two that believe to own a shard, the later one alone is served."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from redfire.reasons import Reason

from services.engine.models import ShardEpochRow
from services.kernel.data.database import Database
from services.kernel.errors import FailedPrecondition


class StaleEpoch(FailedPrecondition):
    """Another replica serves the order's user now."""

    reason = Reason.STALE_EPOCH


class ShardEpochs:
    """The highest epoch of each shard that was heard of. It is in the database before it counts."""

    def __init__(self, database: Database) -> None:
        self._writer = database.writer
        self._upsert = database.upsert(ShardEpochRow, ["shard"])
        self._epochs: dict[int, int] = {}
        # Requests to gateways that run, by (shard, epoch).
        self._running: Counter[tuple[int, int]] = Counter()
        self._ended = asyncio.Condition()

    def restore(self, rows: Iterable[tuple[int, int]]) -> None:
        """Take what earlier runs knew."""
        self._epochs = dict(rows)

    @asynccontextmanager
    async def request(self, shard: int, epoch: int) -> AsyncIterator[None]:
        """Ask something of a gateway as the owner of a shard; epoch 0 owns none. Raises StaleEpoch."""
        if not epoch:
            yield
            return
        if epoch > self._epochs.get(shard, 0):
            await self.learn({shard: epoch})
        if epoch < self._epochs.get(shard, 0):
            raise StaleEpoch(shard=shard, epoch=epoch)
        key = shard, epoch
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
                async with self._ended:
                    self._ended.notify_all()

    async def learn(self, epochs: Mapping[int, int]) -> None:
        """Learn epochs of owners. Then nothing that an earlier owner asked for is on its way to a gateway any more."""
        later = {shard: epoch for shard, epoch in epochs.items() if epoch > self._epochs.get(shard, 0)}
        if not later:
            return
        await self._writer().submit([(self._upsert, {"shard": shard, "epoch": at}) for shard, at in later.items()])
        for shard, epoch in later.items():
            self._epochs[shard] = max(epoch, self._epochs.get(shard, 0))
        async with self._ended:
            await self._ended.wait_for(lambda: not self._has_earlier(later))

    def _has_earlier(self, later: Mapping[int, int]) -> bool:
        return any(epoch < later.get(shard, 0) for shard, epoch in self._running)
