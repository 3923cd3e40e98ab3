"""`redfire up`: everything on one machine: all services in this process, Envoy before them, strategy workers beside."""

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from services import registry
from services.commands import data_folder
from services.commands.data_folder import Lock, data_dir_option, service_secret_file, write_addresses
from services.commands.running import StopSignal, run
from services.kernel.errors import StartError
from services.kernel.policy import descriptor_file, descriptor_set
from services.kernel.rpc import telemetry
from services.kernel.runtime import settings
from services.kernel.runtime.host import Host
from services.kernel.runtime.settings import Settings, TelemetrySettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of `redfire up`."""

    host: str
    port: int
    data_dir: Path
    rate_limits: bool
    demo: bool


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the edge listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The edge; 0: a free one.")
@data_dir_option
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings.")
@click.option("--feed", metavar="FEED", help="sim | sim:SEED | replay:FILE[@SPEED|@max][?start=now|subscribe]")
@click.option("--instruments", type=click.Path(path_type=Path), help="A YAML file of more instruments.")
@click.option("--strategies", type=click.Path(path_type=Path), help="A folder of your own strategies.")
@click.option("--rate-limits", type=click.Choice(["on", "off"]), default="on", show_default=True, help="Limit callers.")
@click.option("--demo", is_flag=True, help="A demo user, whose strategy trades, and commands to paste.")
def up(
    host: str,
    port: int,
    data_dir: Path,
    config: Path | None,
    feed: str | None,
    instruments: Path | None,
    strategies: Path | None,
    rate_limits: str,
    demo: bool,
) -> None:
    """Start the platform; Ctrl-C stops it, a second start goes on where the first stopped."""
    if rate_limits == "off" and not _is_loopback(host):
        raise StartError(f"--rate-limits off is for loopback only, not for {host}")
    if strategies is not None and not strategies.is_dir():
        raise StartError(f"--strategies {strategies}: no such folder")
    flags: dict[str, dict[str, Any]] = {"platform": {"data_dir": data_dir}, "server": {"host": "127.0.0.1", "port": 0}}
    for section, key, value in (
        ("engine", "feed", feed),
        ("engine", "instruments_file", instruments and str(instruments)),
        ("strategy", "strategies_dir", strategies and str(strategies.absolute())),
    ):
        if value is not None:
            flags.setdefault(section, {})[key] = value
    # The users of a single machine's platform trade: that is their role by default.
    own: dict[str, dict[str, Any]] = {
        "user": {"default_role": "trader"},
        "identity": {"service_secret_file": data_dir.absolute() / data_folder.SERVICE_SECRET},
    }
    loaded = settings.load(registry.sections(), config, flags, defaults=own)
    _check_feed(loaded)
    _check_port(host, port)
    lock = Lock(data_dir)
    try:
        service_secret_file(data_dir.absolute())
        (data_dir / data_folder.ADDRESSES).unlink(missing_ok=True)
        telemetry.set_up_logging(loaded.of(TelemetrySettings).log_level, data_dir / "redfire.log")
        options = UpOptions(host, port, data_dir.absolute(), rate_limits == "on", demo)
        run(lambda stop: _run(stop, options, loaded))
    finally:
        (data_dir / data_folder.ADDRESSES).unlink(missing_ok=True)
        lock.release()


async def _run(stop: StopSignal, options: UpOptions, loaded: Settings) -> None:
    from services.commands.terminal import Terminal
    from services.mesh.envoy import EnvoyFailed, EnvoyProcess, PortInUse

    new = not (options.data_dir / "admin-password").exists()
    host = Host(registry.SERVICES, list(registry.SERVICES), loaded)
    edge: EnvoyProcess | None = None
    terminal: Terminal | None = None
    try:
        if not await stop.unless(host.start()):
            return
        edge = _edge(options, host)
        try:
            if not await stop.unless(edge.start()):
                return
        except (PortInUse, EnvoyFailed) as error:
            raise StartError(str(error)) from None
        if not await stop.unless(_until_healthy(host)):
            return
        services = dict.fromkeys(host.names, host.address)
        write_addresses(options.data_dir, edge.address, services, f"127.0.0.1:{host.operations.port}")
        terminal = Terminal(host, edge.address, options.data_dir)
        terminal.show_start(new_admin=new)
        if options.demo:
            await stop.unless(terminal.start_demo())
        await stop.unless(terminal.run())
        await stop.wait()
    finally:
        (options.data_dir / data_folder.ADDRESSES).unlink(missing_ok=True)
        if terminal is not None:
            await terminal.close()
        # Services end their streams before the edge goes.
        if edge is not None:
            await edge.drain()
        await host.stop()
        if edge is not None:
            await edge.stop(grace_s=1.0)


def _edge(options: UpOptions, host: Host) -> Any:
    from services.mesh.contract import Contract
    from services.mesh.edge.options import EdgeOptions, RateLimits
    from services.mesh.envoy import EnvoyProcess

    descriptors = descriptor_file()
    edge_options = EdgeOptions(
        services=dict.fromkeys(host.names, (host.address,)),
        streams={name: (address,) for name, address in host.stream_addresses.items()},
        ops=f"127.0.0.1:{host.operations.port}",
        descriptors=str(descriptors),
        openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
        host=options.host,
        port=options.port,
        rate_limits=RateLimits() if options.rate_limits else None,
    )
    token = host.service_tokens.edge_token
    return EnvoyProcess(Contract(descriptor_set()), edge_options, options.data_dir / "envoy", edge_token=token)


async def _until_healthy(host: Host, timeout_s: float = 60.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while set((await host.health()).values()) != {"SERVING"}:  # noqa: ASYNC110 polled: health has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        waiting = {name: host.lifecycle.waiting_for(name) for name in host.names}
        late = ", ".join(f"{name} ({why})" for name, why in waiting.items() if why)
        raise StartError(f"not healthy after {timeout_s:g} s: {late}; see redfire.log in the data folder") from None


def _check_feed(loaded: Settings) -> None:
    from services.engine.feeds.feed import parse_feed
    from services.engine.settings import EngineSettings

    parse_feed(loaded.of(EngineSettings).feed)


def _check_port(host: str, port: int) -> None:
    from services.mesh.envoy import PortInUse, require_free

    try:
        require_free(host, port)
    except PortInUse as error:
        raise StartError(f'{error}; choose another: --port 9090, or make run ARGS="--port 9090"') from None
    except PermissionError as error:
        raise StartError(f"--port {port}: {error.strerror or error}; take one from 1024 on") from None
    except OSError as error:
        raise StartError(f"--host {host} --port {port}: {error.strerror or error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
