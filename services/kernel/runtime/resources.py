"""Resources of one operating-system process that all its services share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import DeclarativeBase

from services.kernel.clock import Clock
from services.kernel.data.backend import PostgresOptions
from services.kernel.data.database import Database
from services.kernel.data.writes import SHARD_LEASES
from services.kernel.events.transport import EventBus, Transport
from services.kernel.identity.revocations import Revocations
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.redis.shared import Messages, NoMessages, NoRedis, Redis
from services.kernel.rpc.channels import Channels
from services.kernel.rpc.client import target
from services.kernel.rpc.server import Handlers
from services.kernel.rpc.telemetry import Tracing
from services.kernel.rpc.tls import PLAIN, PeerTls
from services.kernel.runtime.kernel_sections import (
    DatabaseSettings,
    EventsSettings,
    PeersSettings,
    PlatformSettings,
    RedisSettings,
    ServerSettings,
)
from services.kernel.runtime.lifecycle import Lifecycle
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.runtime.sections import BaseSection
from services.kernel.runtime.settings import Settings
from services.kernel.shards.leases import NAMED_LEASES, Leases, SoleLeases
from services.kernel.shards.ownership import Ownership, SoleOwnership
from services.kernel.tasks import LONGEST_PAUSE_S, Tasks

S = TypeVar("S", bound=BaseSection)


def database_url(settings: Settings, name: str) -> str:
    """The address of a service's database, as the settings say."""
    own = getattr(settings.sections().get(name), "database", None)
    url = (own.url if own is not None else "") or settings.of(DatabaseSettings).url
    folder = settings.of(PlatformSettings).data_dir.absolute()
    # Not str.format: a password may have braces.
    return url.replace("{data_dir}", str(folder)).replace("{name}", name)


def open_database(settings: Settings, name: str, base: type[DeclarativeBase]) -> Database:
    """A service's database, where the settings say that it is."""
    common = settings.of(DatabaseSettings)
    options = PostgresOptions(common.pool_size, common.connect_timeout_s, common.statement_timeout_s)
    return Database(database_url(settings, name), base, options)


class Resources:
    """Settings, time, tasks, databases, and the ways in and out: made once by the host, offered by ServiceContext."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        clock: Clock,
        tasks: Tasks,
        tracing: Tracing,
        service_tokens: ServiceTokens,
        handlers: Handlers,
        channels: Channels,
        revocations: Revocations,
        tls: PeerTls = PLAIN,
    ) -> None:
        """`names` are the services of this process."""
        self.tls = tls
        self.settings = settings
        self.names = names
        self.clock = clock
        self.tasks = tasks
        self.tracing = tracing
        self.service_tokens = service_tokens
        self.handlers = handlers
        self.channels = channels
        self.revocations = revocations
        self.environment = settings.of(PlatformSettings).environment
        self.data_dir: Path = settings.of(PlatformSettings).data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.lifecycle = Lifecycle()
        self.threads = ThreadPoolExecutor(4, thread_name_prefix="blocking")
        self._addresses: Mapping[str, str] = settings.of(PeersSettings).addresses
        self._port = 0
        self.stream_ports: dict[str, int] = {}
        """By service, the port of its own at which it serves streams to the edge; their paths."""
        self.stream_paths: dict[str, Sequence[str]] = {}
        self._databases: dict[str, Database] = {}
        self._shards: dict[str, Ownership] = {}
        self._leases: dict[Database, Leases] = {}
        self._live: dict[tuple[str, type[BaseSection]], LiveSettings[Any]] = {}
        self._background: list[tuple[str, Callable[[], Awaitable[None]], float]] = []
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self.events = self._transport()
        self.redis, self.messages = self._redis()

    def _transport(self) -> Transport:
        url = self.settings.of(EventsSettings).url.get_secret_value()
        if not url:
            return EventBus()
        # Imported only here: it takes a while, and most have no broker.
        from services.kernel.events.rabbitmq import RabbitMq

        broker = RabbitMq(url, f"redfire {' '.join(self.names)}")
        self.lifecycle.reports_failure("events", lambda: broker.failure)
        self.background("kernel.events", broker.run)
        return broker

    def _redis(self) -> tuple[Redis, Messages]:
        settings = self.settings.of(RedisSettings)
        if not settings.url.get_secret_value():
            return NoRedis(), NoMessages()
        # Imported only here: it takes a while, and most have none.
        from services.kernel.redis.client import RedisClient
        from services.kernel.redis.subscriptions import Subscriptions

        redis = RedisClient(
            settings.url.get_secret_value(),
            self.environment,
            f"redfire {' '.join(self.names)}",
            timeout_s=settings.timeout_s,
            pool_size=settings.pool_size,
        )
        messages = Subscriptions(redis)
        self.lifecycle.reports_failure("redis", lambda: redis.failure)
        self.background("kernel.redis", redis.run)
        self.background("kernel.redis.messages", messages.run)
        self._closing.append(redis.close)
        return redis, messages

    async def close(self) -> None:
        """Close what was opened here, the databases aside."""
        for close in self._closing:
            await close()

    @property
    def databases(self) -> Sequence[Database]:
        """Databases of all services."""
        return list(self._databases.values())

    def databases_by_name(self) -> Mapping[str, Database]:
        """Databases by their services."""
        return dict(self._databases)

    def database(self, name: str, base: type[DeclarativeBase], is_required: bool = True) -> Database:
        """A service's database; asked again, the same. A required one is to be writable for the service to serve."""
        if name not in self._databases:
            database = self._databases[name] = open_database(self.settings, name, base)
            self.handlers.recorder.add(name, database)
            if not is_required:
                return database
            self.lifecycle.ready_when(name, "its database to be writable", lambda: database.writable)
        return self._databases[name]

    def shards(self, service: str) -> Ownership:
        """A service's shards; asked again, the same. Replicas share them where they share its database."""
        if service not in self._shards:
            self._shards[service] = self._ownership(self._databases.get(service))
        return self._shards[service]

    def _ownership(self, database: Database | None) -> Ownership:
        if database is None or not database.has_table(SHARD_LEASES):
            return SoleOwnership(lambda: self.address)
        # Imported where it is needed alone: the driver takes a tenth of a second.
        from services.kernel.shards.leased_ownership import LeasedOwnership

        return LeasedOwnership(database.connect, lambda: self.address, self.tasks)

    def leases(self, database: Database) -> Leases:
        """Leases by name in a service's database; asked again, the same."""
        if database not in self._leases:
            self._leases[database] = self._shared_leases(database)
        return self._leases[database]

    def _shared_leases(self, database: Database) -> Leases:
        if not database.has_table(NAMED_LEASES):
            return SoleLeases(lambda: self.address)
        from services.kernel.shards.named_leases import SharedLeases

        return SharedLeases(database.connect, lambda: self.address, self.tasks)

    async def take_shards(self) -> None:
        """Take the shards of this process, once all that loads them is ready."""
        for ownership in self._shards.values():
            await ownership.start()

    async def release_shards(self) -> None:
        """Give up the shards of this process."""
        await asyncio.gather(*(ownership.release() for ownership in self._shards.values()))

    async def release_leases(self) -> None:
        """Give up all other leases, once nothing works by them any more."""
        await asyncio.gather(*(leases.release() for leases in self._leases.values()))

    def live(self, service: str, section: type[S]) -> LiveSettings[S]:
        """The present values of a section."""
        key = (service, section)
        if key not in self._live:
            self._live[key] = LiveSettings(self.settings.of(section))
        return self._live[key]

    def live_by_name(self) -> dict[str, list[LiveSettings[Any]]]:
        """Live settings by the names under which config has their values."""
        by_name: dict[str, list[LiveSettings[Any]]] = {}
        for live in self._live.values():
            for name in live.names:
                by_name.setdefault(name, []).append(live)
        return by_name

    def background(
        self, name: str, run: Callable[[], Awaitable[None]], longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        """Run `run` from start to stop."""
        self._background.append((name, run, longest_pause_s))
        if self.lifecycle.started:
            self.tasks.supervise(name, run, longest_pause_s)

    def start_background(self) -> None:
        """Start what was registered with `background`; once, after the start hooks."""
        for name, run, longest_pause_s in self._background:
            self.tasks.supervise(name, run, longest_pause_s)

    def listen_on(self, port: int) -> None:
        """Note the port on which this process serves gRPC."""
        self._port = port

    @property
    def address(self) -> str:
        """The address at which this process serves gRPC; port 0 before it listens."""
        return f"{self.settings.of(ServerSettings).host}:{self._port}"

    def address_of(self, service: str) -> str:
        """The network address of a service, as a gRPC channel takes it; empty when it is not known."""
        if service in self._addresses:
            return target(self._addresses[service])
        return self.address if service in self.names else ""
