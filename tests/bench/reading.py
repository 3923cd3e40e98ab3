"""Reading from a running platform: ListOrders of one page and GetAccount, beside bare gRPC echoes of the same size.

    .venv/bin/python -m tests.bench.reading

Starts `redfire up` in a temporary folder and sends some orders. Then, in turns that repeat: an echo whose answers have
the size of the RPC's, and the RPC, in a closed loop. Neither client makes objects of the answers' bytes. Prints the
medians of the rates, their ratio, and the CPU of `redfire up` for each call, less what it takes without any (all
threads, its feed included). `--changing N` has the user send so many orders a second meanwhile. Asserts nothing.
"""

import argparse
import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import aiohttp
import grpc
import uvloop
from google.protobuf.message import Message
from redfire.trading.v1 import account_service_pb2, order_service_pb2

from tests.bench.order_path import ECHO, REST_S, ROOT, Call, Platform, closed_loop, trader

CREATE = "/redfire.trading.v1.OrderService/CreateOrder"
READS: dict[str, tuple[str, Message]] = {
    "ListOrders (a page of 100)": (
        "/redfire.trading.v1.OrderService/ListOrders",
        order_service_pb2.ListOrdersRequest(),
    ),
    "ListOrders (a page of 20)": (
        "/redfire.trading.v1.OrderService/ListOrders",
        order_service_pb2.ListOrdersRequest(page_size=20),
    ),
    "GetAccount": ("/redfire.trading.v1.AccountService/GetAccount", account_service_pb2.GetAccountRequest()),
}


async def serve_echo() -> None:
    """A server that answers as many bytes as its request says; prints its port on stdout."""
    answers: dict[bytes, bytes] = {}

    async def echo(request: bytes, context: object) -> bytes:
        answer = answers.get(request)
        if answer is None:
            answer = answers[request] = b"x" * int(request)
        return answer

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


async def compare(
    name: str, call: Call, echo: Call, options: argparse.Namespace, cpu_s: Callable[[], float], rest: float
) -> None:
    """One line: rates of both in turns, and the CPU of the platform for each call."""
    for _ in range(100):
        await call()
        await echo()
    calls, echoes, cpu_ms = [], [], []
    for _ in range(options.rounds):
        echoes.append((await closed_loop(echo, options.in_flight, options.seconds))[0])
        before_s, began = cpu_s(), time.perf_counter()
        rate, done = await closed_loop(call, options.in_flight, options.seconds)
        calls.append(rate)
        cpu_ms.append((cpu_s() - before_s - rest * (time.perf_counter() - began)) / done * 1e3)
    ratio = median(one / bare for one, bare in zip(calls, echoes, strict=True))
    print(
        f"{name:<28} {median(calls):7.0f}/s   echo {median(echoes):7.0f}/s   ratio {ratio:.2f}"
        f"   {median(cpu_ms):.2f} ms CPU each",
        flush=True,
    )


async def run(options: argparse.Namespace, platform: Platform, echo_port: str) -> None:
    """All measurements against a running platform."""
    edge, trading = platform.addresses()
    async with aiohttp.ClientSession() as session:
        token, symbol, price = await trader(session, edge)
    metadata = (("authorization", f"Bearer {token}"),)
    numbers = itertools.count()
    async with (
        grpc.aio.insecure_channel(trading) as channel,
        grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as bare,
    ):
        create, echo = channel.unary_unary(CREATE), bare.unary_unary(ECHO)

        async def order() -> None:
            request = order_service_pb2.CreateOrderRequest(
                client_order_id=f"o-{next(numbers)}", symbol=symbol, side=1, type=2, quantity="1", price=price,
                time_in_force=2,
            )  # fmt: skip
            await create(request.SerializeToString(), metadata=metadata, timeout=30)

        for _ in range(150):
            await order()

        async def change() -> None:
            while options.changing:
                await asyncio.sleep(1 / options.changing)
                await order()

        changing = asyncio.ensure_future(change())
        before_s = platform.cpu_s()
        await asyncio.sleep(REST_S)
        rest = (platform.cpu_s() - before_s) / REST_S
        for name, (method, message) in READS.items():
            if options.only and options.only not in name:
                continue
            rpc, request = channel.unary_unary(method), message.SerializeToString()
            size = str(len(await rpc(request, metadata=metadata, timeout=30))).encode()

            def call(rpc=rpc, request=request):  # type: ignore[no-untyped-def]
                return rpc(request, metadata=metadata, timeout=30)

            await compare(
                f"{name}",
                call,
                lambda size=size: echo(size, timeout=30),
                options,
                platform.cpu_s,
                rest,  # type: ignore[misc]
            )
        changing.cancel()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=16, help="calls in flight (default 16)")
    parser.add_argument("--seconds", type=float, default=2, help="how long each turn takes (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="how many turns each has (default 5)")
    parser.add_argument("--changing", type=float, default=0, help="orders a second that are sent meanwhile (default 0)")
    parser.add_argument("--only", default="", help="a part of the name of what is measured")
    parser.add_argument("--echo-server", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo_server:
        uvloop.run(serve_echo())
        return
    platform = Platform()
    command = [sys.executable, "-m", "tests.bench.reading", "--echo-server"]
    echo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert echo.stdout is not None
        uvloop.run(run(options, platform, echo.stdout.readline().strip()))
    finally:
        echo.terminate()
        platform.stop()


if __name__ == "__main__":
    main()
