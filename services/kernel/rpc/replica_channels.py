"""Connections to other replicas of services of this process, by which calls are forwarded as bytes.

Streams have a connection of their own: what their readers leave lying holds up no order.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from services.kernel.errors import Unavailable
from services.kernel.rpc.client import CHANNEL_OPTIONS
from services.kernel.rpc.tls import PLAIN, PeerTls

MOST_CALLS, MOST_STREAMS = 1000, 20_000
"""That are on their way to one replica at once."""
MOST_CHANNELS = 32
_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
)


class ReplicaChannels:
    """Channels by address and kind."""

    def __init__(self, tls: PeerTls = PLAIN) -> None:
        self._tls = tls
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}
        self._rpcs: dict[tuple[str, str], dict[str, Any]] = {}
        self._running: Counter[tuple[str, str]] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    @contextmanager
    def unary(self, address: str, method: str) -> Iterator[Any]:
        """A unary RPC's callable, for one call. Raises Unavailable when too many run."""
        with self._one((address, "unary"), MOST_CALLS) as key:
            rpcs = self._rpcs[key]
            if method not in rpcs:
                rpcs[method] = self._channels[key].unary_unary(method)
            yield rpcs[method]

    @contextmanager
    def stream(self, address: str, method: str) -> Iterator[Any]:
        """A server stream's callable, for one call. Raises Unavailable when too many run."""
        with self._one((address, "stream"), MOST_STREAMS) as key:
            rpcs = self._rpcs[key]
            if method not in rpcs:
                rpcs[method] = self._channels[key].unary_stream(method)
            yield rpcs[method]

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*self._closing, *(channel.close() for channel in self._channels.values()))

    @contextmanager
    def _one(self, key: tuple[str, str], most: int) -> Iterator[tuple[str, str]]:
        if self._running[key] >= most:
            error = Unavailable("too many calls wait for the replica that serves this user")
            error.retry_after_s = 0.5
            raise error
        if key not in self._channels:
            self._forget_unused()
            self._channels[key] = self._tls.channel(key[0], _OPTIONS)
            self._rpcs[key] = {}
        self._running[key] += 1
        try:
            yield key
        finally:
            self._running[key] -= 1

    def _forget_unused(self) -> None:
        """Close connections to replicas that are long gone."""
        for key in list(self._channels):
            if len(self._channels) < MOST_CHANNELS:
                break
            if not self._running[key]:
                del self._rpcs[key], self._running[key]
                task = asyncio.ensure_future(self._channels.pop(key).close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
