"""`redfire serve`: the named services in this process, peers from settings; what a container runs."""

from pathlib import Path
from typing import Any

import click

from services import registry
from services.commands.data_folder import data_dir_option, open_private
from services.commands.running import StopSignal, run
from services.kernel.errors import StartError
from services.kernel.rpc import telemetry
from services.kernel.runtime import settings
from services.kernel.runtime.host import Host
from services.kernel.runtime.kernel_sections import PlatformSettings, TelemetrySettings
from services.kernel.runtime.settings import Settings

HELP = f"""Run the named services until SIGTERM, which drains them.

Services: {" ".join(registry.SERVICES)}. The setting peers.addresses has the addresses of peers that are not
among them, for instance REDFIRE_PEERS__ADDRESSES='{{"engine": "10.0.0.5:50051"}}'.
"""


@click.command(help=HELP)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings.")
@click.option("--host", help="The address to listen on (server.host).")
@click.option("--port", type=click.IntRange(0, 65535), help="The gRPC port; 0 takes a free one (server.port).")
@click.option("--ops-port", type=click.IntRange(0, 65535), help="The port of /healthz and /metrics (server.ops_port).")
@click.option("--log-file", type=click.Path(path_type=Path), help="Log to this file, bounded; else to standard error.")
@data_dir_option
def serve(
    services: tuple[str, ...],
    config: Path | None,
    host: str | None,
    port: int | None,
    ops_port: int | None,
    log_file: Path | None,
    data_dir: Path,
) -> None:
    """Run services until SIGTERM; HELP says more."""
    if unknown := [name for name in services if name not in registry.SERVICES]:
        raise StartError(f"no such service: {', '.join(unknown)}; there are {', '.join(registry.SERVICES)}")
    where: dict[str, Any] = {"host": host, "port": port, "ops_port": ops_port}
    flags = {"server": {key: value for key, value in where.items() if value is not None}}
    own = {"platform": {"data_dir": data_dir}}
    loaded = settings.load(registry.sections(), config, flags, defaults=own)
    open_private(loaded.of(PlatformSettings).data_dir)
    telemetry.set_up_logging(loaded.of(TelemetrySettings).log_level, log_file, terminal_level="CRITICAL")
    run(lambda stop: _serve(stop, list(services), loaded))


async def _serve(stop: StopSignal, names: list[str], loaded: Settings) -> None:
    host = Host(registry.SERVICES, [name for name in registry.SERVICES if name in names], loaded, migrate=False)
    try:
        if await stop.unless(host.start()):
            click.echo(f"serving {', '.join(host.names)} on {host.address}, operations on port {host.operations.port}")
            await stop.wait()
    finally:
        await host.stop()
