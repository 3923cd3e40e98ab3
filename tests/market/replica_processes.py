"""Replicas as an operator runs them: `redfire serve market` twice on one data folder, of one engine."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.harness import FakeService, platform, service_keys_dir, service_token
from tests.machine import free_port
from tests.market.fake_engine import FakeEngine
from tests.market.model.clients import SOON, pages
from tests.market.replicas import FOLLOWER, RECORDER
from tests.market.ticks import SYMBOL
from tests.running import REDFIRE
from tests.waiting import until

START_S = 240


class Replica:
    """A process that serves market, and a service's stub of it."""

    def __init__(self, name: str, addresses: dict[str, str], engine: FakeEngine, environ: dict[str, str]) -> None:
        self._engine = engine
        self.address = addresses[name]
        self._command = [str(REDFIRE), "serve", "market", "--port", addresses[name].rpartition(":")[2]]
        self._environ = {**os.environ, **environ, "REDFIRE_MARKET__REPLICA": name}
        self._process: subprocess.Popen[bytes] | None = None
        self._metadata = (("x-redfire-service", service_token("risk", "market")),)
        self._channel = grpc.aio.insecure_channel(addresses[name], options=SOON)
        self._stub = MarketServiceStub(self._channel)

    def call(self, rpc: str, request: Any) -> Any:
        return getattr(self._stub, rpc)(request, metadata=self._metadata, timeout=300)

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

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def close(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
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
async def replicas(
    folder: Path, engine: FakeEngine, recorder: str = RECORDER, **settings: str
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Both, started. `recorder` is the one that the settings name; `settings` are variables of both."""
    async with platform(fakes={"engine": FakeService(lambda context: [engine])}) as served, AsyncExitStack() as stack:
        addresses = {name: f"127.0.0.1:{free_port()}" for name in (RECORDER, FOLLOWER)}
        environ = {
            "REDFIRE_PLATFORM__DATA_DIR": str(folder),
            "REDFIRE_MARKET__RECORDER": recorder,
            "REDFIRE_MARKET__REPLICAS": json.dumps(addresses),
            "REDFIRE_MARKET__FLUSH_S": "0.05",
            "REDFIRE_MARKET__CHECKPOINT_S": "1",
            "REDFIRE_PEERS__ADDRESSES": json.dumps({"engine": served.host.address}),
            "REDFIRE_IDENTITY__KEYS_DIR": str(service_keys_dir()),
            **settings,
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


async def has(replica: Replica, ticks: list[pb.Tick]) -> bool:
    """Test that a replica has recorded these ticks and no others."""
    return await replica.ticks() == ticks
