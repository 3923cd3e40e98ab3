"""The edge of a platform that `redfire up` starts: Envoy before all its services."""

from collections.abc import Callable, Mapping
from pathlib import Path

from services.commands.self_signed import self_signed
from services.commands.up_options import UpOptions
from services.kernel.errors import StartError
from services.kernel.loopback import is_loopback
from services.kernel.policy import descriptor_file, descriptor_set
from services.kernel.runtime.kernel_sections import LimitSettings
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions, RateLimits
from services.mesh.envoy import EnvoyFailed, EnvoyProcess, PortInUse, require_free
from services.mesh.settings import EdgeSettings


def edge(
    up: UpOptions,
    services: Mapping[str, tuple[str, ...]],
    operations: str,
    token: str,
    on_replaced: Callable[[], None],
    *,
    streams: Mapping[str, tuple[str, ...]],
    operators: str = "",
) -> EnvoyProcess:
    """An Envoy that is not started yet: `services` are the addresses of each, `operations` that of /healthz.

    `streams` are the ports for streams alone of those that have them.
    """
    descriptors = descriptor_file()
    folder = up.data_dir / "envoy"
    certificate, key = _certificate(up.edge, folder / "tls", up.host)
    options = EdgeOptions(
        services=services,
        streams=streams,
        ops=operations,
        operators=operators,
        descriptors=str(descriptors),
        openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
        host=up.host,
        port=up.port,
        tls_cert=certificate,
        tls_key=key,
        trusted_hops=up.edge.trusted_hops,
        source_connections=up.edge.source_connections,
        rate_limits=_rate_limits(up.limits) if up.limits.calls else None,
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


def check_tls(settings: EdgeSettings, host: str, *, insecure: bool) -> None:
    """Raises StartError for files that cannot be read, and where passwords would cross a network as they are."""
    for name, file in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        try:
            if file is not None:
                file.open("rb").close()
        except OSError as error:
            raise StartError(f"edge.{name} {file}: {error.strerror}") from None
    with_tls = settings.tls_cert is not None or settings.tls_self_signed
    if not with_tls and not insecure and not is_loopback(host):
        raise StartError(
            f"--host {host} without TLS: give --tls-cert and --tls-key, or --tls-self-signed; "
            "or --insecure where a proxy with TLS is before it"
        )


def _certificate(settings: EdgeSettings, folder: Path, host: str) -> tuple[str, str]:
    """Paths of the certificate and its key, empty without TLS."""
    if settings.tls_self_signed:
        certificate, key = self_signed(folder, host)
        return str(certificate), str(key)
    if settings.tls_cert is None or settings.tls_key is None:
        return "", ""
    return str(settings.tls_cert.absolute()), str(settings.tls_key.absolute())


def _rate_limits(limits: LimitSettings) -> RateLimits:
    """A session's limits are its user's: services count all sessions and keys of a user together."""
    return RateLimits(
        default=limits.calls_per_minute,
        auth=limits.auth_calls_per_minute,
        trading=limits.trading_calls_per_minute,
        total=limits.all_calls_per_minute,
    )
