"""Answers to operators and the edge for all processes of a platform together: health, keys, reflection."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.commands.processes.layout import HOST
from services.commands.processes.supervisor import Supervisor
from services.kernel.policy import contract_services
from services.kernel.rpc.client import CHANNEL_OPTIONS, answer, target
from services.kernel.rpc.reflection import add_reflection
from services.kernel.runtime.health import HealthReporter
from services.kernel.runtime.operations import OperationsServer

KEYS_TIMEOUT_S = 2.0


class Operators:
    """The HTTP port of operations, and gRPC's health and reflection, for all services together."""

    def __init__(self, supervisor: Supervisor, metrics_token: str) -> None:
        self._supervisor = supervisor
        self._metrics_token = metrics_token
        self._http = OperationsServer(supervisor.health, supervisor.failures, self._keys)
        services = {name: owner for owner in supervisor.addresses for name in contract_services().get(owner, ())}
        self._health = HealthReporter(supervisor.waiting_for, services)
        self._server = grpc.aio.server()
        self._auth = grpc.aio.insecure_channel(target(",".join(supervisor.addresses["auth"])), options=CHANNEL_OPTIONS)
        self._publishing: asyncio.Task[None] | None = None
        self.grpc_address = ""

    @property
    def http_address(self) -> str:
        """The address of /healthz, /metrics, /jwks.json and /openapi.json."""
        return f"{HOST}:{self._http.port}"

    async def start(self) -> None:
        """Listen on free ports of loopback."""
        self._health.add_to(self._server)
        add_reflection(self._server)
        self.grpc_address = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        await self._server.start()
        await self._http.start(HOST, 0, metrics_token=self._metrics_token)
        self._publishing = asyncio.create_task(self._health.run(), name="health of the platform")

    async def publish(self) -> None:
        """Publish the health now, not when it is looked at next."""
        await self._health.publish()

    async def stop(self) -> None:
        """Stop listening."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.gather(self._publishing, return_exceptions=True)
        await self._server.stop(0.5)
        await self._http.stop()
        await self._auth.close()

    async def _keys(self) -> Sequence[Any]:
        request = auth_pb2.GetJwksRequest()
        return (await answer(AuthServiceStub(self._auth).GetJwks(request, timeout=KEYS_TIMEOUT_S))).keys
