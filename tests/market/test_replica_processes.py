"""Replicas as an operator runs them, `redfire serve market` twice on one data folder, and killed with `kill -9`."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.identity.identity import ServiceTokens
from tests.harness import SECRET, FakeService, platform
from tests.machine import free_port
from tests.market.fake_engine import FakeEngine
from tests.market.model.clients import SOON, pages
from tests.market.refusal import refused
from tests.market.replicas import FOLLOWER, RECORDER
from tests.market.running_market import read_ticks
from tests.market.ticks import SYMBOL, tick
from tests.running import REDFIRE
from tests.waiting import until

pytestmark = pytest.mark.slow
START_S = 60


class Replica:
    """A process that serves market, and a service's stub of it."""

    def __init__(self, name: str, addresses: dict[str, str], engine: FakeEngine, environ: dict[str, str]) -> None:
        self._engine = engine
        self._command = [str(REDFIRE), "serve", "market", "--port", addresses[name].rpartition(":")[2]]
        self._environ = {**os.environ, **environ, "REDFIRE_MARKET__REPLICA": name}
        self._process: subprocess.Popen[bytes] | None = None
        self._metadata = (("x-redfire-service", ServiceTokens(SECRET).make("risk")),)
        self._channel = grpc.aio.insecure_channel(addresses[name], options=SOON)
        self._stub = MarketServiceStub(self._channel)

    def call(self, rpc: str, request: Any) -> Any:
        return getattr(self._stub, rpc)(request, metadata=self._metadata, timeout=60)

    async def start(self) -> None:
        requests = len(self._engine.requests)
        self._process = subprocess.Popen(self._command, env=self._environ, stderr=subprocess.DEVNULL)
        await until(lambda: len(self._engine.requests) > requests, timeout_s=START_S)
        await until(self._knows_instruments, timeout_s=START_S)

    async def _knows_instruments(self) -> bool:
        try:
            return bool((await self.call("ListInstruments", pb.ListInstrumentsRequest())).instruments)
        except grpc.aio.AioRpcError:
            return False

    async def end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            await asyncio.to_thread(process.wait, START_S)

    async def close(self) -> None:
        await self.end(kill=False)
        await self._channel.close()

    async def ticks(self) -> list[pb.Tick]:
        """All recorded ticks."""

        def ask(token: str) -> Any:
            return self.call("ListTicks", pb.ListTicksRequest(symbol=SYMBOL, page_size=300, page_token=token))

        return await pages(ask, "ticks")

    async def bars(self) -> list[pb.Bar]:
        return await pages(
            lambda token: self.call("ListBars", pb.ListBarsRequest(symbol=SYMBOL, page_token=token)), "bars"
        )

    async def stream(self, after: int | None = None) -> Any:
        """An open tick stream, behind a sequence."""
        request = pb.StreamTicksRequest(symbols=[SYMBOL], epoch="e1" if after else "")
        if after:
            request.resume_after_sequence[SYMBOL] = after
        call = self.call("StreamTicks", request)
        assert (await call.read()).HasField("started")
        return call


@asynccontextmanager
async def replicas(folder: Path, engine: FakeEngine) -> AsyncIterator[tuple[Replica, Replica]]:
    async with platform(fakes={"engine": FakeService(lambda context: [engine])}) as served, AsyncExitStack() as stack:
        addresses = {name: f"127.0.0.1:{free_port()}" for name in (RECORDER, FOLLOWER)}
        environ = {
            "REDFIRE_PLATFORM__DATA_DIR": str(folder),
            "REDFIRE_MARKET__RECORDER": RECORDER,
            "REDFIRE_MARKET__REPLICAS": json.dumps(addresses),
            "REDFIRE_MARKET__FLUSH_S": "0.05",
            "REDFIRE_MARKET__CHECKPOINT_S": "1",
            "REDFIRE_PEERS__ADDRESSES": json.dumps({"engine": served.host.address}),
            "REDFIRE_IDENTITY__SERVICE_SECRET": SECRET,
        }
        running = [Replica(name, addresses, engine, environ) for name in (RECORDER, FOLLOWER)]
        for replica in running:
            stack.push_async_callback(replica.close)
            await replica.start()
        yield running[0], running[1]


async def end_of(call: Any) -> str:
    """The reason that a bar stream ends with."""
    while (message := await call.read()) is not grpc.aio.EOF:
        if message.HasField("end"):
            return str(message.end.reason)
    return ""


async def test_either_replica_is_killed_and_nothing_is_lost_repeated_or_left_out_in_silence(tmp_path: Path) -> None:
    engine = FakeEngine()
    sent = [tick(n) for n in range(1, 1001)]
    async with replicas(tmp_path, engine) as (recorder, follower):
        ticks = await follower.stream()
        bars = follower.call("StreamBars", pb.StreamBarsRequest(symbols=[SYMBOL], heartbeat_interval={"seconds": 1}))
        assert (await bars.read()).HasField("heartbeat")
        engine.send(*sent[:250])
        assert await read_ticks(ticks, 250) == list(range(1, 251))
        await until(lambda: _has(follower, sent[:250]), timeout_s=30)

        await recorder.end(kill=True)
        assert await end_of(bars) == "RECORDER_UNAVAILABLE"
        engine.send(*sent[250:500])
        assert await read_ticks(ticks, 250) == list(range(251, 501))
        assert (await refused(follower.call("ListTicks", pb.ListTicksRequest(symbol=SYMBOL))))[:2] == (
            grpc.StatusCode.UNAVAILABLE,
            "RECORDER_UNAVAILABLE",
        )
        await recorder.start()
        await until(lambda: _has(recorder, sent[:500]), timeout_s=30)
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
            await until(lambda replica=replica: _has(replica, sent), timeout_s=30)  # type: ignore[misc]
        assert await follower.bars() == await recorder.bars()
        assert [bar.volume for bar in await follower.bars()] == [119.0, *[120.0] * 7]


async def _has(replica: Replica, ticks: list[pb.Tick]) -> bool:
    return await replica.ticks() == ticks


async def test_two_recorders_do_not_share_a_folder(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with replicas(tmp_path, engine):
        environ = {
            **os.environ,
            "REDFIRE_PLATFORM__DATA_DIR": str(tmp_path),
            "REDFIRE_IDENTITY__SERVICE_SECRET": SECRET,
        }
        command = [str(REDFIRE), "serve", "market", "--port", "0"]
        ended = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=START_S
        )
        assert ended.returncode == 2
        assert "the folder of history" in ended.stderr and "is in use" in ended.stderr
