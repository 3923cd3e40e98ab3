"""gRPC and gRPC-Web through a real Envoy."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import grpc_reason_of
from tests.edge.backend import Backend
from tests.edge.conftest import options_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def channel(edge: EnvoyProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(edge.address) as channel:
        yield channel


LIST_ORDERS = "/redfire.trading.v1.OrderService/ListOrders"


def bearer(backend: Backend) -> tuple[tuple[str, str], ...]:
    return tuple(backend.bearer().items())


async def test_every_rpc_for_the_outside_is_routed_and_no_other(
    backend: Backend, channel: grpc.aio.Channel, contract: Contract
) -> None:
    for rpc in contract.rpcs:
        request = message_factory.GetMessageClass(rpc.method.input_type)().SerializeToString()
        make = channel.unary_stream if rpc.policy.streams else channel.unary_unary
        call = make(rpc.policy.full_name)(request, metadata=bearer(backend), timeout=5)
        backend.arrived.clear()
        if rpc.policy.streams:
            code = await call.code()
        else:
            code = await call.code()
        if rpc.policy.internal:
            assert code is grpc.StatusCode.UNIMPLEMENTED, rpc.policy.full_name
            assert await reason_of(call) == "UNSUPPORTED"
            assert not backend.arrived
        else:
            assert code is grpc.StatusCode.OK, (rpc.policy.full_name, await call.details())
            assert backend.arrived[-1].rpc == rpc.policy.full_name


async def reason_of(call: Any) -> str:
    """The reason why a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await anext(aiter(call)) if isinstance(call, grpc.aio.UnaryStreamCall) else await call
    return grpc_reason_of(failed.value)


@pytest.mark.parametrize(("expires_s", "reason"), [(None, "UNAUTHENTICATED"), (-60, "TOKEN_EXPIRED")])
async def test_a_refused_token_is_unauthenticated(
    backend: Backend, channel: grpc.aio.Channel, expires_s: int | None, reason: str
) -> None:
    token = "nonsense" if expires_s is None else backend.token(exp=int(time.time()) + expires_s)
    call = channel.unary_unary(LIST_ORDERS)(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=5)
    assert await reason_of(call) == reason
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "{" not in await call.details()


async def test_a_service_that_does_not_answer_is_unavailable_with_a_reason(backend: Backend, tmp_path: Path) -> None:
    options = options_for(backend, services=dict.fromkeys(backend.contract.services, ("127.0.0.1:1",)))
    async with (
        EnvoyProcess(backend.contract, options, tmp_path, concurrency=1) as envoy,
        grpc.aio.insecure_channel(envoy.address) as channel,
    ):
        call = channel.unary_unary(LIST_ORDERS)(b"", metadata=bearer(backend), timeout=5)
        assert await reason_of(call) == "UNAVAILABLE"
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_that_leaves_ends_the_services_stream(backend: Backend, channel: grpc.aio.Channel) -> None:
    left = asyncio.Event()

    async def endless(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield response(ticks=[{"sequence": 1}])
                await asyncio.sleep(0.01)
        finally:
            left.set()

    backend.answers["StreamTicks"] = endless
    call = channel.unary_stream("/redfire.market.v1.MarketService/StreamTicks")(b"", metadata=bearer(backend))
    assert await call.read()
    call.cancel()
    await asyncio.wait_for(left.wait(), 5)


async def test_idempotent_rpcs_are_tried_again_and_others_are_not(backend: Backend, channel: grpc.aio.Channel) -> None:
    async def unavailable(request: Any, context: Any, response: Any) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    for path, tries in (
        ("/redfire.trading.v1.OrderService/GetOrder", 3),
        ("/redfire.trading.v1.AccountService/OpenAccount", 1),
    ):
        backend.answers[path.rpartition("/")[2]] = unavailable
        backend.arrived.clear()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(path)(b"", metadata=bearer(backend), timeout=5)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(backend.arrived) == tries, path


@pytest.mark.parametrize("service", ["", "redfire.trading.v1.OrderService"])
async def test_health_answers_without_a_token(backend: Backend, channel: grpc.aio.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    if service:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND  # our stand-in knows only the whole
    else:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_answers_without_a_token(edge: EnvoyProcess) -> None:
    def services() -> list[str]:
        with grpc.insecure_channel(edge.address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert "redfire.trading.v1.OrderService" in await asyncio.to_thread(services)


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
async def test_grpc_web_calls_from_a_page(backend: Backend, http: httpx.AsyncClient, text: bool) -> None:
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    frame = b"\0\0\0\0\0"
    answer = await http.post(
        "/redfire.trading.v1.OrderService/ListOrders",
        content=base64.b64encode(frame) if text else frame,
        headers=backend.bearer()
        | {"content-type": kind, "accept": kind, "x-grpc-web": "1", "origin": "http://localhost:3000"},
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    body = b"".join(base64.b64decode(part + "=") for part in answer.text.split("=") if part) if text else answer.content
    assert body.startswith(frame)
    assert b"grpc-status:0" in body
