"""Opening of streams for a writer that takes their messages: the same checks, counts and guard as other calls have."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from google.protobuf.message import Message

from services.kernel.errors import Internal, RedFireError, Unsupported
from services.kernel.policy import MethodPolicy
from services.kernel.rpc import status
from services.kernel.rpc.authorization import STALLED_S, Authorizer, StreamGuard
from services.kernel.rpc.call import Call, Origin, current_call
from services.kernel.rpc.recording import RecordOpening
from services.kernel.rpc.source import Source, SourceStream
from services.kernel.rpc.user_limits import UserLimits

log = logging.getLogger(__name__)


class Gauge(Protocol):
    """A count of what is open."""

    def inc(self) -> None:
        """One more."""

    def dec(self) -> None:
        """One less."""


class OpenStream:
    """An admitted stream: a source that ends when its caller's session does. To be closed, with a gRPC code."""

    __slots__ = ("_guard", "_last", "_method", "_on_close", "_on_ready", "_release", "_source", "error")

    def __init__(self, method: str, on_close: Callable[[str], None]) -> None:
        self.error: RedFireError | None = None
        """The error that the stream ends with, where that is not the source's end."""
        self._method = method
        self._on_close = on_close
        self._on_ready: Callable[[], None] | None = None
        self._release: Callable[[], None] | None = None
        self._source: Source | None = None
        self._guard: StreamGuard | None = None
        self._last = b""

    @property
    def finished(self) -> bool:
        """True when the last message was taken."""
        return not self._last if self.error is not None else self._source is None or self._source.finished

    @property
    def stall_s(self) -> float:
        """A reader that takes nothing for so long is to be ended."""
        return STALLED_S if self.error is not None or self._source is None else self._source.stall_s

    def begin(self, on_ready: Callable[[], None]) -> None:
        """As Source.begin."""
        assert self._source is not None
        self._on_ready = on_ready
        self._source.begin(on_ready)

    def take(self) -> bytes:
        """As Source.take; what a source raises is the stream's error."""
        if self.error is None and self._source is not None:
            try:
                return self._source.take()
            except Exception:
                log.exception("%s failed", self._method)
                self.error = Internal("internal error")
        last, self._last = self._last, b""
        return last

    def close(self, code: str) -> None:
        """The stream ended; once."""
        if self._guard is not None:
            self._guard.stop()
        if self._source is not None:
            self._source.close()
        if self._release is not None:
            self._release()
        self._on_close(code)

    def on_close(self, release: Callable[[], None]) -> None:
        """Have something called when the stream has ended."""
        self._release = release

    def carry(self, source: Source) -> None:
        """Carry the messages of a source."""
        self._source = source

    def guard(self, authorizer: Authorizer, call: Call, end_message: Callable[[str], Message] | None) -> None:
        """End with the caller's session. Raises Unauthenticated where that has ended."""

        def end() -> None:
            guard = self._guard
            if guard is not None and self.error is None:
                self.error = guard.error
                if end_message is not None:
                    self._last = end_message(guard.error.reason).SerializeToString()
                if self._on_ready is not None:
                    self._on_ready()

        self._guard = authorizer.guard(call.identity, end)


def opening(
    policy: MethodPolicy,
    behavior: Callable[[Any, Call], Any],
    check: Callable[[Message], None],
    authorizer: Authorizer,
    limits: UserLimits,
    running: Gauge,
    ended: Callable[[Call, str], None],
    end_message: Callable[[str], Message] | None,
    record: RecordOpening,
) -> Callable[[Any, Origin], Awaitable[OpenStream]]:
    """Make `open(request, origin)` of an RPC. `ended` is called once for each call, with its gRPC code.

    `record` writes the record of an opening, or of a refusal.
    """

    async def open_stream(request: Any, origin: Origin) -> OpenStream:
        call = origin.call(policy.full_name)
        token = current_call.set(call)

        def on_close(code: str) -> None:
            running.dec()
            ended(call, code)

        opened = OpenStream(policy.full_name, on_close)
        running.inc()
        code = "INTERNAL"
        try:
            try:
                await authorizer.admit(policy, origin, call)
            except RedFireError as error:
                await record(call, request, origin, error)
                raise
            opened.on_close(await limits.open_stream(policy, call))
            check(request)
            opened.guard(authorizer, call, end_message)
            if policy.audit:
                await record(call, request, origin, None)
            items = behavior(request, call)
            if not isinstance(items, SourceStream):
                raise Unsupported(f"{policy.full_name} is not served at this port")
            opened.carry(await items.open())
            if opened.error is not None:
                raise opened.error
            code = ""
            return opened
        except RedFireError as error:
            code = status.grpc_code(status.code_of(error)).name
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            log.exception("%s failed", policy.full_name)
            raise Internal("internal error", request_id=call.request_id) from None
        finally:
            current_call.reset(token)
            if code:
                opened.close(code)

    return open_stream
