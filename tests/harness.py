"""Services on a real loopback gRPC server in a temporary folder, for tests."""

import asyncio
import base64
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services import registry
from services.commands.migrate import database_of, services_with_database
from services.kernel.clock import Clock
from services.kernel.errors import RedFireError, Unavailable, Unsupported
from services.kernel.identifiers import new_id
from services.kernel.identity.service_keys import PUBLIC, OwnKeys, TrustedKeys
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import EVERY_SERVICE, contract_services, descriptor_set, service_policies
from services.kernel.runtime import settings as kernel_settings
from services.kernel.runtime.host import Host
from services.kernel.runtime.kernel_sections import DatabaseSettings
from services.kernel.runtime.service_context import ServiceContext
from services.mesh.edge.routes import NEVER_SILENT
from tests import sandbox
from tests.postgres import shared_server

SECRET = "a-secret-of-tests-that-is-long-enough"
PASSWORD = "correct-Horse-9"


def service_keys_dir() -> Path:
    """The folder of services' keys that all platforms of a run of tests share, also those in other processes."""
    return Path(tempfile.gettempdir()) / "service-keys"


def service_tokens() -> ServiceTokens:
    """Tokens of any service, by keys that platforms of tests trust."""
    folder = service_keys_dir()
    return ServiceTokens(OwnKeys(folder, folder / PUBLIC), TrustedKeys(folder / PUBLIC))


def service_token(caller: str, callee: str) -> str:
    """A token of a service, or of a worker (`worker:ID`), for a callee."""
    issuer = "strategy" if caller.startswith("worker:") else caller
    return service_tokens().make(issuer, callee, subject=caller)


T = TypeVar("T")


class FakeService:
    """A line of the registry whose servicers are made in a test: `FakeService(lambda context: [Servicer()])`.

    Services of the same package that the test does not make are there, since the host insists, and fail.
    """

    def __init__(self, make: Any, calls: Sequence[str] = ()) -> None:
        self.calls = calls
        self._make = make

    def bind(self, name: str, context: ServiceContext) -> None:
        servicers = self._make(context)
        bases = {base.__name__ for servicer in servicers for base in type(servicer).__mro__}
        for servicer in servicers:
            context.serve(servicer)
        for service in contract_services().get(name, ()):
            if f"{service.rpartition('.')[2]}Servicer" not in bases:
                context.serve(_unplayed(service))


def complete(servicer: type[T], error: type[RedFireError] = Unsupported) -> type[T]:
    """The servicer's class with every RPC, since the host insists: those that it lacks raise the error."""
    base = next(one for one in servicer.__mro__ if one.__module__.endswith("_pb2_grpc"))
    package, name = base.__module__.rpartition(".")[0], base.__name__.removesuffix("Servicer")

    async def unary(self: Any, request: Any, call: Any) -> Any:
        raise error("not played")

    async def stream(self: Any, request: Any, call: Any) -> AsyncIterator[Any]:
        raise error("not played")
        yield

    async def none_revoked(self: Any, request: Any, call: Any) -> AsyncIterator[Any]:
        yield auth_pb2.WatchRevocationsResponse(snapshot_complete=True)
        while True:
            await asyncio.sleep(1)
            yield auth_pb2.WatchRevocationsResponse()

    if name == "AuthService" and "WatchRevocations" not in vars(servicer):
        servicer.WatchRevocations = none_revoked  # type: ignore[attr-defined]
    for rpc, policy in service_policies(f"{package}.{name}").items():
        if getattr(servicer, rpc) is getattr(base, rpc):
            setattr(servicer, rpc, stream if policy.streams else unary)
    return servicer


def _unplayed(service: str) -> Any:
    """A servicer whose RPCs all fail."""
    package, _, name = service.rpartition(".")
    files = (file for file in descriptor_set().file if file.package == package)
    file = next(file for file in files if any(one.name == name for one in file.service))
    module = import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")
    return complete(type(f"Unplayed{name}", (getattr(module, f"{name}Servicer"),), {}), Unavailable)()


class TokenMint:
    """Access tokens that a host trusts, where auth does not run; the same seed gives the same key."""

    def __init__(self, seed: bytes | None = None) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        self.clock: Clock | None = None
        """Of the host, which takes no token from its future."""

    async def keys(self) -> list[auth_pb2.JsonWebKey]:
        x = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).decode().rstrip("=")
        return [auth_pb2.JsonWebKey(kty="OKP", use="sig", alg="EdDSA", crv="Ed25519", kid="test", x=x)]

    def token(
        self, user_id: str, role: str = "trader", life_s: float = 3600, session_id: str = "", **claims: Any
    ) -> str:
        now = time.time()
        issued = now if self.clock is None else min(now, self.clock.now_ns() / 1e9)
        body = {
            "iss": "redfire", "aud": "redfire", "sub": user_id, "role": role, "sid": session_id or new_id(),
            "iat": issued, "exp": now + life_s, **claims,
        }  # fmt: skip
        return jwt.encode(body, self._key, algorithm="EdDSA", headers={"kid": "test"})


@dataclass
class User:
    """A user of a running platform, with a token."""

    platform: "Platform"
    user_id: str
    token: str
    username: str = ""
    password: str = ""

    def stub(self, stub: Any) -> Any:
        return self.platform.stub(stub, self.token)


class Platform:
    """A running host and ways to call it."""

    def __init__(self, host: Host, mint: TokenMint, folder: Path) -> None:
        self.host = host
        self.mint = mint
        self.folder = folder
        # Ports are used again: what an earlier channel saw at the address is nothing to this one.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.insecure_channel(host.address, options)
        self.streams = {
            service: grpc.aio.insecure_channel(address, options) for service, address in host.stream_addresses.items()
        }
        """By service, a channel to its port for streams alone, as the edge has it."""

    def stub(self, stub: Any, token: str | None = None, **metadata: str) -> Any:
        """A network stub; AioRpcError is raised as a client sees it."""
        pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        if token:
            pairs.append(("authorization", f"Bearer {token}"))
        streams = self.streams.get(stub.__module__.split(".")[1])
        return stub(_WithMetadata(self.channel, pairs, streams))

    def service_stub(self, stub: Any, caller: str = "") -> Any:
        """A network stub that calls as a service; by default each RPC as one of those that may."""
        return stub(_AsService(self, caller))

    def service_metadata(self, path: str, caller: str = "") -> list[tuple[str, str]]:
        """Metadata by which a service calls an RPC, as `service_stub` does."""
        service, _, rpc = path[1:].partition("/")
        policy = service_policies(service)[rpc]
        caller = caller or min(policy.callers - {EVERY_SERVICE}, default="market")
        return [("x-redfire-service", service_token(caller, policy.service))]

    async def rows(self, service: str, query: Any) -> Sequence[Any]:
        """Rows of a service's database, wherever it is, as they are now."""
        base = import_module(f"services.{service}.models").Base
        repositories = self.host.resources.database(service, base).repositories(lambda session: session)
        async with repositories.read() as session:
            return (await session.execute(query)).all()

    def identity(self, user_id: str = "", role: str = "trader", **claims: Any) -> User:
        """A user that only exists in a token: for services without auth and user."""
        user_id = user_id or new_id()
        return User(self, user_id, self.mint.token(user_id, role, **claims))

    async def user(self, name: str = "", role: str = "") -> User:
        """A registered user with a real login; `role` is set by the database's own rules through an admin token."""
        name = name or "u" + new_id().replace("-", "")[-12:]
        users = self.stub(UserServiceStub)
        made = await users.RegisterUser(
            user_pb2.RegisterUserRequest(username=name, email=f"{name}@example.com", password=PASSWORD)
        )
        if role:
            admin = await self.admin()
            await admin.stub(UserServiceStub).SetUserRole(
                user_pb2.SetUserRoleRequest(user_id=made.user.user_id, role=role)
            )
        login = await self.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=name, password=PASSWORD))
        return User(self, made.user.user_id, login.access_token, name, PASSWORD)

    async def admin(self) -> User:
        """The administrator that the first start makes."""
        password = (self.host.data_dir / "admin-password").read_text().strip()
        login = await self.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username="admin", password=password))
        claims = jwt.decode(login.access_token, options={"verify_signature": False})
        return User(self, claims["sub"], login.access_token, "admin", password)


@asynccontextmanager
async def platform(
    *names: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    fakes: Mapping[str, Any] | None = None,
    data_dir: Path | None = None,
    clock: Clock | None = None,
    keep: bool = False,
    mint: TokenMint | None = None,
) -> AsyncIterator[Platform]:
    """Run services: real ones by name, fakes by name and FakeService, on one loopback server.

    Without auth among them the host trusts `platform.mint`. With `data_dir` (kept) a second run goes on where the
    first stopped. With REDFIRE_TEST_DATABASE=postgresql their databases are on the tests' server;
    REDFIRE_TEST_STREAM_WRITER is market's writer of streams where the settings say nothing.
    """
    folder = Path(data_dir or tempfile.mkdtemp(prefix="redfire-test-"))
    mint = mint or TokenMint()
    mint.clock = clock
    entries = {**registry.SERVICES, **(fakes or {})}
    flags: dict[str, dict[str, Any]] = {
        "platform": {"data_dir": folder},
        "server": {"port": 0, "grace_s": 2},
        "identity": {"edge_secret": SECRET, "keys_dir": service_keys_dir()},
        "strategy": {"sandbox": sandbox.MODE},
        "limits": {"auth_calls_per_minute": 100_000},  # all users of a test log in from one address
    }
    if writer := os.environ.get("REDFIRE_TEST_STREAM_WRITER"):
        flags["market"] = {"stream_writer": writer}
    for section, values in (settings or {}).items():
        flags.setdefault(section, {}).update(values)
    if os.environ.get("REDFIRE_TEST_DATABASE") == "postgresql":
        prefix = hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
        flags.setdefault("database", {}).setdefault("url", shared_server().url(f"p{prefix}_{{name}}_db"))
    loaded = kernel_settings.load(registry.sections(), flags=flags, environ={})
    running = [name for name in entries if name in names or name in (fakes or {})]
    if loaded.of(DatabaseSettings).url.startswith("postgresql"):
        for name in running:
            if name not in (fakes or {}) and name in services_with_database():
                database = database_of(loaded, name)
                await database.migrate()
                await database.close()
    host = Host(entries, running, loaded, clock, None if "auth" in running else mint.keys)
    await host.start()
    started = Platform(host, mint, folder)
    try:
        yield started
    finally:
        for channel in (started.channel, *started.streams.values()):
            await channel.close()
        await host.stop()
        if data_dir is None and not keep:
            shutil.rmtree(folder, ignore_errors=True)


class _AsService:
    """A channel on which services call, each call with a token of its own."""

    def __init__(self, platform: Platform, caller: str) -> None:
        self._platform, self._caller = platform, caller

    def unary_unary(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return self._with(path).unary_unary(path, *args, **kwargs)

    def unary_stream(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return self._with(path).unary_stream(path, *args, **kwargs)

    def _with(self, path: str) -> "_WithMetadata":
        streams = self._platform.streams.get(path.split(".")[1])
        return _WithMetadata(self._platform.channel, self._platform.service_metadata(path, self._caller), streams)


class _WithMetadata:
    """A channel that adds metadata to every call. Streams may have another one."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: list[tuple[str, str]], streams: grpc.aio.Channel | None = None
    ) -> None:
        self._channel, self._streams = channel, streams or channel
        self._metadata = metadata

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, path: str, *args: Any, **kwargs: Any) -> Any:
        channel = self._streams if path in NEVER_SILENT else self._channel
        return self._with(channel.unary_stream(path, *args, **kwargs))

    def _with(self, rpc: Any) -> Any:
        def call(request: Any, *, timeout: float | None = 10, metadata: Sequence[tuple[str, str]] = ()) -> Any:
            return rpc(request, timeout=timeout, metadata=(*self._metadata, *metadata))

        return call
