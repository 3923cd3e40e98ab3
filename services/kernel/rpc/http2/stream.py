"""One stream of a connection: its call, and its messages as DATA frames within the windows that its client gives."""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from google.protobuf.message import Message
from h2.connection import H2Connection

from services.kernel.errors import Invalid, RedFireError, ResourceExhausted, Unsupported
from services.kernel.rpc.call import Origin
from services.kernel.rpc.open_stream import OpenStream
from services.kernel.rpc.server import Handler

SHARE_BYTES = 64 * 1024
"""A stream writes so much, and then lets the others of its connection write."""
REQUEST_S = 20.0
"""The time in which a request has to come."""
WAIT_S = 5.0
"""A call that waited so long for being opened is told to come again: its client has probably given it up."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_TIMEOUT = re.compile("([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Writer(Protocol):
    """The connection, as its streams see it."""

    out: list[bytes | memoryview]
    out_bytes: int

    @property
    def control(self) -> H2Connection:
        """The protocol's state machine, which has the flow control windows."""

    def schedule(self, stream: "Stream") -> None:
        """Let a stream write in the next turn."""


class Stream:
    """A stream from its first header on."""

    __slots__ = ("_blocked_at", "_body", "_came_at", "_control", "_messages", "_rest", "_window", "_writer", "deadline",
                 "headers", "number", "opening", "requested_at", "timeout_s")  # fmt: skip

    def __init__(self, writer: Writer, number: int, headers: Iterable[tuple[Any, Any]], now: float) -> None:
        self.number = number
        self.headers: Mapping[str, str | bytes] = {
            bytes(name).decode("latin-1"): bytes(value).decode("utf-8", "replace") for name, value in headers
        }
        self.requested_at = 0.0
        """Time at which the whole request was here; 0 before."""
        self.opening: asyncio.Task[None] | None = None
        self.timeout_s: float | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self._writer, self._control, self._window = writer, writer.control, writer.control.streams[number]
        self._body = b""
        self._came_at, self._blocked_at = now, 0.0
        self._messages: OpenStream | None = None
        self._rest: memoryview | None = None

    @property
    def early(self) -> bool:
        """True while the call is not answered."""
        return self._messages is None

    @property
    def in_message(self) -> bool:
        """True when a message is written in part."""
        return self._rest is not None

    @property
    def finished(self) -> bool:
        """True when all is written."""
        return self._rest is None and self._messages is not None and self._messages.finished

    @property
    def error(self) -> RedFireError | None:
        """The error that the stream ends with; None: it ends well."""
        return self._messages.error if self._messages is not None else None

    def receive(self, data: bytes) -> int:
        """Take a part of the request; the bytes so far."""
        self._body += data
        return len(self._body)

    def call(self, handlers: Mapping[str, Handler], peer: str) -> tuple[Message, Handler, Origin]:
        """The request, its handler, and where it comes from. Raises RedFireError where there is no such call."""
        headers, body = self.headers, self._body
        path = str(headers.get(":path", ""))
        if headers.get(":method") != "POST" or not str(headers.get("content-type")).startswith("application/grpc"):
            raise Invalid("gRPC is what is understood here")
        if _CONTROL.search("".join([str(value) for value in headers.values()])):
            raise Invalid("a header holds control characters")
        handler = handlers.get(path)
        if handler is None or handler.open is None:
            raise Unsupported(f"there is no RPC {path} at this port")
        if body[:1] == b"\1":
            raise Unsupported("grpc-encoding: identity is what is understood here")
        if len(body) < 5 or int.from_bytes(body[1:5]) != len(body) - 5:
            raise Invalid("the request is not one message")
        if time.monotonic() - self.requested_at > WAIT_S:
            raise ResourceExhausted(retry_after_s=1.0)
        deadline = None
        if text := str(headers.get("grpc-timeout", "")):
            if not (found := _TIMEOUT.fullmatch(text)):
                raise Invalid("grpc-timeout is not readable")
            self.timeout_s = int(found[1]) * _UNITS[found[2]]
            deadline = time.perf_counter() + self.timeout_s
        return handler.parse(body[5:]), handler, Origin(headers, deadline, peer)

    def begin(self, messages: OpenStream) -> None:
        """Write the messages of an admitted call, as far as there are any."""
        self._messages = messages
        self.headers, self._body = {}, b""
        messages.begin(self._on_ready)
        self._on_ready()

    def _on_ready(self) -> None:
        self._writer.schedule(self)

    def write(self, now: float) -> bool:
        """Write what there is; true when its share, or the connection's window, ends before that."""
        writer, control, window, share = self._writer, self._control, self._window, SHARE_BYTES
        assert self._messages is not None
        while share > 0:
            most = min(control.max_outbound_frame_size, control.outbound_flow_control_window)
            if self._rest is None:
                message = self._messages.take()
                if not message:
                    return False
                length = len(message)
                size = length + 5
                if size > most or size > window.outbound_flow_control_window:
                    # As many frames as it takes, of a copy: one for each stream that waits.
                    self._rest = memoryview(b"".join((b"\0", length.to_bytes(4), message)))
                    continue
                # A frame's header and a message's: length, DATA without flags, number; uncompressed, length.
                writer.out += ((size << 88 | self.number << 40 | length).to_bytes(14), message)
            else:
                size = min(len(self._rest), most, window.outbound_flow_control_window)
                if size <= 0:
                    self._blocked_at = self._blocked_at or now
                    return window.outbound_flow_control_window > 0
                writer.out += ((size << 48 | self.number).to_bytes(9), self._rest[:size])
                self._rest = self._rest[size:] if size < len(self._rest) else None
            self._blocked_at = 0.0
            window.outbound_flow_control_window -= size
            control.outbound_flow_control_window -= size
            writer.out_bytes += size
            share -= size
        return True

    def stalled(self, now: float) -> bool:
        """Test whether its client takes nothing, or does not end its request, for too long."""
        if self._messages is None:
            return not self.requested_at and now - self._came_at > REQUEST_S
        return bool(self._blocked_at) and now - self._blocked_at > self._messages.stall_s

    def close(self, code: str) -> None:
        """The stream has ended, with this gRPC code."""
        if self.opening is not None:
            self.opening.cancel()
        if self.deadline is not None:
            self.deadline.cancel()
        if self._messages is not None:
            self._messages.close(code)
