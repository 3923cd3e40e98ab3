"""Clients of tick streams, thousands in a process: frames of HTTP/2 and chunks of HTTP/1.1 are counted, not decoded.

A client program would cost more than the service that is measured: gRPC's own in Python takes 100 µs of CPU for a
message. This takes about 5: it writes its requests by hand (RFC 9113, RFC 7541 without compression), gives the widest
windows, and of each message looks at the length and the first byte. Reads commands from stdin and answers each with a
line of JSON: `begin` forgets what was measured so far; after `lose` a stream counts as served when it was opened again;
others only look. Started by tests.bench.streams.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from google.protobuf.duration_pb2 import Duration
from redfire.market.v1 import market_pb2 as pb

from tests.bench.stream_refusal import grpc_retry_s, rest_retry_s

STREAMS_PER_CONNECTION = 100
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WIDEST = 0x7FFFFFFF
TICKS = 0x0A  # of a StreamTicksResponse, the first byte where there are ticks
OPENS_PER_S = 500
RETRY_S = 1.0


class Stream:
    """A stream's counts and times."""

    __slots__ = (
        "ended", "first_at", "gap_s", "last_at", "left", "lost", "messages", "opened_at", "prefix", "request",
        "symbols", "token",
    )  # fmt: skip

    def __init__(self, token: str, symbols: list[str], interval_s: float) -> None:
        self.token, self.symbols = token, symbols
        interval = Duration()
        interval.FromNanoseconds(int(interval_s * 1e9))
        request = pb.StreamTicksRequest(symbols=symbols, mode=pb.DELIVERY_MODE_CONFLATED, min_interval=interval)
        self.request = b"\0" + request.ByteSize().to_bytes(4) + request.SerializeToString()
        """As a message of gRPC."""
        self.opened_at = self.first_at = self.last_at = 0.0
        self.gap_s = 0.0
        self.messages = self.ended = 0
        self.lost = False
        self.open_again()

    def open_again(self) -> None:
        self.prefix = b""
        self.left = 0
        self.lost = False

    def ticks_came(self, now: float) -> None:
        if self.lost:
            return
        self.messages += 1
        if self.last_at:
            self.gap_s = max(self.gap_s, now - self.last_at)
        else:
            self.first_at = now
        self.last_at = now

    def take(self, data: bytes, now: float) -> None:
        """Bytes of gRPC messages: a flag, four bytes of length, the message."""
        position = 0
        while position < len(data):
            if self.left:
                position += self.left
                self.left = max(0, position - len(data))
                continue
            header = self.prefix + data[position : position + 6 - len(self.prefix)]
            position += len(header) - len(self.prefix)
            if len(header) < 6:
                self.prefix = header
                return
            self.prefix = b""
            self.left = int.from_bytes(header[1:5]) - 1
            if header[5] == TICKS:
                self.ticks_came(now)


class Load:
    """All streams of this process."""

    def __init__(self, host: str, port: int, tokens: list[str], interval_s: float) -> None:
        self.host, self.port, self.interval_s = host, port, interval_s
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/redfire.market.v1.MarketService/StreamTicks",
            ":authority": f"{host}:{port}",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        block = b"".join(_literal(name, value) for name, value in headers.items())
        self.headers = {token: block + _literal("authorization", f"Bearer {token}") for token in tokens}
        self.streams: list[Stream] = []
        self.connections = 0
        self.went_wrong: dict[str, int] = {}

    def note(self, what: str) -> None:
        self.went_wrong[what] = self.went_wrong.get(what, 0) + 1

    def begin(self) -> None:
        """Forget what was measured so far."""
        now = time.perf_counter()
        self.went_wrong.clear()
        for stream in self.streams:
            stream.messages, stream.gap_s, stream.ended = 0, 0.0, 0
            stream.last_at = now if stream.last_at else 0.0

    def lose(self) -> None:
        """Note that open streams are about to end: they count as served when they were opened again."""
        self.begin()
        for stream in self.streams:
            stream.lost = True

    def result(self) -> dict[str, Any]:
        now = time.perf_counter()
        served = [stream for stream in self.streams if stream.messages and not stream.lost]
        gaps = sorted(max(stream.gap_s, now - stream.last_at) for stream in served)
        waits = sorted(stream.first_at - stream.opened_at for stream in self.streams if stream.first_at)
        return {
            "streams": len(self.streams),
            "served": len(served),
            "messages": sum(stream.messages for stream in served),
            "longest_gap_s": round(gaps[-1], 3) if gaps else None,
            "gap_p99_s": round(gaps[int(len(gaps) * 0.99)], 3) if gaps else None,
            "first_tick_s": round(waits[-1], 3) if waits else None,
            "ended": sum(stream.ended for stream in self.streams),
            "wrong": self.went_wrong,
            "cpu_s": round(time.process_time(), 2),
        }


class Http2(asyncio.Protocol):
    """One connection of many streams."""

    def __init__(self, load: Load, streams: list[Stream]) -> None:
        self._load = load
        self._waiting = streams
        self._by_id: dict[int, Stream] = {}
        self._next_id = 1
        self._rest = b""
        self._transport: Any = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        settings = b"".join(
            key.to_bytes(2) + value.to_bytes(4) for key, value in ((1, 0), (2, 0), (4, WIDEST))
        )  # no table of headers, no push, the initial window of streams
        window = _frame(8, 0, 0, (WIDEST - 65535).to_bytes(4))
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings) + window)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def open(self, stream: Stream) -> None:
        number = self._next_id
        self._next_id += 2
        self._by_id[number] = stream
        stream.open_again()
        if not stream.opened_at:
            stream.opened_at = time.perf_counter()
        headers, body = self._load.headers[stream.token], stream.request
        self._transport.write(_frame(HEADERS, END_HEADERS, number, headers) + _frame(DATA, END_STREAM, number, body))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        by_id = self._by_id
        while end - position >= 9:
            length = int.from_bytes(data[position : position + 3])
            start = position + 9
            if start + length > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            number = int.from_bytes(data[position + 5 : start])
            position = start + length
            if kind == DATA:
                if (stream := by_id.get(number)) is not None:
                    stream.take(data[start:position], now)
            elif kind == SETTINGS and not flags & ACK:
                self._transport.write(_frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self._transport.write(_frame(PING, ACK, 0, data[start:position]))
            elif kind == GOAWAY:
                self._load.note("GOAWAY")
            if (kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM)) and number in by_id:
                wait_s = grpc_retry_s(data[start:position]) if kind == HEADERS else None
                what = f"RESET {data[position - 1]}" if kind == RESET else "ended"
                self._load.note(what if wait_s is None else "told to come again")
                self._again(by_id.pop(number), wait_s)
        self._rest = data[position:]

    def _again(self, stream: Stream, wait_s: float | None) -> None:
        stream.ended += 1
        loop = asyncio.get_running_loop()
        loop.call_later(pause_s(wait_s), lambda: self.lost.done() or self.open(stream))


class Sse(asyncio.Protocol):
    """One stream over HTTP/1.1, as a browser's EventSource reads it."""

    def __init__(self, load: Load, stream: Stream) -> None:
        self._load, self._stream = load, stream
        self._last = b""
        self._refusal = b""
        self.wait_s: float | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        load, stream = self._load, self._stream
        self._transport = transport
        stream.open_again()
        if not stream.opened_at:
            stream.opened_at = time.perf_counter()
        query = "&".join(f"symbols={symbol}" for symbol in stream.symbols)
        transport.write(
            f"GET /api/market/ticks:stream?{query}&mode=DELIVERY_MODE_CONFLATED&minInterval={load.interval_s:g}s "
            f"HTTP/1.1\r\nhost: {load.host}:{load.port}\r\naccept: text/event-stream\r\n"
            "connection: close\r\n"
            f"authorization: Bearer {stream.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self._refusal or data.startswith(b"HTTP/1.1 429"):
            self._refusal += data
            self.wait_s = rest_retry_s(self._refusal.decode())
            if self.wait_s is not None:
                self._transport.close()
            return
        text = self._last + data
        if b'"ticks":[{' in text:
            self._stream.ticks_came(time.perf_counter())
            self._last = b""
        else:
            self._last = text[-9:]

    def connection_lost(self, error: Exception | None) -> None:
        self._stream.ended += 1
        self._load.note("SSE ended" if self.wait_s is None else "SSE told to come again")
        if not self.lost.done():
            self.lost.set_result(None)


def pause_s(told_s: float | None) -> float:
    """Time before a stream is opened again: as told, or about RETRY_S; not the same for all."""
    return RETRY_S * random.uniform(0.5, 1.5) if told_s is None else told_s * random.uniform(1.0, 1.1)


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + number.to_bytes(4) + payload


def _literal(name: str, value: str) -> bytes:
    """A header that takes part in no table."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    """A string literal without Huffman's code (RFC 7541 §5.2)."""
    data, size = text.encode(), len(text)
    if size < 127:
        return bytes((size,)) + data
    header, size = bytearray((127,)), size - 127
    while size >= 128:
        header.append(size % 128 + 128)
        size //= 128
    header.append(size)
    return bytes(header) + data


async def keep_connection(load: Load, streams: list[Stream], pace_s: float) -> None:
    """A connection and its streams, opened one after the other at first, and all at once whenever it is lost."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, protocol = await loop.create_connection(lambda: Http2(load, streams), load.host, load.port)
        except OSError:
            load.note("refused")
            await asyncio.sleep(pause_s(None))
            continue
        for stream in streams:
            if protocol.lost.done():
                break
            protocol.open(stream)
            if pace_s:
                await asyncio.sleep(pace_s)
        pace_s = 0.0
        await protocol.lost
        load.note("connection lost")
        await asyncio.sleep(RETRY_S * random.uniform(0.0, 1.0))


async def keep_sse(load: Load, stream: Stream) -> None:
    """A stream over a connection of its own, opened again whenever it ends."""
    loop = asyncio.get_running_loop()
    while True:
        wait_s = None
        try:
            _, protocol = await loop.create_connection(lambda: Sse(load, stream), load.host, load.port)
            await protocol.lost
            wait_s = protocol.wait_s
        except OSError:
            load.note("refused")
        await asyncio.sleep(pause_s(wait_s))


async def run(options: argparse.Namespace) -> None:
    """Open the streams, obey stdin."""
    host, _, port = options.address.rpartition(":")
    tokens = options.tokens.read_text().split()
    load = Load(host, int(port), tokens, options.interval)
    chance = random.Random(options.seed)
    symbols = options.symbols.split(",")
    load.streams = [
        Stream(tokens[number % len(tokens)], chance.sample(symbols, options.per_stream), options.interval)
        for number in range(options.streams + options.sse)
    ]
    tasks = []
    connections = range(0, options.streams, STREAMS_PER_CONNECTION)
    pace_s = len(connections) / options.opens_per_s if options.opens_per_s else 0.0
    for first in connections:
        part = load.streams[first : min(first + STREAMS_PER_CONNECTION, options.streams)]
        tasks.append(asyncio.create_task(keep_connection(load, part, pace_s)))
    for stream in load.streams[options.streams :]:
        tasks.append(asyncio.create_task(keep_sse(load, stream)))
        await asyncio.sleep(1 / options.opens_per_s if options.opens_per_s else 0)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        if line == "begin":
            load.begin()
        elif line == "lose":
            load.lose()
        print(json.dumps(load.result()), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="the edge's, host:port")
    parser.add_argument("--tokens", type=Path, required=True, help="a file with a token in each line, taken in turn")
    parser.add_argument("--symbols", required=True, help="joined by commas")
    parser.add_argument("--streams", type=int, default=1000, help="over HTTP/2")
    parser.add_argument("--sse", type=int, default=0, help="over HTTP/1.1")
    parser.add_argument("--per-stream", type=int, default=10, help="symbols of a stream")
    parser.add_argument("--interval", type=float, default=1.0, help="min_interval, seconds")
    parser.add_argument("--opens-per-s", type=float, default=OPENS_PER_S, help="0: all at once")
    parser.add_argument("--seed", type=int, default=1)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
