"""The platform that runs on a data folder, as `redfire verify` calls it: RPCs whose callers have it."""

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

from services.commands.data_folder import read_addresses
from services.kernel.errors import StartError
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import descriptor_set
from services.kernel.rpc.channels import KEEPALIVE_OPTIONS, NetworkChannel
from services.kernel.runtime.host import service_tokens
from services.kernel.runtime.settings import Settings

CALLER = "verify"


class RunningPlatform:
    """Engine and trading by their addresses."""

    def __init__(self, addresses: dict[str, Any], tokens: ServiceTokens) -> None:
        self._tokens = tokens
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
    """The platform that runs on the folder; None where none does. Raises StartError when it can have no key."""
    try:
        addresses = read_addresses(data_dir)
    except StartError:
        return None
    if not _is_alive(addresses.get("pid", 0)) or not addresses.get("services", {}).get("engine"):
        return None  # what was killed left its addresses
    tokens = service_tokens(loaded)
    tokens.own.of(CALLER)
    return RunningPlatform(addresses, tokens)


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
