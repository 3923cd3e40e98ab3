"""grpc.health.v1: the status of each service, sent to watchers when it changes."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.kernel.rpc import telemetry

PERIOD_S = 0.2


class HealthReporter:
    """Publishes the status under each gRPC service's name, each RedFire service's, and the empty one."""

    def __init__(self, waiting_for: Callable[[str], str], services: dict[str, str]) -> None:
        """`waiting_for(service)`: what keeps it from serving, if anything. `services`: gRPC service → RedFire's."""
        self._waiting_for = waiting_for
        self._services = services
        self._servicer = _Servicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def states(self) -> dict[str, str]:
        """Status by RedFire service: SERVING or NOT_SERVING."""
        owners = sorted(set(self._services.values()))
        return {owner: "NOT_SERVING" if self._waiting_for(owner) else "SERVING" for owner in owners}

    async def publish(self) -> None:
        """Publish the present state."""
        states = self.states()
        for owner, state in states.items():
            telemetry.service_up.labels(owner).set(state == "SERVING")
            await self._set(owner, state)
        for name, owner in self._services.items():
            await self._set(name, states[owner])
        await self._set("", "SERVING" if all(s == "SERVING" for s in states.values()) else "NOT_SERVING")

    def end_watches(self) -> None:
        """End what watches, at a stop: gRPC would wait for it as for all calls that run."""
        self._servicer.closed.set()

    async def run(self) -> None:
        """Publish changes of the state until cancelled."""
        while True:
            await self.publish()
            await asyncio.sleep(PERIOD_S)

    async def _set(self, name: str, state: str) -> None:
        await self._servicer.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(state))


class _Servicer(health.aio.HealthServicer):
    """grpc.health.v1, whose watches can be ended: gRPC's own end with their clients."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watch = asyncio.ensure_future(super().Watch(request, context))
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait([watch, closed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            closed.cancel()
            await asyncio.gather(watch, closed, return_exceptions=True)
