"""Handlers, each wrapped once: identity, permission, shard, validation, deadline, errors, metrics, spans, audit.

The wrapped handlers serve the network and the direct calls of services in the same process alike, so that both pass
the same checks. The server refuses a service that is registered twice, lacks an RPC, or an RPC without a policy.
"""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from redfire.options.v1 import options_pb2

from services.kernel.audit.draft import Draft, act_of, current_draft
from services.kernel.errors import DeadlineExceeded, Internal, Invalid, RedFireError, Unsupported
from services.kernel.policy import MethodPolicy, service_policies
from services.kernel.rpc import status, telemetry
from services.kernel.rpc.authorization import Authorizer, StreamGuard, within_account, within_delegations
from services.kernel.rpc.call import Call, Origin, current_call
from services.kernel.rpc.forwarding import Forwarding
from services.kernel.rpc.open_stream import OpenStream, opening
from services.kernel.rpc.recording import Recorder
from services.kernel.rpc.rpc_metrics import rpc_metrics
from services.kernel.rpc.user_limits import UserLimits
from services.kernel.rpc.validation import request_check
from services.kernel.tasks import within

log = logging.getLogger(__name__)
Unary = Callable[[Any, Origin], Awaitable[Any]]
Stream = Callable[[Any, Origin], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Handler:
    """A wrapped RPC: `invoke(request, origin)` answers a message, or yields messages or their bytes.

    What a stream has at once it may yield as a list of them, which passes the wrapper as one. `open(request, origin)`
    opens a stream whose messages a writer takes.
    """

    policy: MethodPolicy
    invoke: Any
    open: Callable[[Any, Origin], Awaitable[OpenStream]] | None
    request_from_bytes: Callable[[bytes], Message]
    response_from_bytes: Callable[[bytes], Message]
    request_class: type[Message]

    def parse(self, request: bytes) -> Message:
        """The request. Raises Invalid when it is none."""
        try:
            return self.request_from_bytes(request)
        except DecodeError:
            raise Invalid(f"not a {self.request_class.DESCRIPTOR.full_name}") from None


class _ByPath(grpc.GenericRpcHandler):
    """gRPC's handlers of all services."""

    def __init__(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        self._handlers = {f"/{name}/{rpc}": one for name, rpcs in services.items() for rpc, one in rpcs.items()}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a path; None where there is none."""
        return self._handlers.get(handler_call_details.method)


class Handlers:
    """All RPCs that this process serves."""

    def __init__(
        self,
        authorizer: Authorizer,
        tracing: telemetry.Tracing,
        forwarding: Forwarding,
        recorder: Recorder,
        limits: UserLimits,
    ) -> None:
        self._authorizer = authorizer
        self.recorder = recorder
        self._limits = limits
        self.forwarding = forwarding
        self._tracing = tracing
        self.by_path: dict[str, Handler] = {}
        self.services: dict[str, str] = {}  # gRPC service → RedFire service
        self._network: dict[str, dict[str, Any]] = {}  # by gRPC service and RPC

    def add(self, owner: str, servicer: Any) -> None:
        """Wrap all RPCs of a servicer that belongs to the RedFire service `owner`."""
        base = next(c for c in type(servicer).__mro__ if c.__module__.endswith("_pb2_grpc"))
        capture = _Capture()
        getattr(sys.modules[base.__module__], f"add_{base.__name__}_to_server")(servicer, capture)
        name = capture.service_name
        if name in self.services:
            raise ValueError(f"{name} is served twice")
        policies = service_policies(name)
        network = {}
        for rpc, raw in capture.handlers.items():
            if getattr(type(servicer), rpc) is getattr(base, rpc):
                raise ValueError(f"{name}/{rpc} is not implemented")
            handler = self._wrap(policies[rpc], raw)
            self.by_path[handler.policy.full_name] = handler
            network[rpc] = _network_handler(handler)
        self.services[name] = owner
        self._network[name] = network

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve everything on a network server."""
        # One handler that knows every path: of one for each service gRPC asks each, for each call.
        server.add_generic_rpc_handlers((_ByPath(self._network),))
        for name, handlers in self._network.items():
            # gRPC takes calls one by one, and those of a registered method from a line of their own: thousands of
            # streams that clients open at once do not stand before an order.
            policies = {rpc: self.by_path[f"/{name}/{rpc}"].policy for rpc in handlers}
            lines = {rpc: handlers[rpc] for rpc, policy in policies.items() if policy.streams and not policy.internal}
            server.add_registered_method_handlers(name, lines)

    def _wrap(self, policy: MethodPolicy, raw: Any) -> Handler:
        behavior = raw.unary_stream if policy.streams else raw.unary_unary
        wrap = self._stream if policy.streams else self._unary
        request_class = raw.request_deserializer.__self__
        response_from_bytes = _response_class(policy).FromString
        check = request_check(request_class, policy)
        if policy.delegations:
            behavior = within_delegations(policy, behavior)
        if policy.strategies == options_pb2.STRATEGY_USE_ACCOUNT:
            behavior = within_account(behavior)
        invoke = wrap(policy, behavior, check)
        open_stream = self._opening(policy, behavior, check) if policy.streams else None
        return Handler(policy, invoke, open_stream, raw.request_deserializer, response_from_bytes, request_class)

    def _opening(self, policy: MethodPolicy, behavior: Any, check: Callable[[Message], None]) -> Any:
        metric, running = rpc_metrics.of(*_labels(policy)), telemetry.streams.labels(*_labels(policy))

        def ended(_: Call, code: str) -> None:
            metric.ended(code)

        record, limits, end = self.recorder.openings(policy), self._limits, _end_message(policy)
        return opening(policy, behavior, check, self._authorizer, limits, running, ended, end, record)

    def _unary(
        self,
        policy: MethodPolicy,
        behavior: Callable[[Any, Call], Coroutine[Any, Any, Any]],
        check: Callable[[Message], None],
    ) -> Unary:
        metric = rpc_metrics.of(*_labels(policy))
        admit, admit_service = self._authorizer.admit, self._authorizer.admit_service
        tracing, within_limits, admit_address = self._tracing, self._limits.admit, self._limits.admit_address
        is_of_auth = policy.rate_limit == options_pb2.RATE_LIMIT_AUTH
        policy_deadline_s = policy.deadline_s
        forwarding, shared = self.forwarding, self.forwarding.shards
        recorder, act = self.recorder, act_of(policy.full_name) if policy.audit else None

        async def unary(request: Any, origin: Origin) -> Any:
            started = time.perf_counter()
            code = "OK"
            failure: BaseException | None = None
            call = origin.call(policy.full_name)
            draft = None if act is None else Draft(act, call, request, origin.body)
            if policy_deadline_s is not None:
                latest = started + policy_deadline_s
                call.deadline = latest if call.deadline is None else min(call.deadline, latest)
            span = tracing.start(policy.full_name, call.traceparent)
            if span is not None:
                call.traceparent = tracing.traceparent(span)
            token, draft_token = current_call.set(call), current_draft.set(draft)
            try:
                # Requests between services of this process are made by our own code, of validated ones.
                service = origin.service if policy.internal else None
                if service is not None:
                    admit_service(policy, service, call)
                else:
                    await admit(policy, origin, call)
                    if call.is_from_edge:
                        within_limits(policy, call)
                    elif is_of_auth:
                        admit_address(call)
                answer: Coroutine[Any, Any, Any]
                if policy.service in shared:
                    answer = forwarding.unary(policy, check, behavior, request, origin, call)
                else:
                    if service is None:
                        check(request)
                    answer = behavior(request, call)
                if call.deadline is None:
                    return await answer
                return await within(answer, call.deadline - time.perf_counter())
            except RedFireError as error:
                code, failure = status.grpc_code(status.code_of(error)).name, error
                raise
            except TimeoutError:
                code = "DEADLINE_EXCEEDED"
                raise DeadlineExceeded from None
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception:
                code = "INTERNAL"
                log.exception("%s failed", policy.full_name)
                raise Internal("internal error", request_id=call.request_id) from None
            finally:
                try:
                    # Of an order that was accepted its commit took the record along.
                    if draft is not None:
                        if not call.is_forwarded and not (draft.is_recorded and code == "OK"):
                            await recorder.finish(policy, draft, code, failure)
                    elif failure is not None and not call.is_forwarded:
                        await recorder.refused(policy, call, origin, failure)
                finally:
                    current_call.reset(token)
                    current_draft.reset(draft_token)
                    metric.took(time.perf_counter() - started)
                    metric.ended(code)
                    if span is not None:
                        tracing.end(span, code)

        return unary

    def _stream(
        self,
        policy: MethodPolicy,
        behavior: Callable[[Any, Call], AsyncGenerator[Any, None]],
        check: Callable[[Message], None],
    ) -> Stream:
        count = rpc_metrics.of(*_labels(policy)).ended
        running = telemetry.streams.labels(*_labels(policy))
        authorizer, forwarding, limits = self._authorizer, self.forwarding, self._limits
        end_message, record = _end_message(policy), self.recorder.openings(policy)

        async def stream(request: Any, origin: Origin) -> AsyncIterator[Any]:
            code = "OK"
            call = origin.call(policy.full_name)
            token = current_call.set(call)
            guard: StreamGuard | None = None
            release: Callable[[], None] | None = None
            running.inc()
            try:
                try:
                    await authorizer.admit(policy, origin, call)
                except RedFireError as error:
                    await record(call, request, origin, error)
                    raise
                release = await limits.open_stream(policy, call)
                task = asyncio.current_task()
                assert task is not None
                guard = authorizer.guard(call.identity, task.cancel)
                if policy.audit:
                    await record(call, request, origin, None)
                if policy.service in forwarding.shards:
                    items = forwarding.stream(policy, check, behavior, request, origin, call, guard)
                else:
                    check(request)
                    items = behavior(request, call)
                # Metadata and request are larger than what a stream that lasts for days needs.
                del origin, request
                try:
                    async for item in items:
                        guard.away = True
                        yield item
                        item = None  # not kept until the next one comes
                        guard.back()
                finally:
                    await items.aclose()
            except RedFireError as error:
                code = status.grpc_code(status.code_of(error)).name
                raise
            except asyncio.CancelledError:
                if guard is None or not guard.ended:
                    code = "CANCELLED"
                    raise
                code = status.grpc_code(status.code_of(guard.error)).name
                # Over HTTP/1.1 the error below cannot be seen any more.
                if end_message is not None:
                    yield end_message(guard.error.reason)
                raise guard.error from None
            except GeneratorExit:
                code = "CANCELLED"
                raise
            except Exception:
                code = "INTERNAL"
                log.exception("%s failed", policy.full_name)
                raise Internal("internal error", request_id=call.request_id) from None
            finally:
                if guard is not None:
                    guard.stop()
                if release is not None:
                    release()
                running.dec()
                count(code)
                try:
                    current_call.reset(token)
                except ValueError:
                    # The generator was closed from another context, whose own call is not ours to reset.
                    current_call.set(None)

        return stream


def _response_class(policy: MethodPolicy) -> Any:
    from google.protobuf import descriptor_pool, message_factory

    service, _, method = policy.full_name[1:].partition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    return message_factory.GetMessageClass(descriptor.output_type)


def _end_message(policy: MethodPolicy) -> Callable[[str], Message] | None:
    """Make the last message of a stream that the kernel ends; None where the stream's messages have no `end`."""
    response = _response_class(policy)
    end = response.DESCRIPTOR.fields_by_name.get("end")
    if end is None:
        return None
    if end.message_type is None:
        return lambda reason: response(end=reason)
    return lambda reason: response(end={"reason": reason})


def _labels(policy: MethodPolicy) -> tuple[str, str]:
    return policy.full_name[1:].rpartition("/")[0], policy.name


def _network_handler(handler: Handler) -> Any:
    if handler.policy.streams:
        # gRPC also takes a generator, but would keep each message until the next one comes.
        async def serve_stream(request: bytes, context: Any) -> None:
            origin = _origin(context, request)
            request_id = origin.request_id
            try:
                items = handler.invoke(handler.parse(request), origin)
                del origin, request
                try:
                    async for item in items:
                        if type(item) is list:
                            for one in item:
                                await context.write(one)
                        else:
                            await context.write(item)
                        item = one = None
                finally:
                    await items.aclose()
            except RedFireError as error:
                await _abort(context, error, request_id)

        return grpc.unary_stream_rpc_method_handler(serve_stream, response_serializer=_to_bytes)

    async def serve_unary(request: bytes, context: Any) -> Any:
        origin = _origin(context, request)
        try:
            answer = await handler.invoke(handler.parse(request), origin)
            if origin.trailing:
                context.set_trailing_metadata(origin.trailing)
            return answer
        except RedFireError as error:
            await _abort(context, error, origin.request_id)

    return grpc.unary_unary_rpc_method_handler(serve_unary, response_serializer=_to_bytes)


def _to_bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _origin(context: Any, body: bytes | None = None) -> Origin:
    left = context.time_remaining()
    deadline = None if left is None or left > 1e8 else time.perf_counter() + left
    return Origin(dict(context.invocation_metadata() or ()), deadline, context.peer(), body=body)


async def _abort(context: Any, error: RedFireError, request_id: str) -> None:
    if isinstance(relayed := error.relayed, grpc.aio.AioRpcError):
        context.set_trailing_metadata(tuple(relayed.trailing_metadata() or ()))
        await context.abort(relayed.code(), relayed.details() or "")
    details = status.to_status(error, request_id)
    context.set_trailing_metadata(((status.DETAILS_KEY, details.SerializeToString()),))
    await context.abort(status.grpc_code(details.code), details.message)


class UnknownMethods(grpc.GenericRpcHandler):
    """The last of a server's handlers: refuses what none of them knows, with a reason as all other errors have."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """A handler that takes any request and answers that there is no such RPC."""
        error = Unsupported(f"there is no RPC {handler_call_details.method}")

        async def refuse(requests: AsyncIterator[bytes], context: Any) -> None:
            await _abort(context, error, _origin(context).request_id)

        return grpc.stream_stream_rpc_method_handler(refuse)


class _Capture:
    """Stands in for a server while generated code registers its handlers."""

    service_name = ""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Newer generated code also calls add_registered_method_handlers, which has the handlers by name."""

    def add_registered_method_handlers(self, service_name: str, handlers: dict[str, Any]) -> None:
        """Keep the handlers that generated code registers."""
        self.service_name = service_name
        self.handlers = handlers
