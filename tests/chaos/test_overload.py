"""Four times the orders that a platform serves: the rest are refused and told when to come back, and nothing waits."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.enums import OrderType, Side, TimeInForce
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from tests.running import Running, until

SYMBOL = "rb2701.SHFE"
IN_FLIGHT = 32
TIMES = 4
MEASURED_S = 4.0
FLOODED_S = 12.0
WITHOUT_LIMIT = {"REDFIRE_RISK__MAX_ORDERS_PER_SECOND": "1000000"}


@pytest.fixture
def platform(tmp_path) -> Iterator[Running]:
    with Running("--feed", "sim:3", data_dir=tmp_path / "data", env=WITHOUT_LIMIT) as running:
        yield running


class Orders:
    """Orders that end at once, for they are far from the market, and how each was answered."""

    def __init__(self, name: str, channel: grpc.aio.Channel, token: str, price: str) -> None:
        self._stub = OrderServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._price = price
        self._ids = (f"{name}-{number}" for number in count())
        self.answers: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.untold = 0
        """Refusals that did not say when to come back."""

    async def create(self) -> None:
        request = pb.CreateOrderRequest(
            client_order_id=next(self._ids), symbol=SYMBOL, side=Side.BUY, type=OrderType.LIMIT,
            quantity="1", price=self._price, time_in_force=TimeInForce.IOC,
        )  # fmt: skip
        begun = time.perf_counter()
        try:
            await self._stub.CreateOrder(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self.answers[error.code().name] += 1
            status, retry = rpc_status.from_call(error), error_details_pb2.RetryInfo()
            told = status is not None and any(detail.Unpack(retry) for detail in status.details)
            self.untold += not (told and retry.retry_delay.ToTimedelta())
        else:
            self.answers["OK"] += 1
            self.latencies.append(time.perf_counter() - begun)

    def p95_s(self) -> float:
        return sorted(self.latencies)[int(0.95 * len(self.latencies))]

    async def in_turn(self, seconds: float) -> float:
        """Orders a second that are served, with some in flight."""
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < end:
                await self.create()

        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
        return self.answers["OK"] / seconds

    async def at_rate(self, rate: float, seconds: float) -> None:
        """So many a second, whatever is answered."""
        start = time.perf_counter()
        calls = set()
        for number in range(int(rate * seconds)):
            if (early := start + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            calls.add(asyncio.create_task(self.create()))
        await asyncio.gather(*calls)


async def test_what_is_beyond_a_platform_is_refused_at_once_and_the_rest_served(platform):
    trader = platform.register("flood")
    until(lambda: trader.get(f"/api/market/ticks/{SYMBOL}").status_code == 200, 60)
    price = f"{trader.get(f'/api/market/ticks/{SYMBOL}').json()['tick']['limitDown']:g}"
    process = psutil.Process(platform.process.pid)
    async with grpc.aio.insecure_channel(platform.addresses["edge"]) as channel:
        calm = Orders("calm", channel, trader.token, price)
        served = await calm.in_turn(MEASURED_S)
        assert set(calm.answers) == {"OK"}, calm.answers
        before_mb = process.memory_info().rss / 1e6
        flood = Orders("flood", channel, trader.token, price)
        await flood.at_rate(TIMES * served, FLOODED_S)
        after_mb = process.memory_info().rss / 1e6
        print(
            f"{served:.0f} orders/s served with {IN_FLIGHT} in flight, p95 {calm.p95_s() * 1e3:.0f} ms; of "
            f"{TIMES * served:.0f}/s {flood.answers['OK'] / FLOODED_S:.0f}/s served, p95 {flood.p95_s() * 1e3:.0f} ms, "
            f"{dict(flood.answers)}; {before_mb:.0f} MB before, {after_mb:.0f} MB after"
        )
        assert set(flood.answers) == {"OK", "RESOURCE_EXHAUSTED"}, flood.answers
        assert flood.untold == 0
        assert flood.answers["OK"] > served * FLOODED_S / TIMES, "a quarter, on a machine that is busy with others too"
        again = Orders("again", channel, trader.token, price)
        await again.in_turn(1.0)
        assert set(again.answers) == {"OK"}, again.answers
