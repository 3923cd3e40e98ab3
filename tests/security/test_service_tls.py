"""Services that speak TLS to each other, with real certificates: what has another one, or none, is not spoken to."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import StartError
from services.kernel.policy import descriptor_file, descriptor_set
from services.kernel.rpc.tls import PeerTls
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from tests.harness import PASSWORD, Platform, platform

NAME = "services.redfire.test"


@dataclass(frozen=True)
class Authority:
    """A CA of a test's, and the files of a certificate that it signed."""

    ca: Path
    cert: Path
    key: Path

    @property
    def server(self) -> dict[str, Path]:
        return {"tls_cert": self.cert, "tls_key": self.key}

    def channel(self, address: str, name: str = "") -> grpc.aio.Channel:
        return PeerTls(self.ca.read_bytes(), name).channel(address)


def authority(folder: Path, *names: x509.GeneralName) -> Authority:
    """Make a CA, and a certificate for these names."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, own_name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("ca", "services"))

    def made(subject: x509.Name, of: ec.EllipticCurvePrivateKey, is_ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )

    ca_cert = made(ca_name, ca_key, True).sign(ca_key, hashes.SHA256())
    cert = made(own_name, key, False).add_extension(x509.SubjectAlternativeName(names), critical=False)
    files = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    files.ca.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))
    files.cert.write_bytes(cert.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    unencrypted = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, pkcs8, unencrypted))
    return files


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return authority(tmp_path / "ours", address)


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    """Another CA, with a certificate for the same address."""
    return authority(tmp_path / "theirs", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@pytest.fixture
def named(tmp_path: Path) -> Authority:
    return authority(tmp_path / "named", x509.DNSName(NAME))


async def register(channel: grpc.aio.Channel, name: str) -> None:
    request = user_pb2.RegisterUserRequest(username=name, email=f"{name}@example.com", password=PASSWORD)
    await UserServiceStub(channel).RegisterUser(request, timeout=20)


async def login(auth: Platform, name: str) -> grpc.StatusCode:
    """Log in at auth, which asks user for the password."""
    try:
        await auth.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=name, password=PASSWORD), timeout=20)
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


def auth_with(user: Platform, **peers: object) -> object:
    return platform("auth", settings={"peers": {"addresses": {"user": user.host.address}, **peers}})


async def test_services_speak_tls_and_believe_their_own_ca_alone(ours: Authority, theirs: Authority) -> None:
    async with platform("user", settings={"server": ours.server}) as user:
        async with ours.channel(user.host.address) as channel:
            await register(channel, "alice")
        async with auth_with(user, tls_ca=ours.ca) as auth:  # type: ignore[attr-defined]
            assert await login(auth, "alice") is grpc.StatusCode.OK
        async with auth_with(user, tls_ca=theirs.ca) as auth:  # type: ignore[attr-defined]
            assert await login(auth, "alice") is not grpc.StatusCode.OK
        async with auth_with(user) as auth:  # type: ignore[attr-defined]
            assert await login(auth, "alice") is not grpc.StatusCode.OK
        with pytest.raises(grpc.aio.AioRpcError):  # nobody speaks plainly to it
            await register(user.channel, "bob")


async def test_a_certificate_is_of_the_peers_name(named: Authority) -> None:
    async with platform("user", settings={"server": named.server}) as user:
        async with named.channel(user.host.address, NAME) as channel:
            await register(channel, "alice")
        for name, is_ok in ((NAME, True), ("another.redfire.test", False), ("", False)):
            async with auth_with(user, tls_ca=named.ca, tls_name=name) as auth:  # type: ignore[attr-defined]
                assert (await login(auth, "alice") is grpc.StatusCode.OK) is is_ok, name


@pytest.mark.parametrize("writer", ["grpc", "http2"])
async def test_streams_pass_by_tls(ours: Authority, writer: str) -> None:
    settings = {"server": ours.server, "market": {"stream_writer": writer}}
    async with platform("engine", "market", settings=settings) as p:
        address = p.host.stream_addresses.get("market", p.host.address)
        assert (address != p.host.address) is (writer == "http2")
        path = "/redfire.market.v1.MarketService/StreamTicks"
        async with ours.channel(address) as channel:
            call = MarketServiceStub(channel).StreamTicks(
                market_pb2.StreamTicksRequest(symbols=["rb2701.SHFE"]), metadata=p.service_metadata(path), timeout=60
            )
            assert (await call.read()).WhichOneof("event") is not None
            call.cancel()
        async with grpc.aio.insecure_channel(address) as plain:
            refused = MarketServiceStub(plain).StreamTicks(
                market_pb2.StreamTicksRequest(symbols=["rb2701.SHFE"]), metadata=p.service_metadata(path), timeout=5
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await refused.read()


@pytest.mark.parametrize("trust", ["ours", "theirs", "named"])
async def test_the_edge_speaks_tls_to_services(
    tmp_path: Path, ours: Authority, theirs: Authority, named: Authority, trust: str
) -> None:
    certificate, believed = {"ours": (ours, ours), "theirs": (ours, theirs), "named": (named, named)}[trust]
    async with platform("auth", "user", settings={"server": certificate.server}) as p:
        descriptors = descriptor_file()
        options = EdgeOptions(
            services={"auth": (p.host.address,), "user": (p.host.address,)},
            ops=f"127.0.0.1:{p.host.operations.port}",
            descriptors=str(descriptors),
            openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
            port=0,
            services_ca=str(believed.ca),
            services_name=NAME if trust == "named" else "",
            rate_limits=None,
        )
        body = {"username": "nobody", "password": "wrong-Horse-1"}
        edge = EnvoyProcess(Contract(descriptor_set()), options, tmp_path / "edge", concurrency=1)
        async with edge, httpx.AsyncClient(timeout=30) as http:
            answer = await http.post(f"http://{edge.address}/api/users/login", json=body)
        assert answer.status_code == (503 if trust == "theirs" else 401), answer.text


async def test_half_a_certificate_or_none_stops_the_start(ours: Authority, theirs: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for server in (
        {"tls_cert": ours.cert},
        {"tls_key": ours.key},
        {"tls_cert": ours.cert, "tls_key": theirs.key},
        {"tls_cert": ours.cert, "tls_key": tmp_path / "none"},
        {"tls_cert": tmp_path / "empty", "tls_key": ours.key},
    ):
        with pytest.raises(StartError, match=r"server\.tls_"):
            async with platform("user", settings={"server": server}):
                pass
