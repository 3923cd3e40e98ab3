"""The watch of shards that risk follows: each shard that is served here is shown, however it came."""

from types import SimpleNamespace

from services.kernel.clock import Clock
from services.trading.state.shard_watch import ShardWatch
from services.trading.state.streams import UpdateKind


class Store:
    """The books of some shards, by the shards' epochs."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self.commit_log = SimpleNamespace(shards={}, durable=self._durable)
        self.on_published = self.on_recovered = lambda listener: None

    def on_loaded(self, listener):
        self._loaded = listener

    def on_dropped(self, listener):
        self._dropped = listener

    def stand_of(self, shards):
        return []

    async def _durable(self):
        pass

    def read(self, anew, **shards):
        """Read shards into the books, by `s1=epoch`."""
        came = {int(name[1:]): epoch for name, epoch in shards.items()}
        self.epochs.update(came)
        for shard, epoch in came.items():
            fence = SimpleNamespace(epoch=epoch)
            self.commit_log.shards[shard] = SimpleNamespace(fence=fence, sequence=0, published=0)
        self._loaded(SimpleNamespace(sequences=came), anew)

    def drop(self, shard):
        del self.epochs[shard], self.commit_log.shards[shard]
        self._dropped([shard], [])


async def test_shards_that_come_while_the_books_are_read_anew_are_shown_and_known_ones_not_again():
    store = Store()
    watch = ShardWatch(store, Clock(), lambda: 100)
    store.read(anew=False, s1=1, s2=1)
    stream = watch.follow(0.05)
    assert [(await anext(stream))[0].kind for _ in range(2)] == [UpdateKind.TAKEN, UpdateKind.READY]
    store.drop(1)
    store.read(anew=True, s1=3, s2=1)
    shown = []
    while not shown or shown[-1].kind is not UpdateKind.READY:
        shown += [item for item in await anext(stream) if item.kind is not UpdateKind.HEARTBEAT]
    kinds = [(item.kind, dict(item.shards or {})) for item in shown]
    assert kinds == [(UpdateKind.LOST, {1: 0}), (UpdateKind.TAKEN, {1: 3}), (UpdateKind.READY, {1: 0})]
    await stream.aclose()
