"""One connection: what its client's frames do, and the turns in which its streams write."""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from services.kernel.errors import DeadlineExceeded, RedFireError
from services.kernel.rpc import status
from services.kernel.rpc.http2.control import MAX_STREAMS, Control
from services.kernel.rpc.http2.reads import Reads
from services.kernel.rpc.http2.stream import REQUEST_BYTES, Stream
from services.kernel.rpc.server import Handler

log = logging.getLogger(__name__)

READ_BYTES, WRITE_BYTES = 2 * 1024, 256 * 1024
"""Read of one connection, and written to each, in a turn of the loop. Calls come by the thousand when clients come
back, two or three in so many bytes, and each takes about a millisecond: other work goes on between them."""
PARTIAL_BYTES = 256 * 1024
"""Bytes of a frame, or of headers in several, that may come before it is whole: h2 would wait for up to 16 MB."""
SILENCE_S, ANSWER_S = 30.0, 10.0
"""A silent client is asked for a sign of life, and has so long for it. One that does not read is not heard either."""
EARLY_RESETS = 2000
"""Calls that may be reset before they are answered, in about 10 s (CVE-2023-44487)."""

_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


class Connection(asyncio.BufferedProtocol):
    """A client's connection. Of calls it serves streams that their handlers open for a writer."""

    # Of all: what is read is taken at once. A view, of which TLS fills parts.
    _buffer: ClassVar = memoryview(bytearray(READ_BYTES))

    def __init__(self, handlers: Mapping[str, Handler], connections: set["Connection"], reads: Reads) -> None:
        self.streams: dict[int, Stream] = {}
        self.transport: Any = None
        self._control = Control()
        self._handlers, self._connections, self._reads = handlers, connections, reads
        self._loop = asyncio.get_running_loop()
        self._ready: dict[Stream, None] = {}
        self._out: list[bytes | memoryview] = []
        self._scheduled = self._paused = False
        self._most_streams = MAX_STREAMS
        self._heard_at, self._partial_bytes, self._early_resets = time.perf_counter(), 0, 0

    def connection_made(self, transport: Any) -> None:
        """Begin with our settings."""
        self.transport = transport
        self._peer = "ip:[{}]:{}".format(*transport.get_extra_info("peername") or ("", 0))
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._connections.add(self)
        self._control.initiate_connection()
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next read (asyncio.BufferedProtocol)."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take frames, and read on when it is this connection's turn. What is no HTTP/2 ends the connection."""
        self.transport.pause_reading()
        self._reads.wait(self._read_on)
        self._heard_at = time.perf_counter()
        try:
            taken = self._control.receive_data(bytes(self._buffer[:nbytes]))
            for event in taken:
                self._take(event)
            self._partial_bytes = 0 if taken else self._partial_bytes + nbytes
            if self._partial_bytes > PARTIAL_BYTES:
                raise H2Error("a frame that is too long")
            if self._early_resets > EARLY_RESETS:
                raise H2Error("calls that are reset as fast as they are made")
            self._schedule_turn()
            self._flush()
        except H2Error as error:
            self._abort(str(error))

    def _read_on(self) -> None:
        """Read, unless answers wait that the client does not read."""
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and its calls with it."""
        self._connections.discard(self)
        for stream in list(self.streams.values()):
            self._drop(stream, "CANCELLED")

    def _abort(self, why: str) -> None:
        log.info("%s: its connection is ended: %s", self._peer, why)
        self.connection_lost(None)
        self.transport.abort()

    def drain(self) -> None:
        """Refuse calls from now on; those that run may end properly."""
        self._most_streams = 0
        self.transport.write(bytes.fromhex("000008 07 00 00000000 7fffffff 00000000"))  # GOAWAY

    def sweep(self) -> None:
        """End what takes or says nothing: streams, and the connection."""
        now = time.perf_counter()
        for stream in list(self.streams.values()):
            if stream.deadline is not None and now > stream.deadline and not stream.rest:
                self._end(stream, DeadlineExceeded())
            elif stream.stalled(now, stream in self._ready):
                self._reset(stream, ErrorCodes.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED")
        _ = self._control.open_outbound_streams  # has h2 forget streams that are closed
        self._early_resets -= self._early_resets // 10
        if now > self._heard_at + SILENCE_S + ANSWER_S:
            self._abort("silence")
        elif now > self._heard_at + SILENCE_S:
            self._control.ping(b"redfire\0")
            self._flush()

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._paused = False
        self._read_on()
        self._schedule_turn()

    def _schedule(self, stream: Stream) -> None:
        """Let a stream write in the next turn."""
        self._ready[stream] = None
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._scheduled and self._ready and not self._paused and self._control.outbound_flow_control_window > 0:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let streams write, one after the other, as long as the connection takes it."""
        self._scheduled = False
        ready, control = self._ready, self._control
        least = max(0, control.outbound_flow_control_window - WRITE_BYTES)
        while ready and control.outbound_flow_control_window > least:
            stream = next(iter(ready))
            del ready[stream]
            if stream.write(self._out):
                ready[stream] = None
            elif not stream.rest and stream.messages is not None and stream.messages.finished:
                self._end(stream, stream.messages.error)
        self._flush()
        self._schedule_turn()

    def _flush(self) -> None:
        """Write all frames, DATA before h2's: trailers are the last of their stream."""
        if frames := self._control.data_to_send():
            self._out.append(frames)
        if self._out and not self.transport.is_closing():
            self.transport.writelines(self._out)
            self._out = []

    def _take(self, event: events.Event) -> None:
        """Take what a frame says. Of a stream that is not here any more it says nothing."""
        number = getattr(event, "stream_id", 0)
        stream = self.streams.get(number)
        match event:
            case events.WindowUpdated() if stream is not None and stream.rest:
                self._ready[stream] = None
            case events.RemoteSettingsChanged():
                self._ready |= {stream: None for stream in self.streams.values() if stream.rest}
            case events.RequestReceived() if len(self.streams) >= self._most_streams:
                self._control.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            case events.RequestReceived():
                self.streams[number] = Stream(number, event.headers, self._control, self._control.streams[number])
            case events.DataReceived():
                self._control.acknowledge_received_data(event.flow_controlled_length, number)
                if stream is not None:
                    stream.body += event.data
                    if len(stream.body) > REQUEST_BYTES:
                        self._reset(stream, ErrorCodes.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED")
            case events.StreamEnded() if stream is not None:
                stream.opening = self._loop.create_task(self._open(stream))
            case events.StreamReset() if stream is not None:
                self._early_resets += stream.messages is None
                self._drop(stream, "CANCELLED")
            case events.ConnectionTerminated():
                self._abort("its client goes away")

    async def _open(self, stream: Stream) -> None:
        try:
            messages = await stream.open(self._peer, self._handlers)
        except RedFireError as error:
            self._end(stream, error)
            return
        self._control.send_headers(stream.number, _HEADERS)
        self._flush()
        # The request is not needed any more.
        stream.messages, stream.opening, stream.headers, stream.body = messages, None, (), bytearray()
        messages.begin(partial(self._schedule, stream))
        self._schedule(stream)

    def _end(self, stream: Stream, error: RedFireError | None) -> None:
        """End a stream by its status, in trailers."""
        code = "OK" if error is None else status.grpc_code(status.code_of(error)).name
        trailers = [("grpc-status", "0")] if error is None else status.to_trailers(error, stream.request_id)
        headers = _HEADERS if stream.messages is None else []
        self._control.send_headers(stream.number, headers + trailers, end_stream=True)
        self._drop(stream, code)
        self._flush()

    def _reset(self, stream: Stream, why: ErrorCodes, code: str) -> None:
        log.info("%s: stream %d is reset: %s", self._peer, stream.number, code)
        self._control.reset_stream(stream.number, why)
        self._drop(stream, code)
        self._flush()

    def _drop(self, stream: Stream, code: str) -> None:
        del self.streams[stream.number]
        self._ready.pop(stream, None)
        if stream.opening is not None:
            stream.opening.cancel()
        if stream.messages is not None:
            stream.messages.close(code)
