"""A replay and the market that records it: every row is stored, whichever of the two begins first."""

import asyncio

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.market import metrics
from tests.engine.ctp_fields import RB
from tests.engine.recordings import row, write
from tests.engine.running import CTP
from tests.harness import platform
from tests.waiting import until, until_still

SYMBOL = "IF2101.CFFEX"


async def stored(stub, count) -> list[float]:
    """The last prices of stored ticks, once there are so many."""
    prices: list[float] = []

    async def complete() -> bool:
        prices.clear()
        token = ""
        while True:
            page = await stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL, page_size=1000, page_token=token))
            prices.extend(tick.last_price for tick in page.ticks)
            token = page.next_page_token
            if not token:
                return len(prices) >= count

    await until(complete, 60, 0.2)
    return prices


async def _lists(stub, symbol) -> bool:
    page = await stub.ListInstruments(pb.ListInstrumentsRequest(page_size=1000))
    return any(instrument.symbol == symbol for instrument in page.instruments)


@pytest.mark.slow
async def test_live_ticks_come_to_markets_readers_while_one_of_a_replay_takes_nothing(front, tmp_path):
    rows = 60_000
    file = write(tmp_path / "t.csv", [row(i / 4, 5000 + i % 50) for i in range(rows)])
    gateways = {"CTP": {"module": CTP, "class": "CtpGateway", "setting": {"front": "tcp://front"}}}
    settings = {
        "engine": {"feed": f"replay:{file}@max?start=subscribe", "gateways": gateways, "settle_s": 0.05},
        "market": {"stall_s": 3600},
    }
    async with platform("engine", "market", settings=settings, data_dir=tmp_path / "data") as running:
        user = running.identity(role="user")
        # A connection of its own, whose window does not grow: it would take the whole replay.
        narrow = grpc.aio.insecure_channel(running.host.address, options=[("grpc.http2.bdp_probe", 0)])
        metadata = (("authorization", f"Bearer {user.token}"),)
        stub = user.stub(MarketServiceStub)
        await until(lambda: _lists(stub, RB.vt_symbol), 30)
        live = stub.StreamTicks(pb.StreamTicksRequest(symbols=[RB.vt_symbol]), timeout=600)
        assert (await live.read()).HasField("started")
        slow = MarketServiceStub(narrow).StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]), metadata=metadata)
        assert (await slow.read()).HasField("started")
        prices: list[float] = []

        async def read() -> None:
            while (message := await live.read()) is not grpc.aio.EOF:
                prices.extend(tick.last_price for tick in message.ticks)

        def quoted() -> bool:
            front.quote("rb2701", 9998.0, 9999.0)
            return 9998.0 in prices

        before = metrics.ticks.count
        reading = asyncio.create_task(read())
        try:
            await until(lambda: metrics.ticks.count > before, 60)
            held = await until_still(lambda: metrics.ticks.count, 120)
            assert held - before < rows
            await until(quoted, 60)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        ticks = []
        while len(ticks) < rows:
            ticks += [tick.last_price for tick in (await slow.read()).ticks]
        assert ticks == [5000 + i % 50 for i in range(rows)]
        await narrow.close()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "tail"), [(6000, "@max"), (22, "@max"), (22, "@20"), (4000, "@1000")])
async def test_every_row_of_a_replay_is_stored(tmp_path, rows, tail):
    prices = [5000 + i % 500 for i in range(rows)]
    file = write(tmp_path / "t.csv", [row(i / 2, price) for i, price in enumerate(prices)])
    settings = {"engine": {"feed": f"replay:{file}{tail}"}}
    async with platform("engine", "market", settings=settings, data_dir=tmp_path / "data") as running:
        stub = running.identity(role="user").stub(MarketServiceStub)
        assert await stored(stub, rows) == prices
