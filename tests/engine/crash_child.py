"""Runs an engine until it is killed: `python -m tests.engine.crash_child FOLDER`; prints its address."""

import asyncio
import sys
from pathlib import Path

from tests.harness import platform


async def main() -> None:
    async with platform("engine", data_dir=Path(sys.argv[1]), settings={"engine": {"feed": "sim:3"}}) as running:
        print(running.host.address, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
