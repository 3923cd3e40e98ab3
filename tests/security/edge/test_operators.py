"""Health and reflection need no token: endless calls of them take nothing from anybody else."""

import asyncio
import re
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from redfire.options.v1 import options_pb2

from services.mesh.contract import Contract
from services.mesh.edge.options import RateLimits
from tests.edge.backend import Backend
from tests.security.edge.conftest import StartEdge

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = "google.protobuf.MethodOptions"
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


async def test_reflection_shows_nothing_of_internal_rpcs(backend: Backend, start_edge: StartEdge) -> None:
    edge = await start_edge()
    internal = [rpc for rpc in backend.contract.rpcs if rpc.policy.internal]
    asked = [
        *(rpc.method.full_name for rpc in internal),
        *(rpc.grpc_service for rpc in internal),
        *(rpc.method.input_type.full_name for rpc in internal),
        *(rpc.method.output_type.full_name for rpc in internal),
    ]
    Request = reflection_pb2.ServerReflectionRequest

    async def asks() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield Request(list_services="")
        for symbol in dict.fromkeys(asked):
            yield Request(file_containing_symbol=symbol)
        for file in backend.contract.descriptors.file:
            yield Request(file_by_filename=file.name)
        yield Request(
            file_containing_extension={"containing_type": OPTIONS, "extension_number": options_pb2.method.number}
        )

    listed, files = set(), {}
    async with grpc.aio.insecure_channel(edge.address) as channel:
        async for answer in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asks()):
            listed |= {service.name for service in answer.list_services_response.service}
            for content in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(content)
                files[file.name] = file
    public = {rpc.method.full_name for rpc in backend.contract.edge_rpcs}
    shown = Contract(descriptor_pb2.FileDescriptorSet(file=[files[f.name] for f in backend.contract.descriptors.file]))
    assert {rpc.method.full_name for rpc in shown.rpcs} == public
    ours = {name for name in listed if name.startswith("redfire.")}
    assert ours == {rpc.grpc_service for rpc in backend.contract.edge_rpcs}
    text = b"".join(file.SerializeToString() for file in files.values())
    assert b"ExchangeTokenRequest" not in text
    # Comments still stand at what they are about.
    for rpc in shown.rpcs:
        assert shown.comments[rpc.method.full_name] == backend.contract.comments[rpc.method.full_name]
        kind = rpc.method.input_type.full_name
        assert shown.comments.get(kind) == backend.contract.comments.get(kind)


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


async def test_the_document_states_the_quota_of_logins_that_the_edge_keeps(start_edge: StartEdge) -> None:
    edge = await start_edge(rate_limits=RateLimits())
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=60) as http:
        told = (await http.get("/openapi.json")).json()["paths"]["/api/users/login"]["post"]["description"]
        stated = int(re.findall(r"Quota: (\d+) a minute per client address", told)[0])
        kept = (await http.post("/api/users/login", json=LOGIN)).headers["x-ratelimit-limit"]
    assert kept.split(",")[0] == str(stated)
