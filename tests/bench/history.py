"""Pages of recorded ticks and bars, and what they cost market.

    .venv/bin/python -m tests.bench.history

Makes an archive as a recording of some months leaves it, and serves it by a market service in a process of its own.
Prints CPU in ms for each call, of all threads and processes of market's, the client's left out: cold (files that were
not read since a start, the median of some starts) and warm (the same range read again and again). A call that reads
nothing is there to compare, and the first one of a process, which imports pyarrow. Asserts nothing.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import uvloop
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.quant.archive import layout
from services.quant.archive.layout import BAR_COLUMNS, INCOMPLETE, INTERVALS, TICK_COLUMNS, TICK_LISTS
from services.quant.archive.parquet_files import EPOCH
from tests.market.ticks import SHANGHAI, SYMBOL

FIRST_DAY = date(2026, 8, 3)
SESSION_MINUTES = 240
MINUTE_NS = 60 * 10**9
LAST_CHECKPOINT = 99_999_998
LENGTHS = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240}
"""Minutes of each interval that market makes, but for the day."""


def days(count: int) -> list[date]:
    """So many trading days."""
    following = (FIRST_DAY + timedelta(number) for number in range(2 * count))
    return [day for day in following if day.weekday() < 5][:count]


def write_ticks(folder: Path, day: date, count: int, files: int) -> None:
    """A day's ticks of five levels, as the recorder's checkpoints and compactions leave them."""
    import pyarrow as pa

    archive, number = layout.ticks(folder), int(f"{day:%Y%m%d}")
    opens_ns = _ns(day, 9)
    for file, rows in enumerate(np.array_split(np.arange(count), files), start=1):
        columns: dict[str, Any] = dict.fromkeys(TICK_COLUMNS, 3500.0 + rows % 50)
        columns["time_ns"], columns["sequence"] = opens_ns + rows * (SESSION_MINUTES * MINUTE_NS // count), rows + 1
        columns["trading_day"] = np.full(len(rows), number)
        levels = pa.array(np.tile(np.arange(5.0), len(rows)))
        for name in TICK_LISTS:
            columns[name] = pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1) * 5, pa.int32()), levels)
        columns[EPOCH] = np.ones(len(rows), np.int64)
        archive.write(SYMBOL, number, number % 10**6 * 100 + file, columns)
        archive.compact(SYMBOL, number, 16)
    archive.compact(SYMBOL, number, 1)


def write_bars(folder: Path, day: date, files: int) -> None:
    """A day's bars of all intervals, likewise."""
    archive, number = layout.bars(folder), int(f"{day:%Y%m%d}")
    rows = [
        (INTERVALS[name], _ns(day, 9) + at * MINUTE_NS)
        for at in range(SESSION_MINUTES)
        for name, length in LENGTHS.items()
        if at % length == 0
    ]
    parts = [list(part) for part in np.array_split(np.array(rows), files)]
    parts[-1].append((INTERVALS["1d"], _ns(day, 0)))
    for file, part in enumerate(parts, start=1):
        columns: dict[str, Any] = {name: np.full(len(part), 3500.0) for name in BAR_COLUMNS}
        columns["interval"], columns["start_ns"] = (np.array(column) for column in zip(*part, strict=True))
        columns[INCOMPLETE] = np.zeros(len(part), np.int64)
        columns["checkpoint"] = np.full(len(part), number % 10**6 * 100 + file)
        archive.write(SYMBOL, number, number % 10**6 * 100 + file, columns)
        archive.compact(SYMBOL, number, 16)
    archive.compact(SYMBOL, number, 1)


def _ns(day: date, hour: int) -> int:
    moment = datetime(day.year, day.month, day.day, hour, tzinfo=SHANGHAI)
    return int(moment.timestamp()) * 10**9


async def serve(folder: Path) -> None:
    """Be the market service: print where it listens and a token, and end when stdin is closed."""
    from tests.harness import FakeService, platform
    from tests.market.fake_engine import FakeEngine

    fakes = {"engine": FakeService(lambda context: [FakeEngine()])}
    async with platform("market", fakes=fakes, data_dir=folder) as running:
        print(json.dumps({"address": running.host.address, "token": running.identity().token}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


class Market:
    """The market service's process, and calls to it."""

    def __init__(self, pid: int, stub: Any, token: str) -> None:
        self._pid = pid
        self._token = (("authorization", f"Bearer {token}"),)
        self.stub = stub

    def cpu_s(self) -> float:
        """CPU of the process so far, and of those that it started."""
        children = psutil.Process(self._pid).children(recursive=True)
        # The clock of another process's CPU: MAKE_PROCESS_CPUCLOCK of Linux.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in (self._pid, *(one.pid for one in children)))

    async def call(self, rpc: str, request: Any) -> Any:
        """Call an RPC."""
        return await getattr(self.stub, rpc)(request, metadata=self._token, timeout=30)

    async def pages(self, rpc: str, request: Any, most: int) -> int:
        """Read so many pages; return the number of rows."""
        rows = 0
        for _ in range(most):
            page = await self.call(rpc, request)
            rows += len(page.ticks if rpc == "ListTicks" else page.bars)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        return rows


@contextlib.asynccontextmanager
async def market(folder: Path) -> AsyncIterator[Market]:
    """Start the service in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.history", "--serve", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
    assert process.stdin is not None and process.stdout is not None
    try:
        where = json.loads(await process.stdout.readline())
        async with grpc.aio.insecure_channel(where["address"]) as channel:
            one = Market(process.pid, MarketServiceStub(channel), where["token"])
            while not (await one.call("ListInstruments", pb.ListInstrumentsRequest())).instruments:
                await asyncio.sleep(0.05)
            yield one
    finally:
        process.stdin.close()
        await process.wait()


def cases(made: list[date], tick_day: date) -> dict[str, tuple[int, Callable[[Market], Awaitable[Any]]]]:
    """Cases by name: the number of calls in one round, and the round."""

    def ticks(size: int, pages: int) -> tuple[int, Callable[[Market], Awaitable[Any]]]:
        async def read(one: Market) -> None:
            request = pb.ListTicksRequest(symbol=SYMBOL, page_size=size)
            request.start_time.FromNanoseconds(_ns(tick_day, 10))
            rows = await one.pages("ListTicks", request, pages)
            assert rows == pages * (size or 100), rows

        return pages, read

    def bars(interval: Any, size: int, rows: int) -> tuple[int, Callable[[Market], Awaitable[Any]]]:
        async def read(one: Market) -> None:
            request = pb.ListBarsRequest(symbol=SYMBOL, interval=interval, page_size=size)
            request.start_time.FromNanoseconds(_ns(made[1], 0))
            assert await one.pages("ListBars", request, 1) == rows

        return 1, read

    async def nothing(one: Market) -> None:
        await one.call("GetInstrument", pb.GetInstrumentRequest(symbol=SYMBOL))

    return {
        "GetInstrument": (1, nothing),
        "ListTicks, 1 page of 100": ticks(0, 1),
        "ListTicks, 20 pages of 100": ticks(0, 20),
        "ListTicks, 8 pages of 1000": ticks(1000, 8),
        "ListBars, 60 days": bars(common_pb2.INTERVAL_1D, 60, len(made) - 1),
        "ListBars, 100 minutes": bars(common_pb2.INTERVAL_1M, 0, 100),
    }


async def first_call(one: Market, day: date) -> None:
    """A call that reads what no other one reads."""
    request = pb.ListBarsRequest(symbol=SYMBOL, interval=common_pb2.INTERVAL_5M)
    request.end_time.FromNanoseconds(_ns(day, 12))
    assert await one.pages("ListBars", request, 1)


async def measure(folder: Path, made: list[date], tick_day: date, starts: int, rounds: int) -> None:
    """Print the table."""
    imports: list[float] = []
    for name, (calls, read) in cases(made, tick_day).items():
        cold = []
        for number in range(starts):
            async with market(folder) as one:
                began = one.cpu_s()
                await first_call(one, made[0])
                imports.append(one.cpu_s() - began)
                began = one.cpu_s()
                await read(one)
                cold.append((one.cpu_s() - began) / calls)
                if number:
                    continue
                await read(one)
                warm = []
                for _ in range(5):
                    began = one.cpu_s()
                    for _ in range(max(1, rounds // calls)):
                        await read(one)
                    warm.append((one.cpu_s() - began) / max(1, rounds // calls) / calls)
        figures = (statistics.median(cold), statistics.median(warm), min(warm))
        print(f"{name:32s}" + "".join(f"{figure * 1e3:10.2f}" for figure in figures), flush=True)
    print(f"{'The first call of a process':32s}{statistics.median(imports) * 1e3:10.2f}")


async def run(args: argparse.Namespace) -> None:
    """Make the archive and measure."""
    with tempfile.TemporaryDirectory(prefix="redfire-bench-") as name:
        folder, made = Path(name), days(args.days)
        for day in made:
            write_bars(folder / layout.FOLDER, day, args.files)
        state = {"checkpoint": LAST_CHECKPOINT, "log": LAST_CHECKPOINT}
        (folder / layout.FOLDER / "state.json").write_text(json.dumps(state))
        for day in made[-2:]:
            write_ticks(folder / layout.FOLDER, day, args.ticks, args.files)
        print(f"\n{f'ms of CPU a call, {args.days} days stored':32s}{'cold':>10s}{'warm':>10s}{'best':>10s}")
        await measure(folder, made, made[-2], args.starts, args.rounds)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=61, help="trading days with bars (61)")
    parser.add_argument("--ticks", type=int, default=40_000, help="ticks of a day (40000)")
    parser.add_argument("--files", type=int, default=20, help="checkpoints of a day (20)")
    parser.add_argument("--starts", type=int, default=3, help="starts for the cold figures (3)")
    parser.add_argument("--rounds", type=int, default=200, help="calls for a warm figure (200)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    uvloop.run(serve(args.serve) if args.serve else run(args))


if __name__ == "__main__":
    main()
