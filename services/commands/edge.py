"""The edge of a platform that `redfire up` starts: Envoy before all its services."""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path

from services.kernel.errors import StartError
from services.kernel.policy import descriptor_file, descriptor_set
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions, RateLimits
from services.mesh.envoy import EnvoyFailed, EnvoyProcess, PortInUse, require_free


def edge(
    host: str,
    port: int,
    folder: Path,
    services: Mapping[str, tuple[str, ...]],
    operations: str,
    token: str,
    on_replaced: Callable[[], None],
    *,
    streams: Mapping[str, tuple[str, ...]],
    operators: str = "",
    rate_limits: bool,
) -> EnvoyProcess:
    """An Envoy that is not started yet: `services` are the addresses of each, `operations` that of /healthz.

    `streams` are the ports for streams alone of those that have them.
    """
    descriptors = descriptor_file()
    options = EdgeOptions(
        services=services,
        streams=streams,
        ops=operations,
        operators=operators,
        descriptors=str(descriptors),
        openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
        host=host,
        port=port,
        rate_limits=RateLimits() if rate_limits else None,
    )
    contract = Contract(descriptor_set())
    return EnvoyProcess(contract, options, folder, edge_token=token, on_replaced=on_replaced)


async def start_edge(envoy: EnvoyProcess) -> None:
    """Start it. Raises StartError."""
    try:
        await envoy.start()
    except (PortInUse, EnvoyFailed) as error:
        raise StartError(str(error)) from None


def check_port(host: str, port: int) -> None:
    """Raises StartError for a port that the edge cannot have."""
    try:
        require_free(host, port)
    except PortInUse as error:
        raise StartError(f'{error}; choose another: --port 9090, or make run ARGS="--port 9090"') from None
    except PermissionError as error:
        raise StartError(f"--port {port}: {error.strerror or error}; take one from 1024 on") from None
    except OSError as error:
        raise StartError(f"--host {host} --port {port}: {error.strerror or error}") from None


def is_loopback(host: str) -> bool:
    """Test for an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
