"""One call: its request, then messages as DATA frames within the windows that its client gives."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from h2.stream import H2Stream

from services.kernel.errors import Invalid, Unsupported
from services.kernel.rpc.call import Origin
from services.kernel.rpc.http2.control import Control
from services.kernel.rpc.open_stream import OpenStream
from services.kernel.rpc.server import Handler

SHARE_BYTES = 64 * 1024
"""A stream writes so much, and then lets the others of its connection write."""
REQUEST_S, REQUEST_BYTES = 20.0, 256 * 1024
"""The time in which a request has to come, and the size that it may have."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_TIMEOUT = re.compile("([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(slots=True, eq=False)
class Stream:
    """A stream from its first header on."""

    number: int
    headers: Any
    control: Control
    window: H2Stream
    body: bytearray = field(default_factory=bytearray)
    opening: asyncio.Task[None] | None = None  # since the request is whole
    deadline: float | None = None
    request_id: str = ""
    messages: OpenStream | None = None  # since the call is answered
    rest: bytes | memoryview = b""  # of a message that is written in part
    waits_since: float = 0.0

    async def open(self, peer: str, handlers: Mapping[str, Handler]) -> OpenStream:
        """Have the handler open the call. Raises RedFireError where it refuses, or there is no such call."""
        headers, body = dict(self.headers), bytes(self.body)
        origin = Origin(headers, None, peer)
        self.request_id = origin.request_id
        if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith("application/grpc"):
            raise Invalid("gRPC is what is understood here")
        if _CONTROL.search("".join(headers.values())):
            raise Invalid("a header holds control characters")
        handler = handlers.get(headers.get(":path", ""))
        if handler is None or handler.open is None:
            raise Unsupported(f"there is no RPC {headers.get(':path')} at this port")
        if body[:1] == b"\1":
            raise Unsupported("grpc-encoding: identity is what is understood here")
        if len(body) < 5 or int.from_bytes(body[1:5]) != len(body) - 5:
            raise Invalid("the request is not one message")
        if timeout := headers.get("grpc-timeout"):
            if not (parts := _TIMEOUT.fullmatch(timeout)):
                raise Invalid("grpc-timeout is not readable")
            origin.deadline = self.deadline = time.perf_counter() + int(parts[1]) * _UNITS[parts[2]]
        return await handler.open(handler.parse(body[5:]), origin)

    def write(self, out: list[bytes | memoryview]) -> bool:
        """Write what there is; true when its share, or the connection's window, ends before that."""
        control, window, share = self.control, self.window, SHARE_BYTES
        assert self.messages is not None
        while share > 0:
            most = min(control.max_outbound_frame_size, control.outbound_flow_control_window)
            if not self.rest:
                message = self.messages.take()
                if not message:
                    return False
                length = len(message)
                size = length + 5
                if size > most or size > window.outbound_flow_control_window:
                    # As many frames as it takes, of a copy: one for each stream that waits.
                    self.rest = memoryview(b"".join((b"\0", length.to_bytes(4), message)))
                    continue
                # A frame's header and a message's: length, DATA without flags, number; uncompressed, length.
                out += ((size << 88 | self.number << 40 | length).to_bytes(14), message)
            else:
                size = min(len(self.rest), most, window.outbound_flow_control_window)
                if size <= 0:
                    return window.outbound_flow_control_window > 0
                out += ((size << 48 | self.number).to_bytes(9), self.rest[:size])
                self.rest = self.rest[size:]
            self.waits_since = 0.0
            window.outbound_flow_control_window -= size
            control.outbound_flow_control_window -= size
            share -= size
        return True

    def stalled(self, now: float, ready: bool) -> bool:
        """Test whether its client does not end its request, or takes nothing of what is `ready`, for too long."""
        waits = ready or bool(self.rest) or (self.messages is None and self.opening is None)
        most_s = REQUEST_S if self.messages is None else self.messages.stall_s
        self.waits_since = (self.waits_since or now) if waits else 0.0
        return waits and now - self.waits_since > most_s
