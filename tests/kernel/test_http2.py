"""The writer of HTTP/2: what a client's frames do, and what is done about clients that misbehave."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.rpc import telemetry
from services.kernel.rpc.http2 import connection, stream
from services.kernel.rpc.rpc_metrics import rpc_metrics
from services.market.ticks.subscriber import LosslessSubscriber
from tests.market.running_market import Market, read_ticks, running
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until

PATH = "/redfire.market.v1.MarketService/StreamTicks"
LOSSLESS = pb.StreamTicksRequest(symbols=[SYMBOL])
CONFLATED = pb.StreamTicksRequest(symbols=[SYMBOL], mode=pb.DELIVERY_MODE_CONFLATED)
ENHANCE_YOUR_CALM, REFUSED, PROTOCOL_ERROR = 11, 7, 1


class RawClient:
    """A client of HTTP/2 that does what a test says, and takes no data but as the test says."""

    def __init__(self, market: Market, window: int, connection_window: int | None) -> None:
        self.market = market
        self.control = H2Connection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.control.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.control.local_settings.acknowledge()
        self._connection_window = connection_window
        self.data: dict[int, bytes] = {}
        self.trailers: dict[int, dict[str, str]] = {}
        self.ended: dict[int, bool] = {}
        self.resets: dict[int, int] = {}
        self.goaway: int | None = None
        self.closed = False

    async def connect(self) -> None:
        host, _, port = self.market.platform.host.stream_addresses["market"].rpartition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.control.initiate_connection()
        if self._connection_window is not None:
            self.control.increment_flow_control_window(self._connection_window)
        self.send()
        self._task = asyncio.create_task(self._read())

    def send(self, more: bytes = b"") -> None:
        self.writer.write(self.control.data_to_send() + more)

    def call(
        self,
        request: Any = LOSSLESS,
        *,
        body: bytes | None = None,
        end: bool = True,
        fields: Mapping[str, str | None] = MappingProxyType({}),
        **headers: str,
    ) -> int:
        """Call with other headers; None takes one away."""
        number = self.control.get_next_available_stream_id()
        token = self.market.platform.identity("alice").token
        sent: dict[str, str | None] = {":method": "POST", ":path": PATH, ":scheme": "http", ":authority": "x"}
        sent |= {"te": "trailers", "content-type": "application/grpc", "authorization": f"Bearer {token}"}
        sent |= {name.replace("_", "-").replace("pseudo-", ":"): value for name, value in headers.items()}
        sent |= fields
        self.control.send_headers(number, [(name, value) for name, value in sent.items() if value is not None])
        encoded = request.SerializeToString()
        message = body if body is not None else struct.pack(">BI", 0, len(encoded)) + encoded
        for at in range(0, len(message), 16000):
            self.control.send_data(number, message[at : at + 16000])
        if end:
            self.control.end_stream(number)
        self.send()
        return number

    def messages(self, number: int) -> list[pb.StreamTicksResponse]:
        data, found = self.data.get(number, b""), []
        while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5]):
            size = 5 + int.from_bytes(data[1:5])
            found.append(pb.StreamTicksResponse.FromString(data[5:size]))
            data = data[size:]
        return found

    def sequences(self, number: int) -> list[int]:
        return [one.sequence for message in self.messages(number) for one in message.ticks]

    async def _read(self) -> None:
        with suppress(ConnectionResetError):
            while data := await self.reader.read(65536):
                for event in self.control.receive_data(data):
                    self._take(event)
                self.send()
        self.closed = True

    def _take(self, event: Any) -> None:
        if isinstance(event, DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
        elif isinstance(event, ResponseReceived | TrailersReceived):
            self.trailers.setdefault(event.stream_id, {}).update(dict(event.headers))
        elif isinstance(event, StreamEnded):
            self.ended[event.stream_id] = True
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, ConnectionTerminated):
            self.goaway = event.error_code

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.writer.transport.abort()


@asynccontextmanager
async def raw_client(
    market: Market, window: int = 65535, connection_window: int | None = 1 << 24
) -> AsyncIterator[RawClient]:
    client = RawClient(market, window, connection_window)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def market_with_writer(**settings: Any) -> AsyncIterator[Market]:
    async with running(stream_writer="http2", max_streams_per_user=20_000, opens_per_s=100_000, **settings) as market:
        yield market


def open_streams() -> int:
    samples = (sample for metric in telemetry.streams.collect() for sample in metric.samples)
    return sum(int(one.value) for one in samples if "redfire.market.v1.MarketService" in one.labels.values())


def ended(code: str) -> int:
    return rpc_metrics.of("redfire.market.v1.MarketService", "StreamTicks").by_code.get(code, 0)


async def refusal(call: Any) -> tuple[str, str]:
    """The status of a refused call, and the reason in its details, which always name the request."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()
    info, named = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    status = rpc_status.from_call(failed.value)
    assert status is not None and any(detail.Unpack(info) for detail in status.details)
    assert any(detail.Unpack(named) for detail in status.details) and named.request_id
    return failed.value.code().name, info.reason


async def test_what_is_no_stream_for_clients_is_unimplemented_with_a_reason() -> None:
    async with market_with_writer() as market:
        channel = market.platform.streams["market"]
        metadata = (("authorization", f"Bearer {market.platform.identity().token}"),)
        for path in (
            "/redfire.market.v1.MarketService/ListInstruments",
            "/redfire.market.v1.ReplicaService/StreamBars",
            "/redfire.market.v1.CalendarService/StreamSessions",
            "/redfire.trading.v1.OrderService/CreateOrder",
            "/grpc.health.v1.Health/Check",
            "/nonsense",
        ):
            call = channel.unary_stream(path)(b"", metadata=metadata, timeout=10)
            assert await refusal(call) == ("UNIMPLEMENTED", "UNSUPPORTED"), path


async def test_identity_permission_and_rules_are_those_of_the_other_port() -> None:
    async with market_with_writer() as market:
        channel, platform = market.platform.streams["market"], market.platform
        rpc = channel.unary_stream(PATH)

        def refused(request: Any, token: str = "") -> Any:
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            return refusal(rpc(request.SerializeToString(), metadata=metadata, timeout=10))

        token, guest = platform.identity().token, platform.identity(role="nobody").token
        assert await refused(LOSSLESS) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        assert await refused(LOSSLESS, "nonsense") == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        assert await refused(LOSSLESS, guest) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
        assert (await refused(pb.StreamTicksRequest(), token))[0] == "INVALID_ARGUMENT"
        assert await refused(pb.StreamTicksRequest(symbols=["no2101.CFFEX"]), token) == ("NOT_FOUND", "UNKNOWN_SYMBOL")
        assert open_streams() == 0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content_type": "text/plain"}, "3"),
        ({"pseudo_method": "GET"}, "3"),
        ({"body": b"\1\0\0\0\0"}, "12"),
        ({"body": b""}, "3"),
        ({"body": b"\0\0\0\0\5abc"}, "3"),
        ({"body": b"\0\0\0\0\1\xff"}, "3"),
        ({"body": b"\0\0\0\0\0" * 2}, "3"),
        ({"grpc_timeout": "soon"}, "3"),
        ({"x_request_id": "a\rb"}, "3"),
    ],
)
async def test_a_call_that_is_none_is_refused_and_the_next_one_is_served(change: dict[str, Any], status: str) -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        wrong = client.call(**change)
        right = client.call()
        await until(lambda: client.messages(right) and client.ended.get(wrong))
        assert client.trailers[wrong]["grpc-status"] == status
        assert client.trailers[wrong]["grpc-status-details-bin"]


async def test_frames_keep_to_the_windows_of_stream_and_connection() -> None:
    async with market_with_writer() as market:
        await market.send(tick(1))
        async with raw_client(market, window=20, connection_window=None) as client:
            narrow = client.call()
            await until(lambda: len(client.data.get(narrow, b"")) == 20)
            # What comes meanwhile waits, however small.
            await market.send(tick(2))
            assert len(client.data[narrow]) == 20
            while client.sequences(narrow) != [1, 2]:
                before = len(client.data[narrow])
                client.control.increment_flow_control_window(7, narrow)
                client.control.increment_flow_control_window(7)
                client.send()
                await until(lambda before=before: len(client.data[narrow]) > before)  # type: ignore[misc]
            assert client.messages(narrow)[0].HasField("started")


async def test_a_message_larger_than_a_frame_comes_whole() -> None:
    async with market_with_writer() as market, raw_client(market, window=1 << 20) as client:
        number = client.call()
        await until(lambda: client.messages(number))
        await market.send(tick(1, bid_prices=[1.5] * 20_000))
        await until(lambda: client.sequences(number))
        assert len(client.messages(number)[-1].ticks[0].bid_prices) == 20_000


async def test_streams_of_a_connection_that_gives_no_window_go_on_when_it_does() -> None:
    async with market_with_writer() as market, raw_client(market, connection_window=None) as client:
        await market.send(*(tick(number, bid_prices=[1.5] * 1000) for number in range(1, 21)))
        numbers = [client.call(LOSSLESS) for _ in range(20)]
        await until(lambda: open_streams() == 20)
        await market.send(tick(21, bid_prices=[1.5] * 1000))
        client.control.increment_flow_control_window(1 << 20)
        client.send()
        await until(lambda: all(client.sequences(number)[-1:] == [21] for number in numbers))


async def test_a_stream_too_many_is_refused_and_no_other_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_STREAMS", 3)
    async with market_with_writer() as market, raw_client(market) as client:
        numbers = [client.call() for _ in range(5)]
        await until(lambda: len(client.resets) == 2)
        assert client.resets == dict.fromkeys(numbers[3:], REFUSED)
        await market.send(tick(1))
        await until(lambda: all(client.sequences(number) == [1] for number in numbers[:3]))
        client.control.reset_stream(numbers[0])
        client.send()
        await until(lambda: open_streams() == 2)
        again = client.call()
        await until(lambda: client.messages(again))


async def test_a_client_that_takes_nothing_is_reset_and_its_neighbour_is_not() -> None:
    async with (
        market_with_writer(stall_s=1) as market,
        raw_client(market, window=10) as deaf,
        raw_client(market) as good,
    ):
        numbers = [deaf.call(CONFLATED), deaf.call(LOSSLESS)]
        neighbour = good.call(CONFLATED)
        await until(lambda: open_streams() == 3)
        await until(lambda: len(deaf.resets) == 2, timeout_s=20)
        assert deaf.resets == dict.fromkeys(numbers, ENHANCE_YOUR_CALM)
        assert open_streams() == 1
        await market.send(tick(1))
        await until(lambda: good.sequences(neighbour) == [1])


async def test_an_unfinished_request_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "REQUEST_S", 0.5)
    async with market_with_writer() as market, raw_client(market) as client:
        number = client.call(end=False)
        await until(lambda: client.resets.get(number) == ENHANCE_YOUR_CALM)
        assert not client.closed


async def test_a_request_that_is_too_large_is_reset() -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        number = client.call(body=b"\0" * 30_000, end=False)
        while not client.resets:
            await until(lambda: client.control.local_flow_control_window(number) >= 16_000 or client.resets)
            if not client.resets:
                client.control.send_data(number, b"\0" * 16_000)
                client.send()
        await until(lambda: client.resets.get(number) == ENHANCE_YOUR_CALM)


async def test_calls_that_are_reset_as_fast_as_they_are_made_end_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "EARLY_RESETS", 20)
    async with market_with_writer() as market, raw_client(market) as client:
        for _ in range(30):
            client.control.reset_stream(client.call(end=False))
        client.send()
        await until(lambda: client.closed)
        assert open_streams() == 0


@pytest.mark.parametrize(
    "frames",
    [
        b"GET / HTTP/1.1\r\n\r\n" + b"x" * 400_000,  # a frame of 4 MB
        b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",  # WINDOW_UPDATE of 0
        b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 400_000,  # a frame of 16 MB
        b"\0\0\1\x09\0\0\0\0\1a",  # CONTINUATION of nothing
        b"\0\0\1\x01\x04\0\0\0\x99\xff",  # a block of headers that is none
    ],
)
async def test_what_is_no_http2_ends_its_connection_alone(frames: bytes) -> None:
    async with market_with_writer() as market, raw_client(market) as good, raw_client(market) as bad:
        number = good.call()
        bad.send(frames)
        await until(lambda: bad.closed)
        await market.send(tick(1))
        await until(lambda: good.sequences(number) == [1])


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"X-Upper": "a"}, "served"),
        ({"": "a"}, "served"),
        ({"a b": "a"}, "served"),
        ({"x-blanks": " a "}, "served"),
        ({"host": "other"}, "served"),
        ({"te": "gzip", "connection": "close", "transfer-encoding": "chunked"}, "served"),
        ({":scheme": None, ":authority": None}, "served"),
        ({":protocol": "websocket", ":other": "a"}, "served"),
        ({":status": "100"}, "served"),
        ({":path": None}, "12"),
        ({":method": "HEAD"}, "3"),
        ({":method": None}, "3"),
        ({"content-type": None}, "3"),
        ({"x-nul": "a\0b"}, "3"),
        ({"x-line": "a\r\nb"}, "3"),
        ({"x-return": "a\rb"}, "3"),
        # h2 says of these that they are no HTTP/2; the edge never sends them on.
        ({"content-length": "3"}, "closed"),
        ({"content-length": "abc"}, "closed"),
        ({f"x-{number}": "a" * 100 for number in range(500)}, "closed"),
    ],
)
async def test_hostile_headers_are_refused_or_mean_nothing_and_harm_nobody_else(
    fields: dict[str, str | None], outcome: str
) -> None:
    async with market_with_writer() as market, raw_client(market) as good, raw_client(market) as bad:
        neighbour = good.call()
        number = bad.call(fields=fields)

        def answer() -> str:
            if bad.closed:
                return "closed"
            return "served" if bad.messages(number) else bad.trailers.get(number, {}).get("grpc-status", "")

        assert await until(answer) == outcome
        await market.send(tick(1))
        await until(lambda: good.sequences(neighbour) == [1])


async def test_headers_in_frames_without_end_are_not_kept() -> None:
    async with market_with_writer() as market, raw_client(market) as good, raw_client(market) as bad:
        number = good.call()
        part = b"\0\x40\0\x09\0\0\0\0\1" + b"x" * 0x4000  # CONTINUATION
        bad.send(b"\0\0\1\x01\0\0\0\0\1x" + part * 40)  # h2 would take 64
        await until(lambda: bad.closed)
        await market.send(tick(1))
        await until(lambda: good.sequences(number) == [1])


async def test_headers_without_end_are_refused() -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        client.call(x_filler="a" * 60_000)
        await until(lambda: client.closed)


async def test_a_deadline_ends_a_stream_with_its_status() -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        number = client.call(grpc_timeout="300m")
        await until(lambda: client.ended.get(number))
        assert client.trailers[number]["grpc-status"] == "4"
        assert open_streams() == 0


async def test_a_session_that_ends_takes_its_streams_along_with_a_reason() -> None:
    async with market_with_writer() as market:
        before = ended("UNAUTHENTICATED")
        alice = market.platform.identity("alice", session_id="s1")
        revoked = alice.stub(MarketServiceStub).StreamTicks(LOSSLESS)
        expired = market.platform.identity("bob", life_s=2).stub(MarketServiceStub).StreamTicks(CONFLATED)
        other = market.platform.identity("alice").stub(MarketServiceStub).StreamTicks(LOSSLESS)
        for call in (revoked, expired, other):
            assert (await call.read()).HasField("started")
        market.platform.host.revocations.add("s1", 2e9)
        for call, reason in ((revoked, "SESSION_REVOKED"), (expired, "TOKEN_EXPIRED")):
            assert (await call.read()).end.reason == reason
            assert await refusal(call) == ("UNAUTHENTICATED", reason)
        await until(lambda: open_streams() == 1)
        assert ended("UNAUTHENTICATED") == before + 2
        await market.send(tick(1))
        assert await read_ticks(other, 1) == [1]


async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    async with market_with_writer() as market:
        before = ended("CANCELLED")
        async with raw_client(market) as client:
            numbers = [client.call(LOSSLESS), client.call(CONFLATED)]
            await until(lambda: open_streams() == 2)
            client.control.reset_stream(numbers[0])
            client.send()
            await until(lambda: open_streams() == 1)
        await until(lambda: open_streams() == 0)
        assert ended("CANCELLED") == before + 2


async def test_a_silent_client_is_asked_and_one_that_does_not_answer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE_S", 0.2)
    monkeypatch.setattr(connection, "ANSWER_S", 1.0)
    async with market_with_writer() as market, raw_client(market) as good, raw_client(market) as gone:
        gone.call()
        number = good.call()
        await until(lambda: open_streams() == 2)
        gone._task.cancel()
        await until(lambda: open_streams() == 1, timeout_s=20)
        await market.send(tick(1))
        await until(lambda: good.sequences(number) == [1])


async def test_a_stop_ends_streams_with_where_to_resume_and_takes_no_new_ones() -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        number = client.call()
        await until(lambda: client.messages(number))
        await market.send(tick(1))
        await market.platform.host.stop()
        await until(lambda: client.closed)
        end = client.messages(number)[-1].end
        assert end.reason == "SHUTTING_DOWN" and dict(end.resume_after_sequence) == {SYMBOL: 1}
        assert client.trailers[number]["grpc-status"] == "0"
        assert client.goaway == 0


async def test_many_calls_at_once_are_all_served() -> None:
    async with market_with_writer() as market, raw_client(market) as client:
        numbers = [client.call() for _ in range(200)]
        await until(lambda: open_streams() == 200)
        await market.send(tick(1))
        await until(lambda: all(client.sequences(number) == [1] for number in numbers))


async def test_a_source_that_fails_ends_its_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with market_with_writer() as market:
        failing, other = market.stub.StreamTicks(LOSSLESS), market.stub.StreamTicks(CONFLATED)
        for call in (failing, other):
            await call.read()

        def fail(subscriber: LosslessSubscriber) -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(LosslessSubscriber, "_take", fail)
        await market.send(tick(1))
        assert await refusal(failing) == ("INTERNAL", "INTERNAL")
        assert await read_ticks(other, 1) == [1]
