"""The contract at run time: every RPC of `redfire.*` with its policy, read from the descriptors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, resources
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from redfire.options.v1 import options_pb2
from redfire.user.v1 import user_pb2

ROOT = "redfire."
EVERY_SERVICE = "*"
"""Of an RPC's callers: each service of the contract."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """Policy of one RPC (redfire.options.v1.MethodPolicy)."""

    full_name: str  # /redfire.trading.v1.OrderService/CreateOrder
    service: str  # trading
    name: str  # CreateOrder
    public: bool
    permission: str
    internal: bool
    rate_limit: int
    idempotent: bool
    deadline_s: float | None
    audit: bool
    streams: bool
    routing: int  # options_pb2.Routing
    callers: frozenset[str] = frozenset()  # who may call it without a user: EVERY_SERVICE, or names
    delegations: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by caller, the scopes it may ask for
    strategies: int = 0  # options_pb2.StrategyUse

    def admits(self, service: str) -> bool:
        """Test whether a service may call it as itself. Of a helper process, `worker:ID`, the kind counts."""
        if service in self.callers:
            return service != EVERY_SERVICE
        if EVERY_SERVICE in self.callers and service in contract_services():
            return True
        kind, colon, _ = service.partition(":")
        return bool(colon) and kind in self.callers


def policy_of(method: MethodDescriptor) -> MethodPolicy:
    """The policy that a method's descriptor states."""
    stated: options_pb2.MethodPolicy = method.GetOptions().Extensions[options_pb2.method]  # type: ignore[index]
    service = method.containing_service
    return MethodPolicy(
        full_name=f"/{service.full_name}/{method.name}",
        service=service.full_name.split(".")[1],
        name=method.name,
        public=stated.public,
        permission=stated.permission,
        internal=stated.internal,
        rate_limit=stated.rate_limit,
        idempotent=stated.idempotent,
        deadline_s=stated.deadline.ToNanoseconds() / 1e9 if stated.HasField("deadline") else None,
        audit=stated.audit,
        streams=method.server_streaming,
        routing=stated.routing,
        callers=frozenset(stated.callers),
        delegations={one.caller: frozenset(one.scopes) for one in stated.delegations},
        strategies=stated.strategies,
    )


def service_policies(service_full_name: str) -> dict[str, MethodPolicy]:
    """The policies of one gRPC service, by RPC name."""
    if module := _modules().get(service_full_name):
        import_module(module)  # descriptors are known once the generated code is imported
    service = descriptor_pool.Default().FindServiceByName(service_full_name)
    return {method.name: policy_of(method) for method in service.methods}


def policies_of(service: str) -> list[MethodPolicy]:
    """The policies of all RPCs of a RedFire service (`trading`)."""
    return [policy for name in contract_services()[service] for policy in service_policies(name).values()]


def role_grants() -> dict[str, frozenset[str]]:
    """Permissions of each role, as user/v1/user.proto states them, the least first."""
    grants: dict[str, frozenset[str]] = {}
    roles: Iterable[options_pb2.RoleGrant] = user_pb2.DESCRIPTOR.GetOptions().Extensions[options_pb2.role]  # type: ignore[index]
    for role in roles:
        grants[role.name] = frozenset(role.permissions) | (grants[role.includes] if role.includes else frozenset())
    return grants


def descriptor_file() -> Path:
    """The committed descriptor set, with comments: beside the sources, or inside an installed package."""
    for folder in (Path(__file__).resolve().parents[2] / "gen", Path(str(resources.files("redfire"))).parent.parent):
        if (file := folder / "descriptors" / "redfire.binpb").exists():
            return file
    raise FileNotFoundError("gen/descriptors/redfire.binpb: run make gen")


@cache
def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """The whole contract, with comments, dependencies first."""
    return descriptor_pb2.FileDescriptorSet.FromString(descriptor_file().read_bytes())


@cache
def contract_services() -> dict[str, list[str]]:
    """The gRPC services of each package: `{"trading": ["redfire.trading.v1.OrderService", …]}`."""
    services: dict[str, list[str]] = {}
    for file in descriptor_set().file:
        if file.package.startswith(ROOT):
            for service in file.service:
                services.setdefault(file.package.split(".")[1], []).append(f"{file.package}.{service.name}")
    return services


@cache
def _modules() -> dict[str, str]:
    """Generated modules by the gRPC services in them."""
    return {
        f"{file.package}.{service.name}": file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
        for file in descriptor_set().file
        if file.package.startswith(ROOT)
        for service in file.service
    }
