"""Forwarding: a call that another replica is to answer goes there once, as it came, and its answer comes back as it is.

A forwarded call carries a mark, a token that only services of this name can make; who finds one does not forward again.
While a shard is on its way from one replica to another its calls wait for it, for a short time and only so many.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message
from redfire.options.v1 import options_pb2
from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.errors import (
    Conflict,
    Denied,
    FailedPrecondition,
    Invalid,
    NotFound,
    RedFireError,
    ShardMoved,
    Unauthenticated,
    Unavailable,
)
from services.kernel.identity.edge_token import EdgeToken
from services.kernel.identity.identity import EDGE_KEY, SERVICE_KEY
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import MethodPolicy
from services.kernel.rpc import status
from services.kernel.rpc.authorization import StreamGuard
from services.kernel.rpc.call import HOP_KEY, Call, Origin
from services.kernel.rpc.replica_channels import ReplicaChannels
from services.kernel.rpc.tls import PLAIN, PeerTls
from services.kernel.shards.ownership import ALL_SHARDS, Ownership, shard_of

SHARD_KEY = "x-redfire-shard"
WAIT_S = 2.0
"""Time that a call waits for its shard to be served somewhere."""
HOP_WAIT_S = 0.5
"""The same for a call that was forwarded here, though another replica is known as the owner: news may be on its way."""
MOST_WAITING = 2000
LONGEST_TRIED_S = 30.0
REFUSALS = (Invalid, NotFound, Conflict, Denied, FailedPrecondition)
"""Answers that are final: asked again a client would send something else."""
# Of the connection, not of the call; and what is stated anew.
_OWN_KEYS = {
    "user-agent", "content-type", "te", "host", "x-request-id", "traceparent", "x-envoy-external-address",
    HOP_KEY, SHARD_KEY, EDGE_KEY,
}  # fmt: skip
Behavior = Callable[[Any, Call], Coroutine[Any, Any, Any]]
_Try = tuple[str, str, str, bytes]
"""A call that may be tried several times: its method, user, request id and message."""
StreamBehavior = Callable[[Any, Call], AsyncGenerator[Any, None]]
Check = Callable[[Message], None]


class Forwarding:
    """The shards of the services of this process, and calls to their other replicas."""

    def __init__(self, tokens: ServiceTokens, edge_token: EdgeToken, tls: PeerTls = PLAIN) -> None:
        self._tokens, self._edge_token = tokens, edge_token
        self._channels = ReplicaChannels(tls)
        self._waiting = 0
        # By service, of those whose replicas share shards.
        self.shards: dict[str, Ownership] = {}
        self._refusals: TtlCache[_Try, RedFireError] = TtlCache(1000, LONGEST_TRIED_S)
        self._tries: dict[_Try, asyncio.Event] = {}
        self._streams: dict[tuple[str, int], set[StreamGuard]] = defaultdict(set)
        # Calls that other replicas answer, by service, shard and address.
        self._forwarded: dict[tuple[str, int | None, str], set[_Forwarded]] = {}

    def share(self, service: str, shards: Ownership) -> None:
        """Route the calls of a service by its shards."""
        if shards.is_shared and service not in self.shards:
            self.shards[service] = shards
            shards.on_lost(lambda lost: self._end_streams(service, lost))
            shards.on_changed(partial(self._recall, service))

    async def close(self) -> None:
        """Close the connections."""
        await self._channels.close()

    async def unary(
        self, policy: MethodPolicy, check: Check, behavior: Behavior, request: Any, origin: Origin, call: Call
    ) -> Any:
        """Answer a call here, or have it answered by the owner of its shard; then the answer is bytes."""
        shards = self.shards[policy.service]
        is_hop = self._is_hop(policy, origin)
        shard = _stated_shard(origin) if is_hop else _shard(policy, request, call)
        for is_last in (False, True):
            try:
                address = None if shard is None else await self._find(shards, shard, is_hop, call)
                if address is not None:
                    return await self._forward(address, shard, policy, request, origin, call)
                try:
                    if not (policy.internal and origin.service is not None):
                        check(request)
                    return await self._answer(policy, behavior, request, origin, call)
                finally:
                    if shard is not None:
                        shards.end_call(shard)
            except ShardMoved as moved:
                # Nothing was done: here it was fenced, or found to be another's; there it was another's.
                shard = shard if moved.shard is None else moved.shard
                if is_last or shard is None:
                    raise
            except _Unreachable as failure:
                if is_last or not policy.idempotent:
                    raise _unavailable(failure.message) from None
            shards.look()
            await shards.changed(HOP_WAIT_S)
        raise AssertionError("the second time returns or raises")

    def _answer(
        self, policy: MethodPolicy, behavior: Behavior, request: Any, origin: Origin, call: Call
    ) -> Coroutine[Any, Any, Any]:
        # What is audited changes something; what is idempotent is tried again beside what is slow.
        if policy.audit and policy.idempotent and origin.body is not None:
            return self._answer_once(policy, behavior, request, origin.body, call)
        return behavior(request, call)

    async def _answer_once(
        self, policy: MethodPolicy, behavior: Behavior, request: Any, body: bytes, call: Call
    ) -> Any:
        """Answer a call, unless another try of it was refused: what its client was told stays true of a late one.

        One after the other: of two at once one may be refused, and the other, which looked before that, be accepted.
        """
        key = (policy.full_name, call.identity.user_id, call.request_id, body)
        while (other := self._tries.get(key)) is not None:
            await other.wait()
        if (refusal := self._refusals.get(key)) is not None:
            raise refusal.with_traceback(None)
        ended = self._tries[key] = asyncio.Event()
        try:
            return await behavior(request, call)
        except REFUSALS as error:
            self._refusals.put(key, error, policy.deadline_s)
            raise
        finally:
            del self._tries[key]
            ended.set()

    async def stream(
        self, policy: MethodPolicy, check: Check, behavior: StreamBehavior, request: Any, origin: Origin, call: Call,
        guard: StreamGuard,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        """The messages of a stream from here or from the owner of its shard; then they are bytes."""
        shards = self.shards[policy.service]
        is_hop = self._is_hop(policy, origin)
        shard = _stated_shard(origin) if is_hop else _shard(policy, request, call)
        for is_last in (False, True):
            has_begun = False
            try:
                address = None if shard is None else await self._find(shards, shard, is_hop, call)
                if address is None:
                    items = self._here(policy, check, behavior, request, origin, call, guard, shard)
                else:
                    items = self._forward_stream(address, shard, policy, request, origin, call)
                try:
                    async for item in items:
                        has_begun = True
                        yield item
                        item = None
                    return
                finally:
                    await items.aclose()
            except ShardMoved as moved:
                shard = shard if moved.shard is None else moved.shard
                if is_last or has_begun or shard is None:
                    raise
            except _Unreachable as failure:
                if is_last or has_begun:
                    raise _unavailable(failure.message) from None
            shards.look()
            await shards.changed(HOP_WAIT_S)

    async def _here(
        self, policy: MethodPolicy, check: Check, behavior: StreamBehavior, request: Any, origin: Origin, call: Call,
        guard: StreamGuard, shard: int | None,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        if not (policy.internal and origin.service is not None):
            check(request)
        if shard is not None:
            # A stream does not hold up its shard: it is ended when that goes.
            self.shards[policy.service].end_call(shard)
        guards = self._streams[policy.service, -1 if shard is None else shard]
        guards.add(guard)
        items = behavior(request, call)
        try:
            async for item in items:
                yield item
                item = None
        finally:
            guards.discard(guard)
            await items.aclose()

    def _end_streams(self, service: str, lost: Collection[int]) -> None:
        for shard in lost:
            for guard in list(self._streams.get((service, shard), ())):
                guard.end(ShardMoved())

    def _recall(self, service: str) -> None:
        """End calls that wait for a replica which owns their shard no more: it may stand still."""
        shards = self.shards[service]
        for (name, shard, address), calls in self._forwarded.items():
            if name == service and shard is not None and shards.owner(shard) not in (address, None):
                for call in calls:
                    call.recall()

    @contextmanager
    def _following(self, call: "_Forwarded", service: str, shard: int | None, address: str) -> Iterator[None]:
        """Have a call recalled when its shard has another owner; what it raises is what is to be answered."""
        key = service, shard, address
        calls = self._forwarded.setdefault(key, set())
        calls.add(call)
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            raise _error(failure) from None
        except asyncio.CancelledError:
            call.raise_if_recalled()
            raise
        finally:
            calls.discard(call)
            if not calls and self._forwarded.get(key) is calls:
                del self._forwarded[key]

    async def _find(self, shards: Ownership, shard: int, is_hop: bool, call: Call) -> str | None:
        """Address of a shard's owner; None: here, and the call's begin is noted. Raises ShardMoved: nobody owns it."""
        if shards.begin_call(shard):
            return None
        started = time.perf_counter()
        end = started + WAIT_S if call.deadline is None else min(started + WAIT_S, call.deadline)
        here = shards.address()
        self._waiting += 1
        try:
            while True:
                if shards.begin_call(shard):
                    return None
                address = shards.owner(shard)
                if address not in (None, here):
                    if not is_hop:
                        return address
                    end = min(end, started + HOP_WAIT_S)
                left_s = end - time.perf_counter()
                if left_s <= 0 or self._waiting > MOST_WAITING:
                    raise ShardMoved("no replica serves this user at the moment; try again")
                if is_hop:
                    shards.look()
                await shards.changed(left_s)
        finally:
            self._waiting -= 1

    def _is_hop(self, policy: MethodPolicy, origin: Origin) -> bool:
        """Test for the mark of another replica; what clients write there counts for nothing."""
        mark = origin.text(HOP_KEY)
        if not mark:
            return False
        try:
            identity = self._tokens.verify(mark, policy.service)
        except Unauthenticated:
            return False
        return identity.service == policy.service

    async def _forward(
        self, address: str, shard: int | None, policy: MethodPolicy, request: Any, origin: Origin, call: Call
    ) -> bytes:
        call.is_forwarded = True
        with self._channels.unary(address, policy.full_name) as rpc:
            left_s = None if call.deadline is None else max(0.0, call.deadline - time.perf_counter())
            calling = rpc(_body(request, origin), timeout=left_s, metadata=self._metadata(shard, policy, origin, call))
            # What may not be repeated is waited for, whoever owns the shard meanwhile.
            forwarded = _Forwarded(calling, policy.idempotent)
            with self._following(forwarded, policy.service, shard, address):
                answer: bytes = await calling
                origin.trailing = tuple(await calling.trailing_metadata() or ())
        return answer

    async def _forward_stream(
        self, address: str, shard: int | None, policy: MethodPolicy, request: Any, origin: Origin, call: Call
    ) -> AsyncGenerator[bytes, None]:
        call.is_forwarded = True
        with self._channels.stream(address, policy.full_name) as rpc:
            left_s = None if call.deadline is None else max(0.0, call.deadline - time.perf_counter())
            items = rpc(_body(request, origin), timeout=left_s, metadata=self._metadata(shard, policy, origin, call))
            forwarded = _Forwarded(items, True)
            with self._following(forwarded, policy.service, shard, address):
                try:
                    async for item in items:
                        yield item
                    origin.trailing = tuple(await items.trailing_metadata() or ())
                finally:
                    items.cancel()

    def _metadata(
        self, shard: int | None, policy: MethodPolicy, origin: Origin, call: Call
    ) -> tuple[tuple[str, Any], ...]:
        """The caller's metadata, and what the next replica could not see for itself."""
        kept = [pair for pair in origin.metadata.items() if pair[0] not in _OWN_KEYS]
        kept = [pair for pair in kept if not pair[0].startswith(("grpc-", ":"))]
        own = [
            (HOP_KEY, self._tokens.current(policy.service, policy.service)),
            (SHARD_KEY, str(shard)),
            ("x-request-id", call.request_id),
            ("traceparent", call.traceparent),
        ]
        if call.client_address and self._edge_token.value:
            own += [(EDGE_KEY, self._edge_token.value), ("x-envoy-external-address", call.client_address)]
        if origin.service is not None:
            own.append((SERVICE_KEY, self._tokens.current(origin.service.service, policy.service)))
        return (*kept, *own)


class _Forwarded:
    """A call that another replica answers."""

    def __init__(self, call: Any, may_be_repeated: bool) -> None:
        self._call = call
        self._may_be_repeated = may_be_repeated
        self._is_recalled = False

    def recall(self) -> None:
        """Wait for it no longer, if it may be asked again elsewhere."""
        if self._may_be_repeated and not self._is_recalled:
            self._is_recalled = True
            self._call.cancel()

    def raise_if_recalled(self) -> None:
        """Raises ShardMoved when the call was cancelled here, and not its caller."""
        task = asyncio.current_task()
        if self._is_recalled and (task is None or not task.cancelling()):
            raise ShardMoved from None


class _Unreachable(Exception):
    """The replica did not answer; whether it did what was asked is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _shard(policy: MethodPolicy, request: Any, call: Call) -> int | None:
    """The shard of the call's subject; None where the contract names none, or the call does not."""
    if policy.routing == options_pb2.ROUTING_USER:
        subject = call.identity.user_id or getattr(request, "user_id", "")
    elif policy.routing == options_pb2.ROUTING_INSTRUMENT:
        subject = request.symbol
    else:
        return None
    return shard_of(subject) if subject else None


def _stated_shard(origin: Origin) -> int | None:
    """The shard for which another replica forwarded a call: it may have learned of it only by serving."""
    text = origin.text(SHARD_KEY)
    return int(text) if text.isascii() and text.isdigit() and int(text) in ALL_SHARDS else None


def _body(request: Any, origin: Origin) -> bytes:
    body: bytes = request.SerializeToString() if origin.body is None else origin.body
    return body


def _error(failure: grpc.aio.AioRpcError) -> Exception:
    """The error of a forwarded call: a replica's own, relayed as it is, or that the replica does not answer."""
    error = status.from_rpc_error(failure)
    if any(key == status.DETAILS_KEY for key, _ in failure.trailing_metadata() or ()):
        if error.reason == Reason.SHARD_MOVED:
            return ShardMoved(error.message)
        error.relayed = failure
        return error
    if isinstance(error, Unavailable):
        return _Unreachable(error.message)
    return error


def _unavailable(message: str) -> RedFireError:
    error = Unavailable(f"the replica that serves this user does not answer: {message}")
    error.retry_after_s = 1.0
    return error
