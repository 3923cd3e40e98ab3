"""The platform that runs on a data folder, as `redfire verify` calls it: as a service, for four RPCs alone."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.trading.v1 import reconciliation_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from services.commands.data_folder import SERVICE_SECRET, read_addresses
from services.kernel.errors import StartError
from services.kernel.identity.identity import ServiceTokens
from services.kernel.policy import descriptor_set
from services.kernel.rpc.channels import KEEPALIVE_OPTIONS, NetworkChannel
from services.kernel.runtime.host import service_secret
from services.kernel.runtime.settings import IdentitySettings, Settings

CALLER = "verify"
RPCS = (
    "/redfire.engine.v1.EngineService/QueryState",
    "/redfire.engine.v1.EngineService/ListGateways",
    "/redfire.trading.v1.OrderService/WatchTrading",
    "/redfire.trading.v1.ReconciliationService/Reconcile",
)


class _Tokens(ServiceTokens):
    """Tokens that are good for these RPCs and no other."""

    def current(self, service: str) -> str:
        """A token for one call."""
        return self.make(service, RPCS)


class RunningPlatform:
    """Engine and trading by their addresses."""

    def __init__(self, addresses: dict[str, Any], secret: str) -> None:
        self._tokens = _Tokens(secret)
        self._open: list[grpc.aio.Channel] = []
        services = addresses.get("services", {})
        self._engine, self._trading = _listed(services.get("engine")), _listed(services.get("trading"))

    def engine(self) -> Any:
        """The engine."""
        return EngineServiceStub(self._channel(self._engine[0], "engine"))

    def trading(self) -> Sequence[Any]:
        """All processes of trading."""
        return [OrderServiceStub(self._channel(address, "trading")) for address in self._trading]

    async def reconcile(self) -> None:
        """Have all processes of trading reconcile with their gateways. Raises what the RPC raises."""
        for address in self._trading:
            stub = ReconciliationServiceStub(self._channel(address, "trading"))
            await stub.Reconcile(reconciliation_service_pb2.ReconcileRequest())

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._open:
            await channel.close()

    def _channel(self, address: str, peer: str) -> NetworkChannel:
        for file in descriptor_set().file:
            if file.package == f"redfire.{peer}.v1" and file.service:
                import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")  # policies are read there
        channel = grpc.aio.insecure_channel(address, options=list(KEEPALIVE_OPTIONS))
        self._open.append(channel)
        return NetworkChannel(channel, self._tokens, CALLER, peer)


def find_platform(data_dir: Path, loaded: Settings) -> RunningPlatform | None:
    """The platform that runs on the folder; None where none does. Raises StartError without the services' secret."""
    try:
        addresses = read_addresses(data_dir)
    except StartError:
        return None
    if not _is_alive(addresses.get("pid", 0)) or not addresses.get("services", {}).get("engine"):
        return None  # what was killed left its addresses
    file = data_dir / SERVICE_SECRET
    identity = loaded.of(IdentitySettings)
    if not identity.service_secret.get_secret_value() and identity.service_secret_file is None and file.exists():
        identity = identity.model_copy(update={"service_secret_file": file})
    return RunningPlatform(addresses, service_secret(identity))


def _listed(addresses: str | list[str] | None) -> list[str]:
    return [addresses] if isinstance(addresses, str) else list(addresses or ())


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
