"""The market service in a process of its own, which can be stopped or killed and started again on the same port."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services import registry
from services.kernel.runtime import settings as kernel_settings
from services.kernel.runtime.host import Host
from tests.harness import SECRET, service_keys_dir
from tests.machine import free_ports

START_S = 600
"""Seconds within which it starts, or stops: long, as the machine may be loaded."""
SETTINGS = {
    "flush_s": 0.1,
    "checkpoint_s": 0.7,
    "checkpoint_mb": 1,
    "ring_mb": 1,
    "log_keep_mb": 1,
    "buffer_ticks": 64,
    "compact_files": 4,
    "upstream_silence_s": 3.0,
}
# Its server process is forked for each start, with everything imported.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.market.model.market_process"])


def make_replicas(folder: Path, engine_address: str, names: Sequence[str]) -> list["MarketProcess"]:
    """Replicas of market that share a folder; the first one records."""
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    return [MarketProcess(folder, engine_address, name, names[0], addresses) for name in names]


class MarketProcess:
    """A replica of market at an address, reading an engine at another one; its folder outlives it."""

    def __init__(
        self, folder: Path, engine_address: str, name: str, recorder: str, addresses: Mapping[str, str]
    ) -> None:
        self.name = name
        self.address = addresses[name]
        """Host and port, the same after each start."""
        self._folder = folder
        self._engine_address = engine_address
        self._market = {"replica": name, "recorder": recorder, "replicas": dict(addresses)}
        self._process: Any = None

    @property
    def runs(self) -> bool:
        """True between start and the next stop or kill."""
        return self._process is not None

    async def start(self) -> None:
        """Start it, and return when it serves."""
        mine, its = _processes.Pipe()
        arguments = its, self._folder, self.address, self._engine_address, self._market
        self._process = _processes.Process(target=_run, args=arguments)
        self._process.start()
        its.close()
        try:
            served = await asyncio.to_thread(lambda: mine.poll(START_S) and mine.recv())
        except EOFError:
            served = False
        assert served, "market does not start"
        mine.close()

    async def stop(self) -> None:
        """Stop it as SIGTERM does."""
        process, self._process = self._process, None
        os.kill(process.pid, signal.SIGTERM)
        await asyncio.to_thread(process.join, START_S)
        assert process.exitcode == 0, f"market ended with {process.exitcode}"

    async def kill(self) -> None:
        """Kill it as kill -9 does."""
        process, self._process = self._process, None
        process.kill()
        await asyncio.to_thread(process.join)


def _run(ready: Any, folder: Path, address: str, engine_address: str, market: Mapping[str, Any]) -> None:
    asyncio.run(_serve(ready, folder, address, engine_address, market))


async def _serve(ready: Any, folder: Path, address: str, engine_address: str, market: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    flags: dict[str, dict[str, Any]] = {
        "platform": {"data_dir": folder},
        "server": {"port": int(address.rpartition(":")[2]), "grace_s": 2},
        "identity": {"edge_secret": SECRET, "keys_dir": service_keys_dir()},
        "peers": {"addresses": {"engine": engine_address}},
        "market": {**SETTINGS, **market},
    }
    loaded = kernel_settings.load(registry.sections(), flags=flags, environ={})
    host = Host(registry.SERVICES, ["market"], loaded, None, _no_keys)
    await host.start()
    ready.send(True)
    await stop.wait()
    await host.stop()


async def _no_keys() -> list[Any]:
    return []
