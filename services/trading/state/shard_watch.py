"""Watch of the shards that are served here: how their users stand when they come, each change, and when they go.

For risk, which runs in the same process and holds the same users.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from services.kernel.clock import Clock
from services.kernel.streams import Subscriber, Subscribers
from services.trading.repository import Loaded
from services.trading.state.store import TradingStore
from services.trading.state.streams import AT_ONCE, StreamUpdate, UpdateKind

_ALL = ""


class ShardWatch:
    """Followers of all users that are served here."""

    def __init__(self, store: TradingStore, clock: Clock, buffer: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._subscribers: Subscribers[str, StreamUpdate] = Subscribers(lambda: Subscriber(buffer(), discards=True))
        # Epochs of the shards that followers were told of.
        self._told: dict[int, int] = {}
        store.on_published(lambda _, updates: self._publish(updates))
        store.on_recovered(self._publish)
        store.on_loaded(self._take)
        store.on_dropped(self._lose)

    async def drain(self) -> None:
        """End all, and those to come."""
        await self._subscribers.drain()

    async def follow(self, heartbeat_s: float) -> AsyncIterator[Sequence[StreamUpdate]]:
        """Yield the state of shards served here, then each change of it; cannot be resumed."""
        with self._subscribers.follow(_ALL) as subscriber:
            async for part in self._show(self._store.epochs):
                yield part
            while True:
                changes: list[StreamUpdate] = []
                for item in await subscriber.take(heartbeat_s):
                    if item.kind is UpdateKind.CHANGE and len(changes) < AT_ONCE:
                        changes.append(item)
                        continue
                    if changes:
                        yield changes
                    changes = [item] if item.kind is UpdateKind.CHANGE else []
                    if item.kind is UpdateKind.TAKEN:
                        async for part in self._show(item.shards):
                            yield part
                    elif item.kind is UpdateKind.LOST:
                        yield [item]
                yield changes or [StreamUpdate(UpdateKind.HEARTBEAT, 0, time_ns=self._clock.now_ns())]
                if subscriber.has_ended:
                    yield [StreamUpdate(UpdateKind.END, 0, reason=subscriber.end_reason)]
                    return

    async def missed(self, after: Mapping[int, int]) -> AsyncIterator[StreamUpdate]:
        """The updates of shards after sequences, up to now, as far as they are kept."""
        for shard, sequence in after.items():
            shard_log = self._store.commit_log.shards.get(shard)
            if shard_log is None:
                continue
            if sequence < shard_log.trimmed_through:
                first, last = sequence + 1, shard_log.trimmed_through
                yield StreamUpdate(UpdateKind.GAP, last, first_sequence=first, last_sequence=last)
            async for update in self._store.missed(sequence, shard_log.published, "", [shard]):
                yield update

    async def _show(self, shards: Mapping[int, int]) -> AsyncIterator[Sequence[StreamUpdate]]:
        """The users of shards as they stand, as far as they are still served here."""
        yield [StreamUpdate(UpdateKind.TAKEN, 0, shards=shards)]
        sequences = {}
        for shard, epoch in shards.items():
            shard_log = self._store.commit_log.shards.get(shard)
            if shard_log is None or shard_log.fence.epoch != epoch:
                continue  # it is lost already, which follows
            sequence, items = shard_log.sequence, self._store.stand_of([shard])
            await self._store.commit_log.durable()
            sequences[shard] = min(sequence, shard_log.published)
            for start in range(0, len(items), AT_ONCE):
                yield items[start : start + AT_ONCE]
        yield [StreamUpdate(UpdateKind.READY, 0, shards=sequences)]

    def _publish(self, updates: Sequence[StreamUpdate]) -> None:
        self._subscribers.publish(_ALL, updates)

    def _take(self, loaded: Loaded, _: bool) -> None:
        # Of books that are read anew, too: they have the shards that came while nothing could be read.
        epochs = self._store.epochs
        taken = {shard: epochs[shard] for shard in loaded.sequences if self._told.get(shard) != epochs[shard]}
        if taken:
            self._told.update(taken)
            self._subscribers.publish(_ALL, [StreamUpdate(UpdateKind.TAKEN, 0, shards=taken)])

    def _lose(self, shards: Collection[int], _: Collection[str]) -> None:
        for shard in shards:
            self._told.pop(shard, None)
        self._subscribers.publish(_ALL, [StreamUpdate(UpdateKind.LOST, 0, shards=dict.fromkeys(shards, 0))])
