"""A process that owns shards and writes them until it is ended: `python -m … URL`; prints what it loses."""

import asyncio
import sys

from tests.kernel.shards.replicas import Base, Replica
from tests.postgres import opened


async def run(url: str) -> None:
    """Own what can be owned, and write it on."""
    async with opened(url, Base) as database:
        replica = Replica("process", database)
        replica.shards.on_lost(lambda shards: print("lost", len(shards), flush=True))
        await replica.start()
        print("owns", len(replica.shards.owned()), flush=True)
        await replica.write_on()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
