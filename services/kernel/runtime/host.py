"""One operating-system process of RedFire: the services it runs and what they share, from start to drained stop."""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from services.kernel.audit_trail.checkpoint import Checkpointer
from services.kernel.audit_trail.recorder import Recorder
from services.kernel.audit_trail.signing import FOLDER as AUDIT_FOLDER
from services.kernel.audit_trail.signing import KEY_FILE, open_key
from services.kernel.clock import Clock
from services.kernel.errors import StartError
from services.kernel.identity.edge_token import EdgeToken
from services.kernel.identity.identity import AccessTokens, Identity, key_revocation_id
from services.kernel.identity.revocations import Revocations
from services.kernel.identity.service_keys import PUBLIC, WORKER_TOKEN_LIFE_S, OwnKeys, TrustedKeys
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import contract_services
from services.kernel.redis.shared_quota import SharedQuota
from services.kernel.rpc import telemetry
from services.kernel.rpc.authorization import Authorizer
from services.kernel.rpc.channels import Channels
from services.kernel.rpc.client import target
from services.kernel.rpc.forwarding import Forwarding
from services.kernel.rpc.reflection import add_reflection
from services.kernel.rpc.server import Handlers, UnknownMethods
from services.kernel.rpc.tls import PeerTls
from services.kernel.rpc.user_limits import UserLimits
from services.kernel.runtime.health import HealthReporter
from services.kernel.runtime.importing import importing
from services.kernel.runtime.kernel_sections import (
    SECRET_BYTES,
    AuditSettings,
    IdentitySettings,
    LimitSettings,
    PeersSettings,
    PlatformSettings,
    ServerSettings,
    TelemetrySettings,
)
from services.kernel.runtime.live_settings import ConfigFollower
from services.kernel.runtime.metrics_token import metrics_token
from services.kernel.runtime.operations import OperationsServer
from services.kernel.runtime.resources import Resources
from services.kernel.runtime.revocation_follower import RevocationFollower
from services.kernel.runtime.sections import Section
from services.kernel.runtime.service_context import ServiceContext
from services.kernel.runtime.settings import Settings
from services.kernel.runtime.tls_settings import peer_tls, server_tls
from services.kernel.tasks import Tasks
from services.kernel.version import VERSION

log = logging.getLogger(__name__)
PROBE_INTERVAL_S = 2.0
KEYS_S = 0.3
# Every service verifies tokens and follows its configuration.
KERNEL_CALLS = frozenset({"auth", "config"})
REVOCATIONS_TIMEOUT_S = 3.0
SERVER_OPTIONS = (
    # The edge takes 32 KiB of headers and adds its own: beyond 8 KiB gRPC would by default refuse calls at random.
    ("grpc.max_metadata_size", 48 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    # Calls that came and are not looked at yet. Beyond 1,000 gRPC would by default refuse some, with CANCELLED and
    # nothing said: after a restart all clients open their streams at once. Services refuse with a reason.
    ("grpc.server.max_pending_requests", 32_768),
    ("grpc.server.max_pending_requests_hard_limit", 65_536),
    ("grpc.server_max_unrequested_time_in_server", 120),  # seconds that one may wait so; 30 by default
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class ServiceEntry(Protocol):
    """A line of the registry: the services that it calls, and its bind."""

    @property
    def calls(self) -> Sequence[str]:
        """The services it calls as itself."""

    def bind(self, name: str, context: ServiceContext) -> None:
        """Build the service."""


class Host:
    """Runs services: `await start()`, then `await stop()`."""

    def __init__(
        self,
        registry: Mapping[str, ServiceEntry],
        names: Sequence[str],
        settings: Settings,
        clock: Clock | None = None,
        fetch_keys: Callable[[], Awaitable[Sequence[Any]]] | None = None,
        tasks: Tasks | None = None,
        migrate: bool = True,
    ) -> None:
        """`fetch_keys` stands in for auth's GetJwks where there is no auth.

        `migrate`: databases in files are brought to this version at start.
        """
        self._migrate = migrate
        self.names = list(names)
        self.settings = settings
        self.tls = peer_tls(settings)
        self.service_tokens = service_tokens(settings)
        self.edge_token = EdgeToken(edge_secret(settings.of(IdentitySettings)))
        self.revocations = Revocations()
        self._fetch_keys = fetch_keys or self._auth_keys
        traced = settings.of(TelemetrySettings)
        authorizer = Authorizer(
            AccessTokens(lambda: self._fetch_keys(), lambda: self.clock.now_ns() / 1e9),
            self.service_tokens,
            self.edge_token,
            self.revocations,
            self._verify_api_key,
        )
        tracing = telemetry.Tracing(traced.otlp_endpoint, traced.sample_ratio)
        self._limits = UserLimits(settings.of(LimitSettings))
        forwarding = Forwarding(self.service_tokens, self.edge_token, self.tls)
        self.handlers = Handlers(authorizer, tracing, forwarding, Recorder(), self._limits)
        self._addresses = settings.of(PeersSettings).addresses
        self.channels = Channels(self.handlers, self.service_tokens, frozenset(names), self._addresses, self.tls)
        self.tasks = tasks or Tasks()
        self.resources = Resources(
            settings,
            self.names,
            clock or Clock(),
            self.tasks,
            tracing,
            self.service_tokens,
            self.handlers,
            self.channels,
            self.revocations,
            self.tls,
        )
        self.lifecycle, self.events = self.resources.lifecycle, self.resources.events
        self.clock, self.data_dir = self.resources.clock, self.resources.data_dir
        self._registry = registry
        self._server: grpc.aio.Server | None = None
        self._listeners: list[Any] = []
        self.operations = OperationsServer(self.health, self.lifecycle.failures, self._fetch_keys_now)
        self._health: HealthReporter | None = None
        self._checkpointer: Checkpointer | None = None

    @property
    def address(self) -> str:
        """The address at which this process serves gRPC."""
        return self.resources.address

    @property
    def stream_addresses(self) -> dict[str, str]:
        """By service, the address at which it serves streams to the edge, where it has one of its own."""
        host = self.settings.of(ServerSettings).host
        return {name: f"{host}:{port}" for name, port in self.resources.stream_ports.items()}

    # From start to stop ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind the services, make their tables, run their start hooks, and listen. Raises StartError."""
        with importing():
            for name in self.names:
                self.service_tokens.own.of(name)
                self._registry[name].bind(name, ServiceContext(self.resources, name))
                self._follow_log_level(name)
        self._refuse_missing()
        where = self.settings.of(ServerSettings)
        self._server = grpc.aio.server(options=(*SERVER_OPTIONS, ("grpc.so_reuseport", int(where.reuse_port))))
        self.handlers.add_to(self._server)
        self._health = HealthReporter(self.lifecycle.waiting_for, self.handlers.services)
        self._health.add_to(self._server)
        add_reflection(self._server)
        self._server.add_generic_rpc_handlers((UnknownMethods(),))
        try:
            self.resources.listen_on(self._add_port(f"{where.host}:{where.port}"))
        except RuntimeError:
            raise StartError(f"port {where.port} on {where.host} is in use") from None
        for database in self.resources.databases:
            await database.start(self._migrate)
        auth = AuthServiceStub(self.channels.to("auth", self.names[0]))
        follower = RevocationFollower(self.revocations, auth, self.resources.messages)
        if "auth" in self.names or "auth" in self._addresses:
            self.revocations.require(self.settings.of(IdentitySettings).revocations_max_age_s)
        self.tasks.supervise("kernel.revocations", follower.run)
        self.tasks.supervise("kernel.identity", self._follow_keys)
        self._follow_config()
        await self.lifecycle.start()
        await self.resources.take_shards()
        await self._know_revocations(follower)
        self.resources.start_background()
        streams = SharedQuota("users", self.resources.redis, self.tasks)
        self._limits.share_streams(streams)
        await self._server.start()
        for name, port in self.resources.stream_ports.items():
            self.resources.stream_ports[name] = await self._listen_for_streams(name, port)
        await self.operations.start(where.host, where.ops_port, where.reuse_port, metrics_token(self.settings))
        self.tasks.supervise("kernel.health", self._health.run)
        self.tasks.supervise("kernel.limits", partial(self._limits.calls.run, self.resources.redis))
        self.tasks.supervise("kernel.limits.streams", streams.run)
        self.tasks.supervise("kernel.databases", self._probe_databases)
        self._checkpointer = self._make_checkpointer()
        if self._checkpointer is not None:
            self.tasks.supervise("kernel.audit", self._checkpointer.run)
        self.tasks.supervise("kernel.loop_lag", _measure_lag)
        for name in self.names:
            telemetry.service_info.labels(name, VERSION).set(1)
        gc.collect()
        gc.freeze()
        # Orders that are kept would otherwise be looked through again and again.
        gc.set_threshold(20_000, 20, 50)

    def _add_port(self, address: str) -> int:
        assert self._server is not None
        if (tls := server_tls(self.settings)) is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, tls.credentials())

    async def _listen_for_streams(self, name: str, port: int) -> int:
        # Imported only here: most processes need none.
        from services.kernel.rpc.http2.listener import StreamListener

        paths = self.resources.stream_paths[name]
        listener = StreamListener({path: self.handlers.by_path[path] for path in paths})
        where = self.settings.of(ServerSettings)
        tls = server_tls(self.settings)
        port = await listener.start(where.host, port, where.reuse_port, tls.context() if tls is not None else None)
        self._listeners.append(listener)
        return port

    async def stop(self) -> None:
        """Take no new work, let running RPCs and streams end properly, stop the services. At most about 9 s."""
        grace_s = self.settings.of(ServerSettings).grace_s
        self.lifecycle.begin_draining()
        if self._health is not None:
            await self._health.publish()
        # What is served until its shard is another's is served as ever, by streams and peers that are still there.
        await self.resources.release_shards()
        await self.lifecycle.drain(grace_s / 2)
        await asyncio.gather(*(listener.stop(grace_s / 2) for listener in self._listeners))
        if self._health is not None:
            self._health.end_watches()
        if self._server is not None:
            await self._server.stop(grace_s / 2)
        await self.tasks.stop()
        await self.lifecycle.stop(grace_s)
        await self.resources.release_leases()
        await self.operations.stop()
        await self.channels.close()
        await self.handlers.forwarding.close()
        await self.resources.close()
        if self._checkpointer is not None:
            await self._checkpointer.close()
        for database in self.resources.databases:
            await database.close()
        self.resources.tracing.close()
        self.resources.threads.shutdown(wait=False, cancel_futures=True)

    async def health(self) -> dict[str, str]:
        """Each service that is served here or has an address: SERVING or NOT_SERVING."""
        states = self._health.states() if self._health is not None else {}
        remote = {name: address for name, address in self._addresses.items() if name not in states}
        answers = await asyncio.gather(*(_remote_health(self.tls, address) for address in remote.values()))
        return {**states, **dict(zip(remote, answers, strict=True))}

    # The kernel's own business with auth and config --------------------------------------------------------------

    async def _auth_keys(self) -> Sequence[Any]:
        stub = AuthServiceStub(self.channels.to("auth", self.names[0]))
        return (await stub.GetJwks(auth_pb2.GetJwksRequest())).keys

    async def _follow_keys(self) -> None:
        """Notice within a second that keys of services were rotated or removed, and that auth is silent."""
        while True:
            await asyncio.sleep(KEYS_S)
            try:
                removed = self.service_tokens.refresh()
            except (OSError, ValueError, KeyError, TypeError, StartError) as error:
                # The keys in memory stay in use. Only the error's type is logged: its text may quote a file.
                log.error("the keys of services cannot be read: %s", type(error).__name__)
                continue
            for kid in removed:
                self.revocations.add(key_revocation_id(kid), time.time() + WORKER_TOKEN_LIFE_S)
            self.revocations.end_unsure()

    async def _probe_databases(self) -> None:
        """Find out which databases can be written: a service whose cannot is not SERVING."""
        while True:
            await asyncio.gather(*(database.probe() for database in self.resources.databases))
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _make_checkpointer(self) -> Checkpointer | None:
        if not self.resources.databases:
            return None
        folder = self.data_dir / AUDIT_FOLDER
        chosen = self.settings.of(AuditSettings)
        key = open_key(chosen.signing_key_file or folder / KEY_FILE)
        by_name = self.resources.databases_by_name
        return Checkpointer(by_name, key, folder, chosen.checkpoint_records, chosen.checkpoint_interval_s)

    async def _fetch_keys_now(self) -> Sequence[Any]:
        return await self._fetch_keys()

    async def _verify_api_key(self, secret: str, client_address: str) -> Identity:
        stub = AuthServiceStub(self.channels.to("auth", self.names[0]))
        key = await stub.VerifyApiKey(auth_pb2.VerifyApiKeyRequest(secret=secret, client_address=client_address))
        expires = key.expire_time.ToNanoseconds() / 1e9 if key.HasField("expire_time") else float("inf")
        return Identity(
            kind="user",
            user_id=key.user_id,
            role=key.role,
            permissions=frozenset(key.scopes),
            api_key_id=key.api_key_id,
            expires_at=expires,
        )

    async def _know_revocations(self, follower: RevocationFollower) -> None:
        """Refuse tokens of ended sessions from the first call on; without auth the start does not wait for long."""
        if "auth" not in self.names and "auth" not in self._addresses:
            return
        if not await follower.known(REVOCATIONS_TIMEOUT_S):
            log.warning("auth sends no revocations yet: users are refused until it does")

    def _follow_config(self) -> None:
        if "config" not in self.names and "config" not in self._addresses:
            return
        stub = ConfigServiceStub(self.channels.to("config", self.names[0]))
        for section_name, live in self.resources.live_by_name().items():
            follower = ConfigFollower(stub, self.resources.environment, section_name, live)
            self.tasks.supervise(f"kernel.config.{section_name}", follower.run)

    def _follow_log_level(self, name: str) -> None:
        """`telemetry.log_level` is everybody's level, a service's own `log_level` its own."""
        everybody = self.resources.live("kernel", TelemetrySettings)
        everybody.on_change(partial(_set_level, logging.getLogger("services")))
        for section_name, section in self.settings.sections().items():
            if isinstance(section, Section) and type(section).__module__.split(".")[1:2] == [name]:
                own = self.resources.live(name, type(section))
                logger = logging.getLogger(f"services.{name}")
                if own.value.log_level != "INFO":
                    logger.setLevel(own.value.log_level)
                own.on_change(partial(_set_level, logger))
                log.debug("%s reads section %s", name, section_name)

    def _refuse_missing(self) -> None:
        for name in self.names:
            missing = set(contract_services().get(name, ())) - set(self.handlers.services)
            if missing:
                raise ValueError(f"{name} does not serve {', '.join(sorted(missing))}")


def service_tokens(settings: Settings) -> ServiceTokens:
    """Tokens by the keys that the settings name."""
    identity = settings.of(IdentitySettings)
    keys_dir = identity.keys_dir or settings.of(PlatformSettings).data_dir / "identity"
    trust_dir = identity.trust_dir or keys_dir / PUBLIC
    return ServiceTokens(OwnKeys(keys_dir.absolute(), trust_dir.absolute()), TrustedKeys(trust_dir.absolute()))


def edge_secret(identity: IdentitySettings) -> str:
    """The secret that the settings state or whose file they name; empty where they do not. Raises StartError."""
    secret = identity.edge_secret.get_secret_value()
    if not secret and identity.edge_secret_file is not None:
        try:
            secret = identity.edge_secret_file.read_text().strip()
        except OSError as error:
            raise StartError(f"identity.edge_secret_file: {error}") from None
        if len(secret.encode()) < SECRET_BYTES:
            raise StartError(f"identity.edge_secret_file: a secret of at least {SECRET_BYTES} bytes is needed")
    return secret


async def _remote_health(tls: PeerTls, address: str) -> str:
    async with tls.channel(target(address)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=1)
        except grpc.aio.AioRpcError:
            return "NOT_SERVING"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _set_level(logger: logging.Logger, section: Section | TelemetrySettings) -> None:
    logger.setLevel(section.log_level)
    logger.debug("log lines from here on: %s and above", section.log_level)


async def _measure_lag() -> None:
    """Export how late the loop is; costs 0.4 % of a core and is worth it."""
    while True:
        asked = time.perf_counter()
        await asyncio.sleep(0.05)
        telemetry.loop_lag.observe(max(0.0, time.perf_counter() - asked - 0.05))
