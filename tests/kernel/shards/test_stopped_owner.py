"""An owner whose process stands still (SIGSTOP) or is killed, at any moment of its writes."""

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest

from services.kernel.shards.ownership import SHARDS
from tests.kernel.shards.replicas import Base, Replica, epochs_written
from tests.postgres import opened
from tests.waiting import until

pytestmark = pytest.mark.slow
LONG_S = 60.0
_names = itertools.count(1)


@pytest.fixture
async def url(postgres):
    return postgres.url(f"stopped{next(_names)}")


@pytest.fixture
async def owner(url):
    """A process that owns all shards and writes them."""
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kernel.shards.owner_process", url,
        stdout=asyncio.subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": f"{root}:{root}/gen/python"},
    )  # fmt: skip
    assert await process.stdout.readline() == f"owns {SHARDS}\n".encode()
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_another_takes_over_and_what_the_former_owner_writes_later_is_refused(url, owner, how):
    async with opened(url, Base) as database:
        await until(lambda: epochs_written(database), LONG_S)
        owner.send_signal(how)
        replica = await Replica("heir", database).start()
        await until(lambda: len(replica.shards.owned()) == SHARDS, LONG_S)
        assert all(epoch == 2 for epoch in replica.shards.owned().values())
        assert await asyncio.gather(*(replica.write(shard) for shard in range(SHARDS))) == [True] * SHARDS
        if how is signal.SIGSTOP:
            owner.send_signal(signal.SIGCONT)
            assert await asyncio.wait_for(owner.stdout.readline(), LONG_S) == f"lost {SHARDS}\n".encode()
            # It comes back as a member, and gets its share.
            await until(lambda: len(replica.shards.owned()) == SHARDS / 2, LONG_S)
            await until(lambda: written_by_both(database), LONG_S)
        for epochs in (await epochs_written(database)).values():
            assert epochs == sorted(epochs)
        await replica.tasks.stop()


async def written_by_both(database):
    return sum(max(epochs) > 2 for epochs in (await epochs_written(database)).values()) == SHARDS / 2
