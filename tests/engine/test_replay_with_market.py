"""A replay and the market that records it: every row is stored, whichever of the two begins first."""

import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.engine.recordings import row, write
from tests.harness import platform
from tests.waiting import until

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


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "tail"), [(6000, "@max"), (22, "@max"), (22, "@20")])
async def test_every_row_of_a_replay_is_stored(tmp_path, rows, tail):
    prices = [5000 + i % 500 for i in range(rows)]
    file = write(tmp_path / "t.csv", [row(i / 2, price) for i, price in enumerate(prices)])
    settings = {"engine": {"feed": f"replay:{file}{tail}"}}
    async with platform("engine", "market", settings=settings, data_dir=tmp_path / "data") as running:
        stub = running.identity(role="user").stub(MarketServiceStub)
        assert await stored(stub, rows) == prices
