"""Recording with the real engine: a replay is stored whole, with any listeners, and once, however often it is run."""

import gzip
import itertools
import logging
from pathlib import Path

import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.engine.vnpy import home as vnpy_home
from tests.harness import platform
from tests.market.ticks import SYMBOL
from tests.recorded_days import IF, recorded
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def vnpy_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """vnpy keeps the folder that it was first imported with, which must outlive a test's own."""
    vnpy_home.prepare(tmp_path_factory.mktemp("vnpy"))


async def listed(stub: MarketServiceStub) -> list[pb.Tick]:
    ticks: list[pb.Tick] = []
    request = pb.ListTicksRequest(symbol=SYMBOL, page_size=1000)
    while True:
        page = await stub.ListTicks(request)
        ticks += page.ticks
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return ticks


async def test_a_replay_is_stored_whole_and_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    replay = tmp_path / "days.csv.gz"
    with gzip.open(recorded(IF), "rt") as source, gzip.open(replay, "wt") as part:
        part.writelines(itertools.islice(source, 3001))
    times: list[list[int]] = []
    for _ in range(2):
        caplog.clear()
        settings = {"engine": {"feed": f"replay:{replay}@max"}}
        async with platform("engine", "market", settings=settings, data_dir=tmp_path / "data") as running:
            await until(lambda: "3000 ticks delivered, 3000 stored" in caplog.text, timeout_s=60)
            times.append([one.time_ns for one in await listed(running.identity(role="user").stub(MarketServiceStub))])
    assert len(times[0]) == 3000 and times[0] == times[1]
