"""Owners of shards at the engine: of two that both believe to own one, the later alone is served."""

import asyncio

import pytest
from redfire.reasons import Reason

from services.engine.models import Base
from services.engine.repository import EngineRepository
from services.engine.shard_epochs import ShardEpochs, StaleEpoch
from services.kernel.data.database import Database


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'engine.sqlite'}", Base)
    await database.start()
    yield database
    await database.close()


async def _request(epochs, shard, epoch):
    async with epochs.request(shard, epoch):
        return True


async def test_a_later_owner_is_served_and_an_earlier_one_no_more(database):
    epochs = ShardEpochs(database)
    assert await _request(epochs, 7, 3) and await _request(epochs, 7, 4) and await _request(epochs, 7, 4)
    with pytest.raises(StaleEpoch) as refused:
        await _request(epochs, 7, 3)
    assert refused.value.reason is Reason.STALE_EPOCH
    assert await _request(epochs, 8, 1)  # another shard
    assert await _request(epochs, 7, 0)  # a caller that owns no shards


async def test_an_engine_that_was_restarted_still_refuses_the_earlier_owner(database):
    await _request(ShardEpochs(database), 7, 4)
    epochs = ShardEpochs(database)
    async with database.repositories(EngineRepository).read() as repository:
        epochs.restore(await repository.list_shard_epochs())
    with pytest.raises(StaleEpoch):
        await _request(epochs, 7, 3)


async def test_what_an_earlier_owner_has_on_its_way_ends_before_a_later_one_is_known(database):
    epochs, begun, goes_on = ShardEpochs(database), asyncio.Event(), asyncio.Event()

    async def send():
        async with epochs.request(7, 1):
            begun.set()
            await goes_on.wait()

    sending = asyncio.create_task(send())
    await begun.wait()
    learning = asyncio.create_task(epochs.learn({7: 2, 8: 5}))
    while epochs._epochs.get(7) != 2:
        await asyncio.sleep(0)
    with pytest.raises(StaleEpoch):
        await _request(epochs, 7, 1)
    assert not learning.done()
    goes_on.set()
    await sending
    await learning
    with pytest.raises(StaleEpoch):
        await _request(epochs, 8, 4)
