"""`redfire mesh`: what the mesh needs, written from the contract."""

import sys
from pathlib import Path

import click

from services import registry
from services.kernel.policy import descriptor_file, descriptor_set
from services.kernel.runtime import settings

DEFAULT_PORTS = 50051


@click.group()
def mesh() -> None:
    """Write what the mesh needs from the contract."""


@mesh.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; standard output by default.")
@click.option("--host", default="0.0.0.0", show_default=True, help="The address that the edge listens on.")  # noqa: S104 # nosec B104
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="The edge's port.")
@click.option(
    "--service", "addresses", multiple=True, metavar="NAME=HOST:PORT", help="Where a service is; may be repeated."
)
@click.option(
    "--streams",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="A service's port for streams alone, where it has one.",
)
@click.option("--ops", default="auth:9100", show_default=True, help="Who answers /healthz and /jwks.json, host:port.")
@click.option("--tls-cert", default="", help="The path of the certificate, as Envoy sees it; no TLS by default.")
@click.option("--tls-key", default="", help="The path of its private key.")
@click.option("--trusted-hops", type=click.IntRange(0, 10), default=0, help="Proxies before it that are believed.")
@click.option("--services-ca", default="", help="The CA of the services' certificates: they are called with TLS.")
@click.option("--services-name", default="", help="The name in these certificates; by default the address's host.")
@click.option("--rate-limits", type=click.Choice(["on", "off"]), default="on", show_default=True, help="Limit callers.")
@click.option("--access-log", default="", help="A file for access lines; none by default.")
@click.option("--check", is_flag=True, help="Only say whether --out is what would be written: exit code 1 when not.")
def render(
    out: Path | None,
    host: str,
    port: int,
    addresses: tuple[str, ...],
    streams: tuple[str, ...],
    ops: str,
    tls_cert: str,
    tls_key: str,
    trusted_hops: int,
    services_ca: str,
    services_name: str,
    rate_limits: str,
    access_log: str,
    check: bool,
) -> None:
    """Write the edge's Envoy configuration. Services without an address are at NAME:50051."""
    from services.mesh.contract import Contract
    from services.mesh.edge.config import render_edge, to_yaml
    from services.mesh.edge.options import EdgeOptions, RateLimits

    if bool(tls_cert) != bool(tls_key):
        raise click.UsageError("--tls-cert and --tls-key go together")
    where: dict[str, tuple[str, ...]] = {name: (f"{name}:{DEFAULT_PORTS}",) for name in registry.SERVICES}
    where |= _addresses(addresses, "--service")
    descriptors = descriptor_file()
    options = EdgeOptions(
        services=where,
        streams=_addresses(streams, "--streams"),
        ops=ops,
        services_ca=services_ca,
        services_name=services_name,
        descriptors=str(descriptors),
        openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        trusted_hops=trusted_hops,
        access_log=access_log,
        rate_limits=RateLimits() if rate_limits == "on" else None,
    )
    text = to_yaml(render_edge(Contract(descriptor_set()), options))
    if check:
        if out is None:
            raise click.UsageError("--check needs --out")
        same = out.exists() and out.read_text() == text
        click.echo(f"{out} is {'up to date' if same else 'out of date'}")
        sys.exit(0 if same else 1)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
        click.echo(f"wrote {out}")


def _addresses(texts: tuple[str, ...], option: str) -> dict[str, tuple[str, ...]]:
    """NAME=HOST:PORT[,HOST:PORT…] by name."""
    where: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        if not equals or name not in registry.SERVICES or ":" not in address:
            raise click.BadParameter(f"{text}: NAME=HOST:PORT is expected", param_hint=option)
        where[name] = tuple(address.split(","))
    return where


@mesh.command("edge-token")
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings.")
def edge_token(config: Path | None) -> None:
    """Print what an edge of its own needs as EDGE_TOKEN in its environment.

    Made from identity.edge_secret. Only from an edge that has it do services take the addresses of callers; behind
    any other all callers have the edge's address.
    """
    from services.kernel.errors import StartError
    from services.kernel.identity.edge_token import EdgeToken
    from services.kernel.runtime.host import edge_secret
    from services.kernel.runtime.kernel_sections import IdentitySettings

    secret = edge_secret(settings.load(registry.sections(), config).of(IdentitySettings))
    if not secret:
        raise StartError("identity.edge_secret: the secret of the edge is needed")
    click.echo(EdgeToken(secret).value)
