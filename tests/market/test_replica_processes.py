"""Replicas as an operator runs them, `redfire serve market` twice on one data folder, and killed with `kill -9`."""

import asyncio
import os
import subprocess
from pathlib import Path

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb

from tests.harness import service_keys_dir
from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.market.replica_processes import START_S, end_of, has, replicas
from tests.market.running_market import read_ticks
from tests.market.ticks import SYMBOL, tick
from tests.running import REDFIRE
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_either_replica_is_killed_and_nothing_is_lost_repeated_or_left_out_in_silence(tmp_path: Path) -> None:
    engine = FakeEngine()
    sent = [tick(n) for n in range(1, 1001)]
    async with replicas(tmp_path, engine) as (recorder, follower):
        ticks = await follower.stream()
        bars = follower.call("StreamBars", pb.StreamBarsRequest(symbols=[SYMBOL], heartbeat_interval={"seconds": 1}))
        assert (await bars.read()).HasField("heartbeat")
        engine.send(*sent[:250])
        assert await read_ticks(ticks, 250) == list(range(1, 251))
        await until(lambda: has(follower, sent[:250]), timeout_s=30)

        await recorder.end(kill=True)
        assert await end_of(bars) == "RECORDER_UNAVAILABLE"
        engine.send(*sent[250:500])
        assert await read_ticks(ticks, 250) == list(range(251, 501))
        assert (await refused(follower.call("ListTicks", pb.ListTicksRequest(symbol=SYMBOL))))[:2] == (
            grpc.StatusCode.UNAVAILABLE,
            "RECORDER_UNAVAILABLE",
        )
        await recorder.start()
        await until(lambda: has(recorder, sent[:500]), timeout_s=30)
        assert await follower.ticks() == sent[:500]
        assert await follower.bars() == await recorder.bars()

        await follower.end(kill=True)
        engine.send(*sent[500:750])
        ticks = await recorder.stream(after=500)
        assert await read_ticks(ticks, 250) == list(range(501, 751))
        await follower.start()
        engine.send(*sent[750:])
        assert await read_ticks(ticks, 250) == list(range(751, 1001))
        ticks = await follower.stream(after=500)
        assert await read_ticks(ticks, 500) == list(range(501, 1001))
        for replica in (recorder, follower):
            await until(lambda replica=replica: has(replica, sent), timeout_s=30)  # type: ignore[misc]
        assert await follower.bars() == await recorder.bars()
        assert [bar.volume for bar in await follower.bars()] == [119.0, *[120.0] * 7]


async def test_two_recorders_do_not_share_a_folder(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with replicas(tmp_path, engine):
        environ = {
            **os.environ,
            "REDFIRE_PLATFORM__DATA_DIR": str(tmp_path),
            "REDFIRE_IDENTITY__KEYS_DIR": str(service_keys_dir()),
        }
        command = [str(REDFIRE), "serve", "market", "--port", "0"]
        ended = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=START_S
        )
        assert ended.returncode == 2
        assert "the folder of history" in ended.stderr and "is in use" in ended.stderr
