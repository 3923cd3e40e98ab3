"""TLS at the edge: what crosses a network is encrypted, or nothing starts."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509

from services.commands.self_signed import self_signed
from services.commands.up import up
from services.kernel.errors import StartError
from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.security.edge.conftest import StartEdge
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_tls(start_edge: StartEdge, folder: Path) -> tuple[EnvoyProcess, Path]:
    certificate, key = self_signed(folder / "tls", "127.0.0.1")
    return await start_edge(tls_cert=str(certificate), tls_key=str(key)), certificate


def serial(address: str) -> int:
    """The serial number of the certificate that is shown there."""
    host, _, port = address.rpartition(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial_number


async def test_rest_and_grpc_pass_with_the_certificate(backend: Backend, start_edge: StartEdge, tmp_path: Path) -> None:
    edge, certificate = await with_tls(start_edge, tmp_path)
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with httpx.AsyncClient(base_url=edge.url, verify=trusted) as http:
        assert (await http.get("/api/trading/orders", headers=backend.bearer())).status_code == 200
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    async with grpc.aio.secure_channel(edge.address, credentials) as channel:  # HTTP/2, by ALPN
        call = channel.unary_unary("/redfire.trading.v1.OrderService/ListOrders")
        await call(b"", metadata=tuple(backend.bearer().items()), timeout=10)


async def test_the_port_speaks_nothing_but_tls_1_2_and_above(start_edge: StartEdge, tmp_path: Path) -> None:
    edge, _ = await with_tls(start_edge, tmp_path)
    async with httpx.AsyncClient(base_url=f"http://{edge.address}") as http:
        with pytest.raises(httpx.HTTPError):
            await http.get("/healthz")
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    host, _, port = edge.address.rpartition(":")
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection(host, int(port), ssl=old)


async def test_a_client_that_does_not_know_the_certificate_goes_no_further(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    edge, _ = await with_tls(start_edge, tmp_path)
    async with httpx.AsyncClient(base_url=edge.url) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get("/healthz")


async def test_commands_of_this_machine_have_a_port_of_loopback(start_edge: StartEdge, tmp_path: Path) -> None:
    edge, _ = await with_tls(start_edge, tmp_path)
    assert edge.local_address.startswith("127.0.0.1:") and edge.local_address != edge.address
    async with httpx.AsyncClient(base_url=f"http://{edge.local_address}") as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_a_renewed_certificate_is_taken_without_a_restart(start_edge: StartEdge, tmp_path: Path) -> None:
    edge, certificate = await with_tls(start_edge, tmp_path)
    first = await asyncio.to_thread(serial, edge.address)
    new, new_key = self_signed(tmp_path / "renewed", "127.0.0.1")
    new_key.replace(certificate.with_name("key.pem"))
    new.replace(certificate)
    await until(lambda: asyncio.to_thread(lambda: serial(edge.address) != first), 30)
    assert edge.restarts == 0


async def test_the_own_certificate_is_kept_names_the_host_and_its_key_is_private(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "192.0.2.7")
    before = certificate.read_bytes()
    assert self_signed(tmp_path, "192.0.2.7")[0].read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    read = x509.load_pem_x509_certificate(before)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert read.not_valid_after_utc > datetime.now(UTC)
    assert self_signed(tmp_path, "redfire.example.com")[0].read_bytes() != before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--host", "::"], "--tls-cert"),
        (["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], "nowhere.pem"),
        (["--tls-cert", "nowhere.pem"], "tls_key"),
        (["--tls-cert", "a.pem", "--tls-key", "a.pem", "--tls-self-signed"], "tls_self_signed"),
    ],
)
async def test_nothing_starts_that_would_send_passwords_as_they_are(
    tmp_path: Path, flags: list[str], named: str
) -> None:
    with pytest.raises(StartError, match=named) as refused:
        up.main(["--port", "0", "--data-dir", str(tmp_path / "data"), *flags], standalone_mode=False)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "data").exists()
