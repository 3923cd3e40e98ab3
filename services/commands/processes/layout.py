"""Layout of a platform in processes: the services of each, how many there are, and what makes them peers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.commands.processes.ports import KeptPort
from services.kernel.errors import StartError
from services.kernel.runtime.host import KERNEL_CALLS
from services.kernel.runtime.kernel_sections import EventsSettings
from services.kernel.runtime.resources import database_url
from services.kernel.runtime.settings import Settings
from services.registry import Service

HOST = "127.0.0.1"
POSTGRESQL = "postgresql+asyncpg://"


@dataclass(slots=True)
class ProcessSpec:
    """A process to run: its name, services and ports, its settings as variables, and more arguments of `serve`."""

    name: str
    services: tuple[str, ...]
    port: KeptPort = field(default_factory=KeptPort)
    operations_port: KeptPort = field(default_factory=KeptPort)
    stream_port: KeptPort | None = None
    variables: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The address at which it serves gRPC."""
        return f"{HOST}:{self.port.number}"

    def close(self) -> None:
        """Give its ports up."""
        for port in (self.port, self.operations_port, self.stream_port):
            if port is not None:
                port.close()


def groups(services: Mapping[str, Service]) -> list[tuple[str, ...]]:
    """Services by the process that they share, in the order of their start."""
    leading = [name for name, service in services.items() if not service.beside]
    return [(name, *(other for other, service in services.items() if service.beside == name)) for name in leading]


def plan(
    services: Mapping[str, Service], replicas: int, common: Mapping[str, str], arguments: Sequence[str] = ()
) -> list[ProcessSpec]:
    """The processes of a platform; each knows the addresses of the others. `common` are settings of all."""
    specs = []
    for group in groups(services):
        count = replicas if services[group[0]].replicated else 1
        names = [group[0]] if count == 1 else [f"{group[0]}-{number + 1}" for number in range(count)]
        for name in names:
            streams = KeptPort() if "market" in group else None
            specs.append(ProcessSpec(name, group, stream_port=streams, arguments=tuple(arguments)))
    addresses = addresses_of(specs)
    markets = {spec.name: spec.address for spec in specs if "market" in spec.services}
    for spec in specs:
        peers = {name: ",".join(at) for name, at in addresses.items() if name not in spec.services}
        spec.variables = {
            **common,
            "REDFIRE_SERVER__HOST": HOST,
            "REDFIRE_SERVER__PORT": str(spec.port.number),
            "REDFIRE_SERVER__OPS_PORT": str(spec.operations_port.number),
            "REDFIRE_SERVER__REUSE_PORT": "true",
            "REDFIRE_PEERS__ADDRESSES": json.dumps(peers),
        }
        if spec.stream_port is not None:
            spec.variables["REDFIRE_MARKET__STREAM_PORT"] = str(spec.stream_port.number)
        if len(markets) > 1 and "market" in spec.services:
            spec.variables |= {
                "REDFIRE_MARKET__REPLICA": spec.name,
                "REDFIRE_MARKET__REPLICAS": json.dumps(markets),
            }
    return specs


def addresses_of(specs: Sequence[ProcessSpec]) -> dict[str, tuple[str, ...]]:
    """The addresses of each service's replicas."""
    names = dict.fromkeys(name for spec in specs for name in spec.services)
    return {name: tuple(spec.address for spec in specs if name in spec.services) for name in names}


def stream_addresses(specs: Sequence[ProcessSpec]) -> dict[str, tuple[str, ...]]:
    """The addresses of the ports for streams alone, by service."""
    ports = [spec.stream_port for spec in specs if spec.stream_port is not None]
    return {"market": tuple(f"{HOST}:{port.number}" for port in ports)}


def require_shared_stores(
    services: Mapping[str, Service], has_database: Callable[[str], bool], settings: Settings, replicas: int
) -> None:
    """Raises StartError, which names the setting, where processes could not share what they have to."""
    if not settings.of(EventsSettings).url.get_secret_value():
        raise StartError("--processes: events between processes need RabbitMQ: set REDFIRE_EVENTS__URL to amqp://…")
    if replicas == 1:
        return
    files = [
        name
        for name, service in services.items()
        if service.replicated and has_database(name) and not database_url(settings, name).startswith(POSTGRESQL)
    ]
    if files:
        raise StartError(
            f"--replicas {replicas}: replicas of {', '.join(files)} share a database on PostgreSQL: "
            f"set REDFIRE_DATABASE__URL to {POSTGRESQL}USER@HOST/{{name}}_db"
        )


def stop_order(services: Mapping[str, Service], specs: Sequence[ProcessSpec]) -> list[list[ProcessSpec]]:
    """Processes in the order in which they stop: each after those that call it."""
    waves, left = [], list(specs)
    while left:
        wave = [spec for spec in left if not any(_calls(services, other, spec) for other in left if other is not spec)]
        # Those that call each other stop together.
        wave = wave or left
        waves.append(wave)
        left = [spec for spec in left if spec not in wave]
    return waves


def _calls(services: Mapping[str, Service], caller: ProcessSpec, called: ProcessSpec) -> bool:
    if caller.services == called.services:
        return False
    calls = {name for service in caller.services for name in services[service].calls}
    if not KERNEL_CALLS & set(caller.services):
        calls |= KERNEL_CALLS
    return not calls.isdisjoint(called.services)
