"""A platform in processes, from start to stop: databases, services, the edge, what is told of them."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from services import registry
from services.commands.data_folder import remove_addresses, write_addresses
from services.commands.edge import edge, start_edge
from services.commands.migrate import services_with_database
from services.commands.processes.layout import ProcessSpec, plan, require_shared_stores, stream_addresses
from services.commands.processes.operators import Operators
from services.commands.processes.supervisor import Supervisor
from services.commands.running import StopSignal
from services.commands.terminal import Terminal
from services.commands.up_options import UpOptions
from services.kernel.errors import StartError
from services.kernel.identity.edge_token import EdgeToken
from services.kernel.runtime import parent_death
from services.kernel.runtime.host import edge_secret
from services.kernel.runtime.kernel_sections import IdentitySettings
from services.kernel.runtime.metrics_token import metrics_token
from services.kernel.runtime.settings import Settings
from services.market.settings import MarketSettings
from services.mesh.envoy import EnvoyProcess


def check(loaded: Settings, options: UpOptions) -> None:
    """Raises StartError where the settings do not suffice for processes or so many replicas."""
    with_database = services_with_database()
    require_shared_stores(registry.SERVICES, with_database.__contains__, loaded, options.replicas)


async def run_processes(stop: StopSignal, options: UpOptions, loaded: Settings, variables: Mapping[str, str]) -> None:
    """Run until the stop signal. `variables` are settings of all processes."""
    if options.migrate and not await stop.unless(_migrate(options, variables)):
        return
    specs = plan(registry.SERVICES, options.replicas, variables, _config(options.config))
    platform = Platform(options, loaded, specs)
    try:
        await platform.run(stop)
    finally:
        await platform.stop()


class Platform:
    """The processes, the edge before them, and the terminal."""

    def __init__(self, options: UpOptions, loaded: Settings, specs: list[ProcessSpec]) -> None:
        self._options = options
        self._specs = specs
        self._has_stream_ports = loaded.of(MarketSettings).stream_writer == "http2"
        self._new_admin = not (options.data_dir / "admin-password").exists()
        self._token = EdgeToken(edge_secret(loaded.of(IdentitySettings))).value
        logs = options.data_dir / "logs"
        token = metrics_token(loaded)
        self._supervisor = Supervisor(registry.SERVICES, specs, logs, self._publish, self._tell, token)
        self._operators = Operators(self._supervisor, token)
        self._edge: EnvoyProcess | None = None
        self._terminal: Terminal | None = None
        self._is_up = False

    async def run(self, stop: StopSignal) -> None:
        """Start all, then wait for the stop signal. Raises StartError."""
        options = self._options
        if not await stop.unless(self._supervisor.start()):
            return
        await self._operators.start()
        self._edge = edge(
            options,
            self._supervisor.addresses,
            self._operators.http_address,
            self._token,
            self._publish,
            streams=stream_addresses(self._specs) if self._has_stream_ports else {},
            operators=self._operators.grpc_address,
        )
        if not await stop.unless(start_edge(self._edge)):
            return
        self._is_up = True
        self._publish()
        local = self._edge.local_address
        self._terminal = Terminal(local, local, options.data_dir, self._supervisor.totals)
        self._terminal.show_start(self._edge.url, self._new_admin)
        if options.demo:
            await stop.unless(self._terminal.start_demo())
        await stop.unless(self._terminal.run())
        await stop.wait()

    async def stop(self) -> None:
        """Stop all: the edge takes no new connections, services end their streams, the engine goes after them."""
        self._is_up = False
        remove_addresses(self._options.data_dir)
        if self._terminal is not None:
            await self._terminal.close()
        if self._edge is not None:
            await self._edge.drain()
        await self._supervisor.stop()
        if self._edge is not None:
            await self._edge.stop(grace_s=1.0)
        await self._operators.stop()

    def _publish(self) -> None:
        """Write the addresses and process ids as they are now."""
        if not self._is_up or self._edge is None:
            return
        pids = {**self._supervisor.pids, "envoy": [self._edge.pid] if self._edge.pid is not None else []}
        addresses = self._supervisor.addresses
        write_addresses(self._options.data_dir, self._edge.local_address, addresses, self._operators.http_address, pids)

    def _tell(self, line: str) -> None:
        click.echo(f"{'' if not sys.stderr.isatty() else chr(13)}redfire: {line}", err=True)


async def _migrate(options: UpOptions, variables: Mapping[str, str]) -> None:
    """Bring the databases to this version, in a process of its own. Raises StartError."""
    command = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
    command += [sys.executable, "-P", "-m", "services.cli", "migrate", *_config(options.config)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines() or ["redfire migrate failed"]
        raise StartError(" ".join(lines[-1].removeprefix("redfire: ").split()))


def _config(file: Path | None) -> list[str]:
    return [] if file is None else ["--config", str(file)]
