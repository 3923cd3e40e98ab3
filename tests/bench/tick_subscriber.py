"""A subscriber process of fan_out.py: reads a tick stream of market, checks it, and prints one line of JSON.

Reads batches by the scanner, as our own clients do, or parses them by protobuf, as any other client (`--decode`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc.experimental import ChannelOptions
from redfire.market.v1 import market_pb2 as pb

from services.quant.ticks.variant import variant
from tests.bench.usage import Usage, percentiles

# Saves a thread's wake per message; what a client does that only reads streams.
OPTIONS: tuple[tuple[str, Any], ...] = ((ChannelOptions.SingleThreadedUnaryStream, 1),)
Decode = Callable[[bytes], tuple[Sequence[int], Sequence[float], bytes]]


def by_scanner() -> Decode:
    """Sequences, send times and the control message of a batch."""
    scanner = variant().scanner()

    def decode(data: bytes) -> tuple[Sequence[int], Sequence[float], bytes]:
        batch = scanner.scan(data)
        return batch.column("sequence"), batch.column("pre_close_price"), batch.control

    return decode


def by_protobuf(data: bytes) -> tuple[Sequence[int], Sequence[float], bytes]:
    """The same by parsing it."""
    message = pb.StreamTicksResponse.FromString(data)
    ticks = message.ticks
    return [one.sequence for one in ticks], [one.pre_close_price for one in ticks], b"" if ticks else data


def read(address: str, token: str, symbols: Sequence[str], decode: Decode, options: Sequence[tuple[str, Any]]) -> None:
    """Read until the stream ends."""
    latencies: list[float] = []
    count = lost = messages = 0
    # Of one symbol or more, whose ticks the bench numbers through.
    expected, reason = 0, ""
    usage = Usage()
    with grpc.insecure_channel(address, options=[*OPTIONS, *options]) as channel:
        call = channel.unary_stream(
            "/redfire.market.v1.MarketService/StreamTicks",
            request_serializer=pb.StreamTicksRequest.SerializeToString,
            response_deserializer=None,
        )(pb.StreamTicksRequest(symbols=symbols), metadata=(("authorization", f"Bearer {token}"),))
        for data in call:
            sequences, sent, control = decode(data)
            now = usage.now_ns()
            if len(sequences):
                usage.begin()
                messages += 1
                count += len(sequences)
                first, last = sequences[0], sequences[-1]
                lost += first - expected if expected else 0
                lost += last - first + 1 - len(sequences)
                expected = last + 1
                usage.end()
                latencies += [now - one for one in sent]
            if control:
                message = pb.StreamTicksResponse.FromString(control)
                if message.HasField("end"):
                    reason = message.end.reason
    result = {"n": count, "lost": lost, "messages": messages, "end": reason, **usage.result(count)}
    print(json.dumps({**result, **percentiles(latencies)}), flush=True)


def main() -> None:
    """Parse the command line and read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--symbols", required=True, help="separated by commas")
    parser.add_argument("--decode", choices=("scan", "protobuf"), default="scan")
    parser.add_argument("--option", action="append", default=[], help="NAME=NUMBER of the channel")
    args = parser.parse_args()
    options = [(name, int(value)) for name, _, value in (one.partition("=") for one in args.option)]
    decode = by_scanner() if args.decode == "scan" else by_protobuf
    # Not on the command line, which every user of the machine can read.
    token = sys.stdin.readline().strip()
    read(args.address, token, args.symbols.split(","), decode, options)


if __name__ == "__main__":
    main()
