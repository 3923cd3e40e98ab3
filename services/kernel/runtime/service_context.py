"""One service's view of the process that hosts it: what `bind` builds a service with."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import DeclarativeBase

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.events.inbox import Inbox
from services.kernel.events.outbox import Outbox
from services.kernel.identity.revocations import Revocations
from services.kernel.redis.read_cache import CacheRule, ReadCache
from services.kernel.redis.shared import Messages, Redis
from services.kernel.redis.shared_quota import SharedQuota
from services.kernel.rpc.channels import LocalChannel, NetworkChannel
from services.kernel.rpc.telemetry import Tracing
from services.kernel.rpc.tls import PeerTls
from services.kernel.runtime.kernel_sections import PlatformSettings
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.runtime.resources import Resources
from services.kernel.runtime.secret_files import FOLDER, SecretFiles
from services.kernel.runtime.sections import BaseSection, json_schemas
from services.kernel.shards.leases import Leases
from services.kernel.shards.ownership import Ownership
from services.kernel.tasks import LONGEST_PAUSE_S, Tasks

S = TypeVar("S", bound=BaseSection)
T = TypeVar("T")
P = TypeVar("P")


class ServiceContext:
    """The kernel as one service sees it."""

    def __init__(self, resources: Resources, service_name: str) -> None:
        self._resources = resources
        self.service_name = service_name

    @property
    def data_dir(self) -> Path:
        """The folder for what is kept; it exists."""
        return self._resources.data_dir

    @property
    def secrets(self) -> SecretFiles:
        """The secrets that settings refer to."""
        return SecretFiles(self.section(PlatformSettings).secrets_dir or self.data_dir / FOLDER, os.environ)

    @property
    def clock(self) -> Clock:
        """The time."""
        return self._resources.clock

    @property
    def tasks(self) -> Tasks:
        """Tasks that end with the process."""
        return self._resources.tasks

    @property
    def revocations(self) -> Revocations:
        """Sessions and API keys that auth has ended, as far as this process knows."""
        return self._resources.revocations

    @property
    def tracing(self) -> Tracing:
        """Spans of RedFire; none without a collector."""
        return self._resources.tracing

    def section(self, section: type[S]) -> S:
        """Settings as they were at start."""
        return self._resources.settings.of(section)

    def setting(self, section: str, key: str) -> Any:
        """Another service's setting as it was at start, by name: for the few that two services must see alike."""
        return getattr(self._resources.settings.sections()[section], key)

    def live(self, section: type[S]) -> LiveSettings[S]:
        """Settings as they are now: config's values laid over those at start."""
        return self._resources.live(self.service_name, section)

    def live_section(self, section: str) -> LiveSettings[Any]:
        """Another service's settings as they are now, by the section's name."""
        return self._resources.live(section, type(self._resources.settings.sections()[section]))

    def setting_schemas(self) -> dict[str, dict[str, dict[str, Any]]]:
        """JSON schemas of all settings: by section, by key."""
        sections = [type(section) for section in self._resources.settings.sections().values()]
        former = {section.former_section: json_schemas(section) for section in sections if section.former_section}
        return {**former, **{section.section: json_schemas(section) for section in sections}}

    def database(self, name: str, base: type[DeclarativeBase], *, is_required: bool = True) -> Database:
        """The service's own database, its tables made at start; one that is not required may be away afterwards."""
        return self._resources.database(name, base, is_required)

    def shards(self, service: str = "") -> Ownership:
        """Shards of a service that this process serves; without a name its own service's. Asked again, the same.

        The service's database is asked for before. They are taken after the start hooks, and given up when the process
        begins to stop.
        """
        shards = self._resources.shards(service or self.service_name)
        self._resources.handlers.forwarding.share(self.service_name, shards)
        return shards

    def leases(self, database: Database) -> Leases:
        """Leases by name in the service's database, of what only one replica does; asked again, the same."""
        return self._resources.leases(database)

    def outbox(self, database: Database, row: type[DeclarativeBase]) -> Outbox:
        """The service's outbox, published while the process runs; of several replicas by one."""
        leases = self.leases(database)
        outbox = Outbox(self.service_name, database, row, self._resources.events, self._resources.clock, leases)
        self.background("outbox", outbox.run)
        return outbox

    def inbox(self, database: Database, row: type[DeclarativeBase]) -> Inbox:
        """The service's inbox, to subscribe to events of other services by; they are applied while the process runs."""
        inbox = Inbox(self.service_name, database, row, self._resources.events, self._resources.clock)
        self.on_start(inbox.load)
        self.background("inbox", inbox.run)
        return inbox

    @property
    def redis(self) -> Redis:
        """Redis, which the replicas share; the caller does without whenever it does not answer."""
        return self._resources.redis

    @property
    def messages(self) -> Messages:
        """Messages between replicas, which may be lost."""
        return self._resources.messages

    def read_cache(self, rule: CacheRule[T]) -> ReadCache[T]:
        """A cache of the service's database, of which the replicas forget together what one of them writes."""
        cache = ReadCache(rule, self.redis, self.messages, self.tasks, self.clock)
        self.background(f"cache.{rule.name}", cache.run)
        return cache

    def shared_quota(self, name: str) -> SharedQuota:
        """Counts of what the service's callers hold at all of its replicas together."""
        quota = SharedQuota(name, self.redis, self.tasks)
        self.background(f"quota.{name}", quota.run)
        return quota

    def peer(self, stub: Callable[[Any], P]) -> P:
        """A stub of another service: `context.peer(MarketServiceStub)`."""
        return stub(self.channel_to(_service_of(stub)))

    def channel_to(self, service: str) -> LocalChannel | NetworkChannel:
        """The channel that `peer` uses; `raw_stream` yields encoded messages."""
        return self._resources.channels.to(service, self.service_name)

    def channel_at(self, address: str, service: str) -> NetworkChannel:
        """The channel to the replica of a service at this address, as `channel_to` makes it."""
        return self._resources.channels.at(address, service, self.service_name)

    def address_of(self, service: str) -> str:
        """Network address of a service, as a gRPC channel takes it; known once the start hooks run."""
        return self._resources.address_of(service)

    @property
    def peer_tls(self) -> PeerTls:
        """TLS by which a helper process calls services."""
        return self._resources.tls

    def worker_token(self, worker_id: str) -> str:
        """A token in `x-redfire-service` for a process that runs strategies, good for hours."""
        return self._resources.service_tokens.make_for_worker(worker_id)

    def serve(self, servicer: Any) -> None:
        """Serve a generated service's implementation; every RPC of it."""
        self._resources.handlers.add(self.service_name, servicer)

    def serve_streams(self, port: int, paths: Sequence[str]) -> None:
        """Serve these streams, whose servicer answers a SourceStream, also at a port of their own; 0: a free one."""
        self._resources.stream_paths[self.service_name] = paths
        self._resources.stream_ports[self.service_name] = port

    def background(
        self, name: str, run: Callable[[], Awaitable[None]], longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        """Run `run` from start to stop; when it ends it is started again, later each time; what it raises is logged."""
        self._resources.background(f"{self.service_name}.{name}", run, longest_pause_s)

    def on_start(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Run a hook at start, in order of registration, before RPCs are taken from the network."""
        self._resources.lifecycle.on_start(self.service_name, hook)

    def on_drain(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Run a hook when the process begins to stop: end streams properly, take no new work."""
        self._resources.lifecycle.on_drain(self.service_name, hook)

    def on_stop(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Run a hook at the end, in reverse order, with the databases still open."""
        self._resources.lifecycle.on_stop(self.service_name, hook)

    def ready_when(self, name: str, condition: Callable[[], bool]) -> None:
        """The service says NOT_SERVING while the condition is false."""
        self._resources.lifecycle.ready_when(self.service_name, name, condition)

    def reports_failure(self, reason: Callable[[], str]) -> None:
        """While the reason is not empty, /healthz shows it; the service stays SERVING."""
        self._resources.lifecycle.reports_failure(self.service_name, reason)

    async def run_blocking(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run what would block the loop in a small pool of threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._resources.threads, partial(function, *args, **kwargs))


def _service_of(stub: Any) -> str:
    """`redfire.market.v1.market_pb2_grpc.MarketServiceStub` → `market`."""
    return str(stub.__module__).split(".")[1]
