"""The lease by which one replica records, and another one takes over without a loss."""

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.data.database import Database
from services.market.models import Base
from tests.market.fake_engine import FakeEngine
from tests.market.replica_processes import Replica, end_of, has, replicas
from tests.market.running_market import read_ticks
from tests.market.ticks import SYMBOL, tick
from tests.postgres import PostgresServer, shared_server
from tests.waiting import until

pytestmark = pytest.mark.slow
_databases = count(1)
PART = 250
LEASE = "SELECT owner, address FROM named_leases WHERE name = 'recorder' AND owner <> '' AND expires_at > now()"


@dataclass
class Pair:
    """Two replicas, their engine, and the ticks that it sent."""

    replicas: dict[str, Replica]
    engine: FakeEngine
    server: PostgresServer
    database: str
    folder: Path
    sent: list[pb.Tick]

    def lease(self) -> tuple[str, str] | None:
        """The run and the address of the holder."""
        row = self.server.sql(LEASE, self.database).strip()
        return tuple(row.split("|")) if row else None  # type: ignore[return-value]

    async def holder(self, other_than: str = "") -> Replica:
        """The replica that records, another run than one."""
        held = await until(lambda: (lease := self.lease()) and lease[0] != other_than and lease, timeout_s=240)
        return self.replicas[held[1]]

    def other(self, replica: Replica) -> Replica:
        return next(one for one in self.replicas.values() if one is not replica)

    def send(self) -> None:
        first = len(self.sent) + 1
        new = [tick(number) for number in range(first, first + PART)]
        self.sent += new
        self.engine.send(*new)

    async def whole(self) -> None:
        """Wait until both have recorded exactly what was sent, and the same bars."""
        for replica in self.replicas.values():
            await until(lambda replica=replica: _quietly(has(replica, self.sent)), timeout_s=240)  # type: ignore[misc]
        first, second = self.replicas.values()
        assert await first.bars() == await second.bars()


async def _quietly(answer) -> bool:
    """An answer; false while there is none."""
    try:
        return bool(await answer)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        return False


@asynccontextmanager
async def _pair(folder: Path) -> AsyncIterator[Pair]:
    server = shared_server()
    name = f"lease{next(_databases)}_market_db"
    url = server.url(name.replace("market", "{name}"))
    database = Database(url.replace("{name}", "market"), Base)
    await database.migrate()
    await database.close()
    engine = FakeEngine()
    async with replicas(folder, engine, "", REDFIRE_DATABASE__URL=url) as both:
        yield Pair({one.address: one for one in both}, engine, server, name, folder, [])


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with _pair(tmp_path) as pair:
        yield pair


@pytest.mark.parametrize("kill", [True, False], ids=["kill-9", "orderly stop"])
async def test_another_replica_goes_on_recording_and_no_tick_is_lost_or_twice(pair: Pair, kill: bool) -> None:
    holder, before = await pair.holder(), pair.lease()
    assert before is not None
    other = pair.other(holder)
    pair.send()
    await pair.whole()
    ticks = await other.stream(after=PART)
    bars, _ = await _bars(other)
    ended = time.monotonic()
    holder.signal(signal.SIGKILL if kill else signal.SIGTERM)
    assert await end_of(bars) == "RECORDER_UNAVAILABLE"
    pair.send()
    assert await read_ticks(ticks, PART) == list(range(PART + 1, 2 * PART + 1))
    assert await pair.holder(before[0]) is other
    bars, streamed = await _bars(other)
    print(f"bars are back after {time.monotonic() - ended:.2f} s")
    await holder.end(kill=kill)
    await holder.start()
    pair.send()
    await pair.whole()
    recorded = await other.bars()
    while not streamed or streamed[-1] != recorded[-1]:
        streamed += (await bars.read()).bars
    assert streamed == recorded[-len(streamed) :]
    assert sum(bar.volume for bar in recorded) == 120 * len(recorded) - 1


async def test_a_holder_that_stood_still_writes_nothing_any_more(pair: Pair) -> None:
    holder, before = await pair.holder(), pair.lease()
    assert before is not None
    other = pair.other(holder)
    pair.send()
    await pair.whole()
    holder.signal(signal.SIGSTOP)
    pair.send()
    assert await pair.holder(before[0]) is other
    await until(lambda: _quietly(has(other, pair.sent)), timeout_s=240)
    (holding,) = _holders(pair.folder)
    holder.signal(signal.SIGCONT)
    # It has come back once it answers by what the other one records; in between it would have written.
    await until(lambda: _quietly(has(holder, pair.sent)), timeout_s=240)
    assert _holders(pair.folder) == [holding]
    pair.send()
    await pair.whole()
    lease = pair.lease()
    assert lease is not None and lease[1] == other.address


async def test_the_state_of_recording_goes_on_where_all_replicas_were_killed(pair: Pair) -> None:
    pair.send()
    await pair.whole()
    for replica in pair.replicas.values():
        await replica.end(kill=True)
    for replica in pair.replicas.values():
        await replica.start()
    pair.send()
    await pair.whole()
    # A client resumes from before, at whichever: the log fills both replicas' memory.
    for replica in pair.replicas.values():
        stream = await replica.stream(after=PART - 10)
        assert await read_ticks(stream, PART + 10) == list(range(PART - 9, 2 * PART + 1))
        stream.cancel()


async def _bars(replica: Replica):
    """An open stream of bars, as soon as there is one, and the bars with which it began: some may close meanwhile."""

    async def opened():
        request = pb.StreamBarsRequest(symbols=[SYMBOL], heartbeat_interval={"seconds": 1})
        call = replica.call("StreamBars", request)
        try:
            first = await call.read()
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            return None
        return call, list(first.bars)

    return await until(opened, timeout_s=240, step_s=0.02)


def _holders(folder: Path) -> list[Path]:
    return sorted((folder / "market").glob("holder-*"))
