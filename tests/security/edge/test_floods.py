"""Floods in the numbers that once shut the edge, from one address, while another one logs in. Only in `make floods`.

Each prints what it took. One process floods by bare sockets: what it costs is little beside what it asks of the edge.
"""

import asyncio
import contextlib
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from hpack import Encoder, NeverIndexedHeaderTuple

from services.mesh.edge.options import RateLimits
from services.mesh.envoy import EnvoyProcess
from tests.machine import lacks
from tests.security.edge.conftest import StartEdge
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.floods, pytest.mark.timeout(600)]

FLOOD, OTHER = "127.0.0.3", "127.0.0.2"
SILENT, STREAMS, CONNECTIONS = 16_400, 20_000, 20
LOGIN = {"username": "alice", "password": "correct-Horse-9"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
END_STREAM, END_HEADERS = 1, 4
HEADERS, RST_STREAM, GOAWAY = 1, 3, 7


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """As many open files as there are connections, here and for Envoy, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SILENT + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        lacks(f"{wanted} open files; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def log_in(edge: EnvoyProcess) -> float:
    """Seconds that a login from the other address took. Raises for one that failed."""
    transport = httpx.AsyncHTTPTransport(local_address=OTHER)
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", transport=transport, timeout=300) as http:
        begun = time.perf_counter()
        (await http.post("/api/users/login", json=LOGIN)).raise_for_status()
        return time.perf_counter() - begun


@contextlib.asynccontextmanager
async def logging_in(edge: EnvoyProcess) -> AsyncIterator[list[float]]:
    """Logs in again and again meanwhile; the list has what each took."""
    took: list[float] = []

    async def again_and_again() -> None:
        while True:
            took.append(await log_in(edge))

    task = asyncio.create_task(again_and_again())
    try:
        yield took
        seen = len(took)
        await until(lambda: len(took) > seen or task.done(), 60)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_silent_connections(start_edge: StartEdge, capsys: pytest.CaptureFixture[str]) -> None:
    edge = await start_edge(rate_limits=RateLimits(auth=1_000_000), process={"unlimited_sources": ["127.0.0.1/32"]})
    host, _, port = edge.address.rpartition(":")
    held: list[socket.socket] = []
    begun = time.perf_counter()
    try:
        for number in range(SILENT):
            one = socket.socket()
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            one.bind((FLOOD, 0))
            one.connect_ex((host, int(port)))
            held.append(one)
            if number % 200 == 0:
                await asyncio.sleep(0)
        opened_s = time.perf_counter() - begun
        served: list[float] = []

        async def is_served() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                served.append(await log_in(edge))
            return bool(served)

        await until(is_served, 120)
        served_s = time.perf_counter() - begun
        async with logging_in(edge) as took:
            await until(lambda: len(took) >= 20, 120)
    finally:
        for one in held:
            one.close()
    tell(capsys, f"{SILENT} silent connections in {opened_s:.1f} s; first login after {served_s:.1f} s", took)


@pytest.mark.parametrize(
    "path",
    ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
    ids=["watch", "reflection"],
)
async def test_streams(start_edge: StartEdge, capsys: pytest.CaptureFixture[str], path: str) -> None:
    edge = await start_edge(rate_limits=RateLimits(auth=1_000_000), process={"unlimited_sources": ["127.0.0.1/32"]})
    await log_in(edge)
    begun = time.perf_counter()
    ended: list[int] = []
    waited: list[int] = []  # streams that were answered while a login waited
    flood = asyncio.gather(*(open_streams(edge, path, STREAMS // CONNECTIONS, ended) for _ in range(CONNECTIONS)))
    async with logging_in(edge) as took:
        while not flood.done():
            before, logins = len(ended), len(took)
            await until(lambda: len(took) > logins or flood.done(), 300)
            waited.append(len(ended) - before)
        await flood
        flooded_s = time.perf_counter() - begun
    # None is held but for the few that reflection has room for.
    assert len(ended) >= STREAMS - edge.options.operator_calls
    told = f"{STREAMS} streams of {path} in {flooded_s:.1f} s, {len(ended)} of them ended at once"
    tell(capsys, f"{told}; at most {max(waited)} while one login waited", took)


async def open_streams(edge: EnvoyProcess, path: str, count: int, all_ended: list[int]) -> None:
    """Open so many streams on one connection that ask for nothing and stay open; adds those that the edge ended."""
    host, _, port = edge.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(FLOOD, 0))
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    block = Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields])
    writer.write(PREFACE)
    for number in range(count):
        head = struct.pack(">I", len(block))[1:] + bytes((HEADERS, END_HEADERS)) + struct.pack(">I", 2 * number + 1)
        writer.write(head + block)
        if number % 100 == 0:
            await writer.drain()
    ended: set[int] = set()
    try:
        # Until nothing more ends: what is held sends nothing.
        while len(ended) < count:
            async with asyncio.timeout(60):
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            if kind == GOAWAY:
                raise ConnectionResetError  # a client that takes no answers: all its streams end with it
            if (kind == RST_STREAM or (kind in (0, HEADERS) and flags & END_STREAM)) and stream not in ended:
                ended.add(stream)
                all_ended.append(stream)
    except TimeoutError:
        pass
    except (asyncio.IncompleteReadError, ConnectionError):
        all_ended += set(range(1, 2 * count, 2)) - ended
    finally:
        writer.close()


def tell(capsys: pytest.CaptureFixture[str], what: str, took: list[float]) -> None:
    ordered = sorted(took)
    middle, longest = ordered[len(ordered) // 2], ordered[-1]
    with capsys.disabled():
        print(f"\n{what}; {len(took)} logins meanwhile, p50 {middle * 1e3:.0f} ms, longest {longest * 1e3:.0f} ms")
