"""One connection: HTTP/2's control frames by h2, calls that its handlers open, and turns in which its streams write."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hpack.hpack import encode_integer

from services.kernel.errors import DeadlineExceeded, Internal, RedFireError
from services.kernel.rpc import status
from services.kernel.rpc.http2.opens import Opens
from services.kernel.rpc.http2.stream import Stream
from services.kernel.rpc.server import Handler

log = logging.getLogger(__name__)

MAX_STREAMS = 4096
HEADER_BYTES, REQUEST_BYTES = 48 * 1024, 256 * 1024
READ_BYTES = 16 * 1024
"""Read at a time: calls that come by the thousand are not all taken in one turn of the loop."""
WRITE_BYTES, BACKLOG_BYTES = 256 * 1024, 4 << 20
"""Bytes that may wait for the socket before streams pause; at the latter, of control frames, the connection ends."""
WRITES = 4
"""Writes of WRITE_BYTES in a turn, before the loop does other work."""
SILENCE_S, ANSWER_S, HELD_S = 30.0, 10.0, 30.0
"""A silent client is asked for a sign of life, and has so long for it; one that takes nothing for HELD_S is no more."""
EARLY_RESETS, RESETS_S = 2000, 10.0
"""Calls that a client may reset before they are answered, in so many seconds (CVE-2023-44487)."""

_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
_GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")


class PlainEncoder(Encoder):
    """Headers as they are: ours come once, and are not worth a table or Huffman's code (RFC 7541)."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        """A block of headers."""
        block = bytearray(super().encode((), huffman))  # a change of the table's size, where there is one
        for name, value in headers:
            if name == b":status":
                block += b"\x88"
            else:
                block += b"\0" + encode_integer(len(name), 7) + name + encode_integer(len(value), 7) + value
        return bytes(block)


class Control(H2Connection):
    """h2's connection. Streams are counted by ours: h2 looks at all of them for each that is opened."""

    def __init__(self) -> None:
        # h2's checks of headers take longer than all else of a call; those that come in are looked at by Stream.
        config = H2Configuration(client_side=False, validate_inbound_headers=False, normalize_inbound_headers=False)
        config.validate_outbound_headers = config.normalize_outbound_headers = False
        super().__init__(config)
        values = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_BYTES}
        self.local_settings = Settings(client=False, initial_values=values)
        self.decoder.max_header_list_size = HEADER_BYTES
        self.encoder = PlainEncoder()

    @property
    def open_inbound_streams(self) -> int:
        """None: a stream too many is refused, where h2 would end the connection."""
        return 0

    @property
    def overlong(self) -> bool:
        """True while a frame comes that is longer than allowed: h2 would wait for its end, up to 16 MB."""
        return len(self.incoming_buffer._data) > self.max_inbound_frame_size + 9

    def forget_closed(self) -> None:
        """Free the memory of streams that are closed."""
        _ = super().open_inbound_streams


class Connection(asyncio.BufferedProtocol):
    """A client's connection. Of calls it serves streams that their handlers open for a writer."""

    _buffer: ClassVar = bytearray(READ_BYTES)  # of all: what is read is taken at once

    def __init__(self, handlers: Mapping[str, Handler], connections: dict["Connection", None], opens: Opens) -> None:
        self.control = Control()
        self.out: list[bytes | memoryview] = []
        self.out_bytes = 0
        self.streams: dict[int, Stream] = {}
        self.transport: Any = None
        self.peer = ""
        self._handlers, self._connections, self._opens = handlers, connections, opens
        self._loop = asyncio.get_running_loop()
        self._ready: dict[Stream, None] = {}
        self._scheduled = self._paused = self._draining = False
        self._heard_at, self._asked_at, self._held_at = self._loop.time(), 0.0, 0.0
        self._closed = self._resets = 0
        self._resets_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin with our settings."""
        self.transport = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._connections[self] = None
        self.control.initiate_connection()
        self._send_control()

    def get_buffer(self, sizehint: int) -> bytearray:
        """The buffer for the next read (asyncio.BufferedProtocol)."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take frames. What is no HTTP/2 ends the connection."""
        self._heard_at, self._asked_at = self._loop.time(), 0.0
        try:
            for event in self.control.receive_data(bytes(memoryview(self._buffer)[:nbytes])):
                self._take(event)
        except H2Error as error:
            log.info("%s: %s", self.peer, error)
            self.transport.close()
        self._send_control()
        if self.control.overlong:
            self.abort("sends a frame that is too long")
        elif self.transport.get_write_buffer_size() > BACKLOG_BYTES:
            self.abort("takes no answers")

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and its calls with it."""
        self._connections.pop(self, None)
        self._paused = True
        for stream in list(self.streams.values()):
            self._drop(stream, "CANCELLED")

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._paused = False
        self._schedule_turn()

    def drain(self) -> None:
        """Refuse calls from now on; those that run may end properly."""
        self._draining = True
        self.transport.write(_GOAWAY)

    def abort(self, why: str) -> None:
        """End the connection at once."""
        log.info("%s %s: its connection is ended", self.peer, why)
        self.transport.abort()

    def sweep(self, now: float) -> None:
        """End what takes or says nothing: streams, and the connection."""
        for stream in [one for one in self.streams.values() if one.stalled(now)]:
            self._reset(stream, ErrorCodes.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED")
        if self._held_at and now - self._held_at > HELD_S:
            self.abort("takes nothing")
        elif self._asked_at and now - self._asked_at > ANSWER_S:
            self.abort("is silent")
        elif not self._asked_at and now - self._heard_at > SILENCE_S:
            self._asked_at = now
            self.control.ping(b"redfire\0")
            self._send_control()

    # Streams write ------------------------------------------------------------------------------------------------

    def schedule(self, stream: Stream) -> None:
        """Let a stream write in the next turn."""
        self._ready[stream] = None
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._scheduled and self._ready:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let streams write, one after the other, as long as the connection takes it."""
        self._scheduled = False
        ready, now, writes = self._ready, self._loop.time(), 0
        while ready and not self._paused and self.control.outbound_flow_control_window > 0 and writes < WRITES:
            stream = next(iter(ready))
            del ready[stream]
            if stream.write(now):
                ready[stream] = None
            elif stream.finished:
                self._end(stream, stream.error)
            if self.out_bytes >= WRITE_BYTES:
                self._write()
                writes += 1
        self._write()
        if writes == WRITES:
            self._schedule_turn()
        elif ready:
            self._held_at = self._held_at or now

    def _write(self) -> None:
        if self.out:
            out, self.out, self.out_bytes, self._held_at = self.out, [], 0, 0.0
            self.transport.writelines(out)

    def _send_control(self) -> None:
        if data := self.control.data_to_send():
            self.transport.write(data)

    # Calls --------------------------------------------------------------------------------------------------------

    def _take(self, event: events.Event) -> None:
        """Take what a frame says. Of a stream that is not here any more it says nothing."""
        stream = self.streams.get(getattr(event, "stream_id", 0) or 0)
        match event:
            case events.WindowUpdated() if not event.stream_id:
                self._schedule_turn()
            case events.WindowUpdated() if stream is not None and stream.in_message:
                self.schedule(stream)
            case events.RemoteSettingsChanged():
                for stream in self.streams.values():
                    if stream.in_message:
                        self.schedule(stream)
            case events.RequestReceived() if self._draining or len(self.streams) >= MAX_STREAMS:
                self.control.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            case events.RequestReceived():
                self.streams[event.stream_id] = Stream(self, event.stream_id, event.headers, self._loop.time())
            case events.DataReceived():
                if event.flow_controlled_length:
                    self.control.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream is not None and stream.receive(event.data) > REQUEST_BYTES:
                    self._reset(stream, ErrorCodes.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED")
            case events.StreamEnded() if stream is not None:
                stream.requested_at = self._loop.time()
                self._opens.add(self, stream)
            case events.StreamReset() if stream is not None:
                if stream.early:
                    self._count_reset()
                self._drop(stream, "CANCELLED")
            case events.ConnectionTerminated():
                self.transport.close()

    def _count_reset(self) -> None:
        now = self._loop.time()
        if now - self._resets_since > RESETS_S:
            self._resets, self._resets_since = 0, now
        self._resets += 1
        if self._resets > EARLY_RESETS:
            self.abort("resets calls as fast as it makes them")

    def open(self, stream: Stream) -> None:
        """Open a call that waited for its turn."""
        if self.streams.get(stream.number) is stream:
            stream.opening = self._loop.create_task(self._open(stream))

    async def _open(self, stream: Stream) -> None:
        request_id = str(stream.headers.get("x-request-id", ""))
        error: RedFireError
        try:
            message, handler, origin = stream.call(self._handlers, self.peer)
            if stream.timeout_s is not None:
                stream.deadline = self._loop.call_later(stream.timeout_s, self._on_deadline, stream)
            assert handler.open is not None
            messages = await handler.open(message, origin)
            stream.opening = None
            self.control.send_headers(stream.number, _HEADERS)
            self._send_control()
            stream.begin(messages)
            return
        except RedFireError as failure:
            error = failure
        except Exception:
            log.exception("%s failed", stream.headers.get(":path"))
            error = Internal("internal error")
        stream.opening = None
        self._end(stream, error, request_id)
        self._write()

    def _on_deadline(self, stream: Stream) -> None:
        if stream.in_message:
            self._reset(stream, ErrorCodes.CANCEL, "DEADLINE_EXCEEDED")
        else:
            self._end(stream, DeadlineExceeded())
            self._write()

    def _end(self, stream: Stream, error: RedFireError | None, request_id: str = "") -> None:
        """End a stream by its status, in trailers."""
        trailers = [("grpc-status", "0")] if error is None else status.to_trailers(error, request_id)
        self.control.send_headers(stream.number, _HEADERS + trailers if stream.early else trailers, end_stream=True)
        self.out.append(self.control.data_to_send())
        self._drop(stream, "OK" if error is None else status.grpc_code(status.code_of(error)).name)

    def _reset(self, stream: Stream, why: ErrorCodes, code: str) -> None:
        log.info("%s: stream %d is reset: %s", self.peer, stream.number, code)
        self.control.reset_stream(stream.number, why)
        self._send_control()
        self._drop(stream, code)

    def _drop(self, stream: Stream, code: str) -> None:
        del self.streams[stream.number]
        self._ready.pop(stream, None)
        stream.close(code)
        self._closed += 1
        if self._closed > len(self.streams) // 2 + 64:
            self._closed = 0
            self.control.forget_closed()
