"""Calls that fail with much to say, and the calls of others that share the edge's connection to the services.

The clients here take as little metadata as any does by default: 8 KiB (grpc-java, grpc-go from 1.82, C-core's soft
limit; Node's 64 KiB is far away), and those of `clients` are what programs in Go, Java and Node.js use.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.protobuf import duration_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceServicer, ConfigServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.trading.v1 import order_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.errors import Invalid, NotFound
from services.kernel.identifiers import new_id
from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from services.registry import SERVICES
from tests.edge.answers import error_of, reason_of
from tests.edge.client_programs import COMMANDS, client_in, require
from tests.edge.conftest import edge_before
from tests.harness import FakeService, Platform, User, complete, platform
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALLEST_LIMIT = (("grpc.max_metadata_size", 8192), ("grpc.absolute_max_metadata_size", 8192))
LONG = "测%\n" * 300_000
# Key asked for → the error that the service raises.
ERRORS = {
    "text": lambda: NotFound(message="x" * (1 << 20)),
    "percent-encoded": lambda: NotFound(message=LONG),
    "metadata": lambda: NotFound("config", "key", **{f"key_{i}": "y" * 5000 for i in range(500)}),
    "violations": lambda: violations(300),
    "violation": lambda: Invalid(LONG, field=LONG),
}


def violations(count: int) -> Invalid:
    error = Invalid("; ".join(f"parameter_{i} is unknown" for i in range(count)))
    error.fields = {f"parameters.parameter_{i}": f"there is no parameter_{i} " + "z" * 100 for i in range(count)}
    return error


STREAM = order_service_pb2.StreamOrdersRequest(heartbeat_interval=duration_pb2.Duration(nanos=100_000_000))
BAD_REQUESTS = {
    "symbols": ("/redfire.market.v1.MarketService/StreamTicks", market_pb2.StreamTicksRequest(symbols=["1"] * 900)),
    **{
        key: (
            "/redfire.config.v1.ConfigService/GetConfig",
            config_pb2.GetConfigRequest(environment="development", service_name="risk", key=key),
        )
        for key in ERRORS
    },
}


@complete
class TalkativeConfigs(ConfigServiceServicer):
    """Fails as the key says."""

    async def GetConfig(self, request: config_pb2.GetConfigRequest, call: Any) -> Any:
        raise ERRORS[request.key]()

    async def WatchConfigs(self, request: Any, call: Any) -> AsyncIterator[Any]:
        yield config_pb2.WatchConfigsResponse(snapshot_complete=True)
        await asyncio.Event().wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole() -> AsyncIterator[Platform]:
    fakes = {"config": FakeService(lambda _: [TalkativeConfigs()])}
    async with platform(*SERVICES, fakes=fakes, settings={"engine": {"feed": "sim:7"}}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(
    whole: Platform, contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EnvoyProcess]:
    async with edge_before(whole, contract, tmp_path_factory.mktemp("edge")) as envoy:
        yield envoy


@pytest_asyncio.fixture(loop_scope="module")
async def channel(edge: EnvoyProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(edge.address, options=SMALLEST_LIMIT) as channel:
        yield channel


class Neighbour:
    """A trader with an order stream and a tick stream that both must go on, who places an order now and then."""

    def __init__(self, channel: grpc.aio.Channel, user: User) -> None:
        self.metadata = (("authorization", f"Bearer {user.token}"),)
        self.orders = OrderServiceStub(channel)
        self.market = MarketServiceStub(channel)
        self.received = [0, 0]

    async def listen(self) -> None:
        often = duration_pb2.Duration(nanos=100_000_000)
        streams = (
            self.orders.StreamOrders(
                order_service_pb2.StreamOrdersRequest(heartbeat_interval=often), metadata=self.metadata
            ),
            self.market.StreamTicks(
                market_pb2.StreamTicksRequest(symbols=["rb2701.SHFE"], heartbeat_interval=often),
                metadata=self.metadata,
            ),
        )
        await asyncio.gather(*(self._read(index, stream) for index, stream in enumerate(streams)))

    async def _read(self, index: int, stream: Any) -> None:
        async for _ in stream:
            self.received[index] += 1

    async def create_order(self) -> None:
        request = order_service_pb2.CreateOrderRequest(
            client_order_id=new_id(), symbol="rb2701.SHFE", side=common_pb2.SIDE_BUY,
            type=common_pb2.ORDER_TYPE_MARKET, quantity="1", position_effect=common_pb2.POSITION_EFFECT_OPEN,
        )  # fmt: skip
        await self.orders.CreateOrder(request, metadata=self.metadata, timeout=10)

    async def is_well(self, listening: asyncio.Task[None]) -> None:
        """Both streams bring something new, and an order is taken."""
        before = list(self.received)
        await until(lambda: listening.done() or all(now > old for now, old in zip(self.received, before, strict=True)))
        assert not listening.done(), listening.exception()
        await self.create_order()


@pytest_asyncio.fixture(loop_scope="module")
async def neighbour(whole: Platform, edge: EnvoyProcess) -> AsyncIterator[tuple[Neighbour, asyncio.Task[None]]]:
    # A connection of its own to the edge: what is shared is the edge's connection to the services.
    async with grpc.aio.insecure_channel(edge.address) as channel:
        trader = Neighbour(channel, await whole.user(role="trader"))
        listening = asyncio.create_task(trader.listen())
        await until(lambda: all(trader.received))
        await trader.create_order()
        yield trader, listening
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def size_of(failure: grpc.aio.AioRpcError) -> int:
    """Bytes of trailers as HTTP/2 counts them (RFC 9113 §6.5.2), binary ones at their size in base64."""
    pairs = [*failure.trailing_metadata(), ("grpc-message", failure.details().encode()), ("grpc-status", "0")]
    return sum(32 + len(key) + len(value) * (4 if key.endswith("-bin") else 3) // 3 for key, value in pairs)


@pytest.mark.slow
async def test_hundreds_of_bad_symbols_do_not_end_anothers_streams_and_orders(
    whole: Platform,
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    neighbour: tuple[Neighbour, asyncio.Task[None]],
) -> None:
    user = await whole.user()
    metadata = {"authorization": f"Bearer {user.token}"}
    for count in (300, 500, 900):
        answer = await http.get("/api/market/ticks:stream?" + "symbols=1&" * count, headers=metadata)
        assert answer.status_code == 400
        assert reason_of(answer) == "INVALID_FIELD"
        bad = next(d for d in error_of(answer)["details"] if d["@type"].endswith("BadRequest"))
        assert len(bad["fieldViolations"]) == 20
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            request = market_pb2.StreamTicksRequest(symbols=["1"] * count)
            async for _ in MarketServiceStub(channel).StreamTicks(request, metadata=tuple(metadata.items())):
                pass
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT, failed.value
        assert size_of(failed.value) < 5000
    await neighbour[0].is_well(neighbour[1])


@pytest.mark.slow
@pytest.mark.parametrize("key", ERRORS)
async def test_an_error_with_much_to_say_arrives_and_ends_nobody_elses_calls(
    whole: Platform,
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    neighbour: tuple[Neighbour, asyncio.Task[None]],
    key: str,
) -> None:
    admin = await whole.admin()
    metadata = (("authorization", f"Bearer {admin.token}"), ("x-request-id", "r" * 3000))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ConfigServiceStub(channel).GetConfig(
            config_pb2.GetConfigRequest(environment="development", service_name="risk", key=key), metadata=metadata
        )
    assert failed.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT), failed.value
    assert rpc_status.from_call(failed.value).details
    answer = await http.get(f"/api/config/development/risk/{key}", headers=dict(metadata))
    assert answer.status_code in (400, 404)
    reason_of(answer)
    await neighbour[0].is_well(neighbour[1])


@pytest.mark.slow
async def test_long_request_headers_end_nobody_elses_calls(
    whole: Platform, http: httpx.AsyncClient, neighbour: tuple[Neighbour, asyncio.Task[None]]
) -> None:
    user = await whole.user()
    for size in (7_000, 14_000, 20_000, 31_000):
        for name in ("x-request-id", "user-agent", "traceparent", "x-anything"):
            headers = {"authorization": f"Bearer {user.token}", name: "h" * size}
            answer = await http.get("/api/trading/orders?pageToken=nonsense", headers=headers)
            assert answer.status_code == 400, (name, size, answer.text)
            error_of(answer)
            assert len(answer.headers["x-request-id"]) <= 128
    await neighbour[0].is_well(neighbour[1])


@pytest.mark.slow
@pytest.mark.parametrize("language", COMMANDS)
async def test_a_client_of_another_language_gets_long_errors_and_its_streams_and_calls_go_on(
    whole: Platform, edge: EnvoyProcess, neighbour: tuple[Neighbour, asyncio.Task[None]], language: str
) -> None:
    require(language)
    orders = "/redfire.trading.v1.OrderService/"
    trader, admin = await whole.user(role="trader"), await whole.admin()
    # The client whose messages are refused has a connection of its own, as has the one that must not suffer.
    async with (
        client_in(language, edge.address, trader.token) as other,
        client_in(language, edge.address, admin.token) as client,
    ):
        for one in (other, client):
            assert await one.ask("stream", orders + "StreamOrders", STREAM) == (0, 0)
        for name, (path, request) in BAD_REQUESTS.items():
            code, size = await client.call(path, request)
            assert code in (grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]), (name, code)
            assert 0 < size < 8192, name
            for one in (other, client):
                assert await one.ask("receive") == (0, 0), name
                assert await one.call(orders + "ListOrders", order_service_pb2.ListOrdersRequest()) == (0, 0), name
    await neighbour[0].is_well(neighbour[1])
