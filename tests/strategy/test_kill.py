"""The whole platform is killed: its workers die with it, and strategies run again after the next start."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.strategy.user_files import GOOD
from tests.waiting import until

pytestmark = pytest.mark.slow

HOSTING = """
import asyncio, sys
from pathlib import Path
from tests.harness import platform
from tests.strategy.conftest import StrategyClient
from tests.strategy.fakes import FakePlatform
from tests.strategy.worker_processes import workers

async def main():
    world = FakePlatform()
    settings = {"strategy": {"strategies_dir": sys.argv[1]}}
    async with platform("strategy", settings=settings, fakes=world.fakes(), data_dir=Path(sys.argv[2])) as p:
        p.mint = world.auth.mint
        client = StrategyClient(world, p.identity(user_id=sys.argv[3]))
        strategy_id = await client.run("Counter")
        print(strategy_id, *workers(p), flush=True)
        await asyncio.to_thread(sys.stdin.read)  # which ends with the test

asyncio.run(main())
"""


async def test_after_kill_9_no_worker_is_left_and_strategies_resume(serve, client_of, world, strategies_dir, tmp_path):
    (strategies_dir / "good.py").write_text(GOOD)
    user_id = "0197f3a0-0000-7000-8000-000000000001"
    data_dir = tmp_path / "data"
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOSTING, str(strategies_dir), str(data_dir), user_id,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert host.stdout
        strategy_id, *pids = (await asyncio.wait_for(host.stdout.readline(), 60)).decode().split()
        assert pids
    finally:
        os.kill(host.pid, signal.SIGKILL)
        await host.wait()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5)
    async with serve(data_dir) as p:
        client = client_of(p)
        client.stub = p.identity(user_id=user_id).stub(type(client).stub_class)
        await client.until_status(strategy_id, "RUNNING", 30)
