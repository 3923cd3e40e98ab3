"""Channels between services: one per peer, through the network or straight into the wrapped handler.

Both kinds look like a gRPC channel to a generated stub, carry the caller's deadline, request id and trace, and raise
the errors of `kernel.errors`. Only RPCs marked idempotent are retried, by the service config made from the contract.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from services.kernel.errors import DeadlineExceeded, Unavailable
from services.kernel.identity.identity import SERVICE_KEY, Identity
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import policies_of
from services.kernel.rpc import status
from services.kernel.rpc.call import Origin, current_call
from services.kernel.rpc.client import CHANNEL_OPTIONS, target
from services.kernel.rpc.server import Handlers
from services.kernel.rpc.service_config import service_config
from services.kernel.rpc.tls import PLAIN, PeerTls

Metadata = tuple[tuple[str, str], ...]
KEEPALIVE_OPTIONS = (
    *CHANNEL_OPTIONS,
    # Otherwise a peer counts as gone while another channel of this process, which saw nobody there, waits to try again.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


_NONE: dict[str, str | bytes] = {}


class LocalChannel:
    """A channel into handlers of this process: no socket, no bytes, the same checks."""

    def __init__(self, handlers: Handlers, caller: str) -> None:
        self._handlers = handlers
        self._identity = Identity(kind="service", service=caller)

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., Any]:
        """A callable like a stub's: `await rpc(request, timeout=…, metadata=…)`."""
        by_path = self._handlers.by_path

        async def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            handler = by_path.get(method)
            if handler is None:
                raise Unavailable(f"{method} is not served yet")
            answer = await handler.invoke(request, self._origin(timeout, metadata))
            return handler.response_from_bytes(answer) if isinstance(answer, bytes) else answer

        return call

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Callable[..., AsyncIterator[Any]]:
        """A callable like a stub's: `async for message in rpc(request)`."""
        by_path = self._handlers.by_path

        async def lists(
            request: Any, timeout: float | None = None, metadata: Metadata = ()
        ) -> AsyncGenerator[list[Any], None]:
            handler = by_path.get(method)
            if handler is None:
                raise Unavailable(f"{method} is not served yet")
            parse = handler.response_from_bytes
            stream = handler.invoke(request, self._origin(timeout, metadata))
            try:
                async for item in stream:
                    items = item if type(item) is list else [item]
                    yield [parse(one) if isinstance(one, bytes) else one for one in items]
            finally:
                await stream.aclose()

        async def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:
            async with aclosing(lists(request, timeout, metadata)) as messages:
                async for some in messages:
                    for one in some:
                        yield one

        call.lists = lists  # type: ignore[attr-defined]
        return call

    def raw_stream(self, method: str) -> Callable[..., AsyncIterator[bytes]]:
        """Call a server stream like unary_stream, but yield encoded messages, which are passed on as they are."""

        async def call(request: Any, metadata: Metadata = ()) -> AsyncIterator[bytes]:
            handler = self._handlers.by_path.get(method)
            if handler is None:
                raise Unavailable(f"{method} is not served yet")
            stream = handler.invoke(request, self._origin(None, metadata))
            try:
                async for item in stream:
                    for one in item if type(item) is list else (item,):
                        yield one if isinstance(one, bytes) else one.SerializeToString()
            finally:
                await stream.aclose()

        return call

    def _origin(self, timeout: float | None, metadata: Metadata) -> Origin:
        call = current_call.get()
        deadline = None if timeout is None else time.perf_counter() + timeout
        if call is not None and call.deadline is not None:
            deadline = call.deadline if deadline is None else min(deadline, call.deadline)
        if not metadata:
            return Origin(_NONE, deadline, "", self._identity, call)
        headers: dict[str, str | bytes] = dict(metadata)
        if call is not None:
            headers.setdefault("x-request-id", call.request_id)
            headers.setdefault("traceparent", call.traceparent)
        return Origin(headers, deadline, "", self._identity)


class NetworkChannel:
    """A channel to a peer's address."""

    def __init__(self, channel: grpc.aio.Channel, tokens: ServiceTokens, caller: str, peer: str) -> None:
        self._channel = channel
        self._tokens = tokens
        self._caller, self._peer = caller, peer
        self._deadlines = {policy.full_name: policy.deadline_s for policy in policies_of(peer)}

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """A callable like a stub's."""
        rpc = self._channel.unary_unary(method, *args, **kwargs)
        policy_s = self._deadlines.get(method)

        async def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            timeout_s = self._timeout(timeout, policy_s)
            try:
                return await rpc(request, timeout=timeout_s, metadata=self._metadata(metadata))
            except grpc.aio.AioRpcError as failure:
                raise status.from_rpc_error(failure) from None

        return call

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., AsyncIterator[Any]]:
        """A callable like a stub's."""
        rpc = self._channel.unary_stream(method, *args, **kwargs)

        async def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:
            stream = rpc(request, timeout=timeout, metadata=self._metadata(metadata))
            try:
                async for item in stream:
                    yield item
            except grpc.aio.AioRpcError as failure:
                raise status.from_rpc_error(failure) from None
            finally:
                stream.cancel()

        return call

    def raw_stream(self, method: str) -> Callable[..., AsyncIterator[bytes]]:
        """Call a server stream like unary_stream, but yield encoded messages, which are passed on as they are."""
        return self.unary_stream(
            method, request_serializer=lambda m: m.SerializeToString(), response_deserializer=lambda b: b
        )

    def _timeout(self, timeout: float | None, policy_s: float | None) -> float | None:
        limits = [s for s in (timeout, policy_s) if s is not None]
        call = current_call.get()
        if call is not None and call.deadline is not None:
            left = call.deadline - time.perf_counter()
            if left <= 0:
                raise DeadlineExceeded
            limits.append(left)
        return min(limits) if limits else None

    def _metadata(self, metadata: Metadata) -> Metadata:
        own = [(SERVICE_KEY, self._tokens.current(self._caller, self._peer)), *metadata]
        if call := current_call.get():
            own += [("x-request-id", call.request_id), ("traceparent", call.traceparent)]
        return tuple(own)


def in_lists(rpc: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[list[Any]]]:
    """A stub's stream as lists of what came at once: in this process as many as were sent so, else one by one."""
    lists: Callable[..., AsyncIterator[list[Any]]] | None = getattr(rpc, "lists", None)
    return lists or partial(_one_by_one, rpc)


async def _one_by_one(rpc: Callable[..., AsyncIterator[Any]], *args: Any, **kwargs: Any) -> AsyncIterator[list[Any]]:
    async with aclosing(rpc(*args, **kwargs)) as messages:  # type: ignore[type-var]
        async for message in messages:
            yield [message]


class Channels:
    """The channels of this process: one per peer's address and caller, made when first asked for."""

    def __init__(
        self,
        handlers: Handlers,
        tokens: ServiceTokens,
        local: frozenset[str],
        addresses: Mapping[str, str],
        tls: PeerTls = PLAIN,
    ) -> None:
        self._tls = tls
        self._handlers = handlers
        self._tokens = tokens
        self._local = local
        self._addresses = addresses
        self._network: dict[tuple[str, str], grpc.aio.Channel] = {}

    def to(self, peer: str, caller: str) -> LocalChannel | NetworkChannel:
        """The channel from `caller` to `peer`: local when it is served here and has no address of its own."""
        address = self._addresses.get(peer, "")
        if not address and peer in self._local:
            return LocalChannel(self._handlers, caller)
        if not address:
            return _Missing(peer)  # type: ignore[return-value]
        return self.at(address, peer, caller)

    def at(self, address: str, peer: str, caller: str) -> NetworkChannel:
        """The channel to `peer` at an address: that of one replica, or of several."""
        return NetworkChannel(self._open(peer, address), self._tokens, caller, peer)

    async def close(self) -> None:
        """Close what was opened."""
        await asyncio.gather(*(channel.close() for channel in self._network.values()))

    def _open(self, peer: str, address: str) -> grpc.aio.Channel:
        key = peer, address
        if key not in self._network:
            options = [*KEEPALIVE_OPTIONS, ("grpc.service_config", json.dumps(service_config(policies_of(peer))))]
            self._network[key] = self._tls.channel(target(address), options)
        return self._network[key]


class _Missing:
    """A peer that is neither served here nor has an address: each call says so."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def unary_unary(self, *_: Any, **__: Any) -> Callable[..., Any]:
        async def call(*_: Any, **__: Any) -> Any:
            raise Unavailable(f"{self._peer} is not served here and peers.{self._peer} has no address")

        return call

    def unary_stream(self, *_: Any, **__: Any) -> Callable[..., Any]:
        async def call(*_: Any, **__: Any) -> Any:
            raise Unavailable(f"{self._peer} is not served here and peers.{self._peer} has no address")
            yield

        return call

    def raw_stream(self, method: str) -> Callable[..., Any]:
        return self.unary_stream(method)
