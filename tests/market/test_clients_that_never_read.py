"""A hundred clients that never read: memory stays flat, each is ended after `stall_s`, a neighbour gets all."""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import psutil
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamReset
from h2.settings import SettingCodes
from redfire.market.v1 import market_pb2 as pb

from tests.market.market_process import SYMBOLS
from tests.waiting import until

PATH = "/redfire.market.v1.MarketService/StreamTicks"
CLIENTS, STALL_S, RATE = 100, 4.0, 2000.0
FLAT_MB = 64  # half a megabyte of each may wait for its socket, and no more
NEIGHBOURS_TICKS = 400  # of one symbol: longer than the others stay


@asynccontextmanager
async def market_process(writer: str, stall_s: float = STALL_S) -> AsyncIterator[tuple[psutil.Process, dict[str, str]]]:
    """A market and its addresses."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.market.market_process", "--writer", writer),
        *("--stall", str(stall_s), "--rate", str(RATE)),
        stdin=pipe,
        stdout=pipe,
    )
    try:
        assert process.stdout is not None
        yield psutil.Process(process.pid), json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    finally:
        process.kill()
        await process.wait()


def never_reading(where: dict[str, str], window: int) -> tuple[socket.socket, H2Connection]:
    """A client that opens a lossless stream and reads nothing. With a large window its socket is what fills up."""
    control = H2Connection(H2Configuration())
    control.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
    control.local_settings.acknowledge()
    control.initiate_connection()
    control.increment_flow_control_window(1 << 30)
    fields = {":method": "POST", ":path": PATH, ":scheme": "http", ":authority": "x", "te": "trailers"}
    fields |= {"content-type": "application/grpc", "authorization": f"Bearer {where['token']}"}
    control.send_headers(1, list(fields.items()))
    request = pb.StreamTicksRequest(symbols=SYMBOLS).SerializeToString()
    control.send_data(1, struct.pack(">BI", 0, len(request)) + request, end_stream=True)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = where["address"].rpartition(":")
    connection.connect((host, int(port)))
    connection.sendall(control.data_to_send())
    return connection, control


def was_reset(connection: socket.socket, control: H2Connection) -> bool:
    """Read what lies there: true when the stream was reset, or the connection."""
    connection.settimeout(5)
    try:
        while data := connection.recv(1 << 20):
            if any(isinstance(event, StreamReset) for event in control.receive_data(data)):
                return True
    except ConnectionResetError:
        return True
    return False


async def read_all(where: dict[str, str]) -> list[int]:
    """The sequences of one symbol that a neighbour reads."""
    sequences: list[int] = []
    async with grpc.aio.insecure_channel(where["address"]) as channel:
        call: Any = channel.unary_stream(PATH, response_deserializer=pb.StreamTicksResponse.FromString)(
            pb.StreamTicksRequest(symbols=SYMBOLS[:1]).SerializeToString(),
            metadata=(("authorization", f"Bearer {where['token']}"),),
        )
        while not sequences or sequences[-1] - sequences[0] < NEIGHBOURS_TICKS:
            sequences += [one.sequence for one in (await call.read()).ticks]
        call.cancel()
    return sequences


@pytest.mark.slow
@pytest.mark.parametrize("window", [0, 1 << 30], ids=["window", "socket"])
async def test_a_hundred_are_ended_memory_is_flat_and_a_neighbour_gets_all(window: int) -> None:
    async with market_process("http2") as (process, where), httpx.AsyncClient() as http:

        async def open_streams() -> float:
            text = (await http.get(f"http://{where['ops']}/metrics")).text
            lines = (line.rpartition(" ") for line in text.splitlines())
            return sum(
                float(value)
                for name, _, value in lines
                if "streams{" in name and "StreamTicks" in name and "MarketService" in name
            )

        neighbour = asyncio.create_task(read_all(where))
        clients = [never_reading(where, window) for _ in range(CLIENTS)]
        try:

            async def all_open() -> bool:
                return await open_streams() >= CLIENTS

            await until(all_open, timeout_s=30)
            before_mb = process.memory_info().rss / 1e6
            highest_mb = before_mb

            async def all_ended() -> bool:
                nonlocal highest_mb
                highest_mb = max(highest_mb, process.memory_info().rss / 1e6)
                return await open_streams() <= 1

            await until(all_ended, timeout_s=60)
            assert highest_mb - before_mb < FLAT_MB, (before_mb, highest_mb)
            if not window:  # what is behind a full socket takes long to come, or is gone with it
                assert all(was_reset(*client) for client in clients)
        finally:
            for connection, _ in clients:
                connection.close()
        async with asyncio.timeout(60):
            sequences = await neighbour
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
