"""`redfire up`: everything on one machine: all services in this process, or in processes of their own; Envoy before
them, strategy workers beside.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from services import registry
from services.commands import data_folder
from services.commands.data_folder import (
    Lock,
    data_dir_option,
    edge_secret_file,
    remove_addresses,
    write_addresses,
)
from services.commands.running import StopSignal, run
from services.commands.up_options import UpOptions
from services.kernel.errors import StartError
from services.kernel.rpc import telemetry
from services.kernel.runtime import settings
from services.kernel.runtime.host import Host
from services.kernel.runtime.kernel_sections import LimitSettings, PeersSettings, ServerSettings, TelemetrySettings
from services.kernel.runtime.sections import PREFIX
from services.kernel.runtime.settings import Settings
from services.mesh.settings import EdgeSettings

REPLICATED = [name for name, service in registry.SERVICES.items() if service.replicated]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the edge listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The edge; 0: a free one.")
@data_dir_option
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings.")
@click.option("--feed", metavar="FEED", help="sim | sim:SEED | replay:FILE[@SPEED|@max][?start=now|subscribe]")
@click.option("--instruments", type=click.Path(path_type=Path), help="A YAML file of more instruments.")
@click.option("--strategies", type=click.Path(path_type=Path), help="A folder of your own strategies.")
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), help="A PEM file: the edge speaks TLS with this certificate."
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="A PEM file with its private key.")
@click.option(
    "--tls-self-signed", is_flag=True, default=None, help="TLS with a certificate that the edge makes itself."
)
@click.option(
    "--insecure", is_flag=True, help="Without TLS on other addresses than loopback: a proxy is before the edge."
)
@click.option(
    "--trusted-hops", type=click.IntRange(0, 10), help="Proxies before the edge whose x-forwarded-for counts."
)
@click.option("--rate-limits", type=click.Choice(["on", "off"]), default="on", show_default=True, help="Limit callers.")
@click.option("--demo", is_flag=True, help="A demo user, whose strategy trades, and commands to paste.")
@click.option("--processes", is_flag=True, help="A process for each service; needs RabbitMQ (REDFIRE_EVENTS__URL).")
@click.option(
    "--replicas",
    type=click.IntRange(1, 16),
    help=f"With --processes: so many of {', '.join(REPLICATED)}, on PostgreSQL (REDFIRE_DATABASE__URL).",
)
@click.option(
    "--no-migrate", is_flag=True, help="With --processes: leave databases as they are; redfire migrate was run before."
)
def up(
    host: str,
    port: int,
    data_dir: Path,
    config: Path | None,
    feed: str | None,
    instruments: Path | None,
    strategies: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_self_signed: bool | None,
    insecure: bool,
    trusted_hops: int | None,
    rate_limits: str,
    demo: bool,
    processes: bool,
    replicas: int | None,
    no_migrate: bool,
) -> None:
    """Start the platform; Ctrl-C stops it, a second start goes on where the first stopped.

    It brings databases in files to this version first, with --processes those on PostgreSQL, too.
    """
    from services.commands.edge import check_port, check_tls
    from services.kernel.loopback import is_loopback

    if replicas is not None and not processes:
        raise StartError("--replicas is for --processes")
    if no_migrate and not processes:
        raise StartError("--no-migrate is for --processes")
    if rate_limits == "off" and not is_loopback(host):
        raise StartError(f"--rate-limits off is for loopback only, not for {host}")
    if strategies is not None and not strategies.is_dir():
        raise StartError(f"--strategies {strategies}: no such folder")
    flags: dict[str, dict[str, Any]] = {"platform": {"data_dir": data_dir}, "server": {"host": "127.0.0.1", "port": 0}}
    for section, key, value in (
        ("engine", "feed", feed),
        ("engine", "instruments_file", instruments and str(instruments)),
        ("strategy", "strategies_dir", strategies and str(strategies.absolute())),
        ("edge", "tls_cert", tls_cert),
        ("edge", "tls_key", tls_key),
        ("edge", "tls_self_signed", tls_self_signed),
        ("edge", "trusted_hops", trusted_hops),
        ("limits", "calls", None if rate_limits == "on" else False),
    ):
        if value is not None:
            flags.setdefault(section, {})[key] = value
    # The users of a single machine's platform trade: that is their role by default.
    own: dict[str, dict[str, Any]] = {
        "user": {"default_role": "trader"},
        # Ten thousand clients' streams take a third less memory, and their opens do not wait for gRPC's.
        "market": {"stream_writer": "http2"},
        "identity": {"edge_secret_file": data_dir.absolute() / data_folder.EDGE_SECRET},
    }
    loaded = settings.load(registry.sections(), config, flags, defaults=own)
    if loaded.of(ServerSettings).tls_cert is not None or loaded.of(PeersSettings).tls_ca is not None:
        raise StartError("server.tls_cert and peers.tls_ca are for redfire serve: redfire up uses loopback")
    _check_feed(loaded)
    at_edge = loaded.of(EdgeSettings)
    check_tls(at_edge, host, insecure=insecure)
    check_port(host, port)
    options = UpOptions(
        host, port, data_dir.absolute(), config, at_edge, loaded.of(LimitSettings), demo, not no_migrate, replicas or 1
    )
    if processes:
        from services.commands.processes import platform

        platform.check(loaded, options)
    lock = Lock(data_dir)
    try:
        edge_secret_file(data_dir.absolute())
        remove_addresses(data_dir)
        telemetry.set_up_logging(loaded.of(TelemetrySettings).log_level, data_dir / "redfire.log")
        if processes:
            variables = _variables(loaded, flags, own)
            run(lambda stop: platform.run_processes(stop, options, loaded, variables))
        else:
            run(lambda stop: _run(stop, options, loaded))
    finally:
        remove_addresses(data_dir)
        lock.release()


async def _run(stop: StopSignal, options: UpOptions, loaded: Settings) -> None:
    from services.commands.edge import edge, start_edge
    from services.commands.terminal import Terminal
    from services.mesh.envoy import EnvoyProcess

    new = not (options.data_dir / "admin-password").exists()
    host = Host(registry.SERVICES, list(registry.SERVICES), loaded)
    envoy: EnvoyProcess | None = None
    terminal: Terminal | None = None

    def publish() -> None:
        if envoy is not None and envoy.pid is not None and not host.lifecycle.draining:
            services = dict.fromkeys(host.names, (host.address,))
            pids = {**dict.fromkeys(host.names, (os.getpid(),)), "envoy": (envoy.pid,)}
            write_addresses(options.data_dir, envoy.local_address, services, f"127.0.0.1:{host.operations.port}", pids)

    try:
        if not await stop.unless(host.start()):
            return
        envoy = edge(
            options,
            dict.fromkeys(host.names, (host.address,)),
            f"127.0.0.1:{host.operations.port}",
            host.edge_token.value,
            publish,
            streams={name: (address,) for name, address in host.stream_addresses.items()},
        )
        if not await stop.unless(start_edge(envoy)):
            return
        if not await stop.unless(_until_healthy(host)):
            return
        publish()
        terminal = Terminal(host.address, envoy.local_address, options.data_dir, _totals)
        terminal.show_start(envoy.url, new_admin=new)
        if options.demo:
            await stop.unless(terminal.start_demo())
        await stop.unless(terminal.run())
        await stop.wait()
    finally:
        remove_addresses(options.data_dir)
        if terminal is not None:
            await terminal.close()
        # Services end their streams before the edge goes.
        if envoy is not None:
            await envoy.drain()
        await host.stop()
        if envoy is not None:
            await envoy.stop(grace_s=1.0)


async def _totals(counters: Sequence[str]) -> list[float]:
    return [telemetry.total(name) for name in counters]


def _variables(
    loaded: Settings, flags: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Environment variables of the flags and this command's defaults, for processes that read settings themselves."""
    keys = {(section, key) for part in (flags, own) for section, values in part.items() for key in values}
    variables = {}
    for section, key in sorted(keys):
        if section != "server":
            value = getattr(loaded.sections()[section], key)
            value = value.absolute() if isinstance(value, Path) else value
            variables[f"{PREFIX}{section.upper()}__{key.upper()}"] = str(value)
    return variables


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
