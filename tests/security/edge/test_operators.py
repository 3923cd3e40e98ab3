"""Health and reflection need no token: endless calls of them take nothing from anybody else."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.mesh.edge.options import RateLimits
from tests.edge.backend import Backend
from tests.security.edge.conftest import StartEdge

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGIN = {"username": "alice", "password": "correct-Horse-9"}


async def status_of(call: grpc.aio.Call) -> grpc.StatusCode:
    return await asyncio.wait_for(call.code(), 60)


async def test_health_is_checked_and_not_watched(start_edge: StartEdge) -> None:
    edge = await start_edge()
    async with grpc.aio.insecure_channel(edge.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="trading")
        assert (await health.Check(request, timeout=10)).status == health_pb2.HealthCheckResponse.SERVING
        watches = [health.Watch(request) for _ in range(50)]
        assert {await status_of(watch) for watch in watches} == {grpc.StatusCode.UNIMPLEMENTED}


async def test_reflection_streams_have_room_of_their_own_alone(backend: Backend, start_edge: StartEdge) -> None:
    edge = await start_edge(operator_calls=3)

    async def asks() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        await asyncio.Event().wait()

    async with (
        grpc.aio.insecure_channel(edge.address) as channel,
        httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=30) as http,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        held = [stub.ServerReflectionInfo(asks()) for _ in range(3)]
        for stream in held:
            assert (await stream.read()).list_services_response.service
        more = [stub.ServerReflectionInfo(asks()) for _ in range(20)]
        # gRPC says INTERNAL where the reset that follows Envoy's refusal is read before it.
        codes = {await status_of(stream) for stream in more}
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        assert codes <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL}
        assert (await http.post("/api/users/login", json=LOGIN)).status_code == 200
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert (await check).status == health_pb2.HealthCheckResponse.SERVING
        for stream in held:
            stream.cancel()


async def test_a_reflection_stream_ends_by_itself(start_edge: StartEdge) -> None:
    edge = await start_edge(operator_stream_s=1)

    async def asks_again_and_again() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while True:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            await asyncio.sleep(0.1)

    async with grpc.aio.insecure_channel(edge.address) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asks_again_and_again())
        assert (await stream.read()).list_services_response.service
        assert await status_of(stream) is not grpc.StatusCode.OK


async def test_an_address_has_a_quota_of_them(start_edge: StartEdge) -> None:
    edge = await start_edge(rate_limits=RateLimits(operators=5))
    async with (
        grpc.aio.insecure_channel(edge.address) as channel,
        httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=30) as http,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        codes = [await status_of(health.Check(health_pb2.HealthCheckRequest(), timeout=10)) for _ in range(8)]
        assert codes == 5 * [grpc.StatusCode.OK] + 3 * [grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert (await http.post("/api/users/login", json=LOGIN)).status_code == 200
