"""A client's side of gRPC: options of its channels, and answers and streams that raise the kernel's errors."""

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

import grpc

from services.kernel.rpc.status import from_rpc_error

R = TypeVar("R")
CHANNEL_OPTIONS = (
    ("grpc.lb_policy_name", "round_robin"),  # over the replicas, where an address has several
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Time that a connection may take to come about, in spite of its name: a busy peer takes more than the pauses.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # A peer that is away for seconds, as a process that is replaced, is not left waiting for more when it is back.
    ("grpc.max_reconnect_backoff_ms", 500),
)


def target(address: str) -> str:
    """gRPC's name of an address: `host:port`, or those of several replicas, `ip:port,ip:port`."""
    if "," not in address:
        return address
    return f"ipv6:{address}" if address.startswith("[") else f"ipv4:{address}"


async def answer(call: Awaitable[R]) -> R:
    """Await a call; raises the kernel's errors, as services do."""
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise from_rpc_error(failure) from None


async def messages(stream: Any) -> AsyncGenerator[Any, None]:
    """Yield a stream's messages; raises the kernel's errors. The stream ends with the generator."""
    try:
        async for message in stream:
            yield message
    except grpc.aio.AioRpcError as failure:
        raise from_rpc_error(failure) from None
    finally:
        stream.cancel()
