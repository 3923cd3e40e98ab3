"""More calls than a service takes at a time: the edge refuses the rest at once, and says when to come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import error_of, grpc_reason_of, reason_of
from tests.edge.backend import Backend
from tests.edge.conftest import options_for
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_FLIGHT = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(running: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyProcess]:
    options = options_for(running, in_flight=IN_FLIGHT)
    async with EnvoyProcess(running.contract, options, tmp_path_factory.mktemp("edge"), concurrency=1) as envoy:
        yield envoy


@asynccontextmanager
async def busy(backend: Backend, http: httpx.AsyncClient) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """As many calls as the service takes, which end with the block."""
    go_on = asyncio.Event()

    async def wait(_: Any, __: Any, response: Any) -> Any:
        await go_on.wait()
        return response()

    backend.answers["GetAccount"] = wait
    calls = [asyncio.create_task(http.get("/api/trading/account", headers=backend.bearer())) for _ in range(IN_FLIGHT)]
    try:
        await until(lambda: len(backend.arrived) == IN_FLIGHT, 10)
        yield calls
    finally:
        go_on.set()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_calls_beyond_the_limit_are_told_when_to_come_back(backend: Backend, http: httpx.AsyncClient) -> None:
    async with busy(backend, http) as calls:
        for verb, path in (("GET", "/api/trading/orders"), ("POST", "/api/trading/orders")):
            answer = await http.request(verb, path, json={} if verb == "POST" else None, headers=backend.bearer())
            assert (answer.status_code, reason_of(answer)) == (429, "OVERLOADED")
            assert answer.headers["retry-after"] == "1"
            (_, retry) = error_of(answer)["details"]  # type: ignore[misc]
            assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
    assert [call.result().status_code for call in calls] == [200] * IN_FLIGHT
    assert (await http.get("/api/trading/orders", headers=backend.bearer())).status_code == 200
    assert len(backend.arrived) == IN_FLIGHT + 1, "none of those refused arrived"


async def test_grpc_calls_are_told_so_too(backend: Backend, http: httpx.AsyncClient, edge: EnvoyProcess) -> None:
    async with grpc.aio.insecure_channel(edge.address) as channel, busy(backend, http):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            metadata = tuple(backend.bearer().items())
            await OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest(), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert grpc_reason_of(refused.value) == "OVERLOADED"
        retry = error_details_pb2.RetryInfo()
        status = rpc_status.from_call(refused.value)
        assert status is not None and any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.seconds == 1


async def test_other_services_and_streams_do_not_wait_for_them(backend: Backend, http: httpx.AsyncClient) -> None:
    async def stream(_: Any, __: Any, response: Any) -> AsyncIterator[Any]:
        yield response()

    backend.answers["StreamOrders"] = stream
    async with busy(backend, http):
        answer = await http.get("/api/market/instruments", headers=backend.bearer())
        assert answer.status_code == 200
        headers = {**backend.bearer(), "accept": "text/event-stream"}
        async with http.stream("GET", "/api/trading/orders:stream", headers=headers) as streamed:
            assert streamed.status_code == 200
