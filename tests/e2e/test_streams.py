"""Streams from outside: both REST forms, silence, conflation, changes while running, slow readers, and their end."""

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.trading.v1 import order_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from tests.e2e.jobs import jobs_of
from tests.running import Client, Running, reason, until

SYMBOL, OTHER = "rb2701.SHFE", "cu2701.SHFE"
TICKS = "/api/market/ticks:stream"


@pytest.fixture(scope="module")
def paths(up: Running, admin: Client) -> dict[str, dict[str, str]]:
    """Every streaming route of the contract, with what it must be asked with to say something soon."""
    strategy = {"className": "MovingAverageStrategy", "symbol": SYMBOL}
    made = until(lambda: admin.post("/api/strategies", strategy).json().get("strategy"), timeout_s=20)
    beat = {"heartbeatInterval": "0.2s"}
    backtest_id, optimization_id = jobs_of(admin)
    streams = {
        TICKS: {"symbols": SYMBOL},
        "/api/market/bars:stream": {"symbols": SYMBOL, **beat},
        "/api/market/sessions:stream": {"symbols": SYMBOL, **beat},
        "/api/trading/orders:stream": {},
        "/api/risk/events:stream": beat,
        f"/api/strategies/{made['strategyId']}/events:stream": beat,
        f"/api/strategies/backtests/{backtest_id}:watch": {},
        f"/api/strategies/optimizations/{optimization_id}:watch": {},
        "/api/config:watch": {"environment": "development", "serviceName": "risk"},
    }
    routes = [route.path for rpc in Contract(descriptor_set()).edge_rpcs if rpc.policy.streams for route in rpc.routes]
    assert len(routes) == len(streams)
    return streams


@pytest.mark.parametrize("sse", [False, True], ids=["ndjson", "sse"])
def test_every_stream_answers_lines_and_events(admin, paths, sse):
    for path, parameters in paths.items():
        headers = {"accept": "text/event-stream"} if sse else {}
        with admin.http.stream("GET", path, params=parameters, headers=headers) as answer:
            assert answer.status_code == 200, path
            kind = "text/event-stream" if sse else "application/json"
            assert answer.headers["content-type"].startswith(kind), path
            line = next(line for line in answer.iter_lines() if line)
            assert line.startswith("data: ") == sse, path
            assert isinstance(json.loads(line.removeprefix("data: ")), dict), path


def test_a_stream_that_cannot_begin_is_an_error_with_its_status(admin, trader):
    for client, path, parameters, status in (
        (trader, TICKS, {}, 400),
        (trader, TICKS, {"symbols": "no2701.SHFE"}, 404),
        (trader, TICKS, {"symbols": SYMBOL, "minInterval": "-1s"}, 400),
        (trader, TICKS, {"symbols": SYMBOL, "nope": "1"}, 400),
        # A map has no form in a query: gRPC and gRPC-Web carry it.
        (trader, TICKS, {"symbols": SYMBOL, f"resumeAfterSequence[{SYMBOL}]": "1"}, 400),
        (trader, TICKS, {"symbols": SYMBOL, "resumeAfterSequence": "1"}, 400),
        (trader, "/api/trading/orders:stream", {"accountId": str(uuid4())}, 404),
        (trader, "/api/config:watch", {"environment": "development", "serviceName": "risk"}, 403),
        (admin.running.client(), TICKS, {"symbols": SYMBOL}, 401),
    ):
        for accept in ("application/json", "text/event-stream"):
            with client.http.stream("GET", path, params=parameters, headers={"accept": accept}) as answer:
                answer.read()
                assert answer.status_code == status, (path, parameters, answer.text)
                assert answer.json()["code"], (path, parameters)


def test_silence_is_broken_by_heartbeats(trader):
    for path, parameters in (
        ("/api/market/bars:stream", {"symbols": SYMBOL}),
        ("/api/trading/orders:stream", {}),
        ("/api/risk/events:stream", {}),
    ):
        messages = trader.lines(path, heartbeatInterval="0.2s", **parameters)
        beats = itertools.islice((message["heartbeat"] for message in messages if "heartbeat" in message), 3)
        # Risk's is the time itself.
        times = [datetime.fromisoformat(beat if isinstance(beat, str) else beat["time"]) for beat in beats]
        assert len(times) == 3 and times == sorted(set(times)), path


def test_a_conflated_stream_keeps_its_interval_and_shows_the_latest(trader):
    sequences: list[int] = []
    parameters = {"symbols": SYMBOL, "mode": "DELIVERY_MODE_CONFLATED", "minInterval": "0.4s"}
    for message in trader.lines(TICKS, **parameters):
        for tick in message["ticks"]:
            sequences.append(int(tick["sequence"]))
        if len(sequences) == 5:
            break
    # Ten a second come, and what lies between two is passed over.
    assert len(sequences) == 5 and all(later - earlier >= 2 for earlier, later in itertools.pairwise(sequences))


@pytest.mark.parametrize("sse", [False, True], ids=["ndjson", "sse"])
def test_symbols_of_a_running_stream_change_by_rest(up, trader, sse):
    helper = up.client(trader.token)
    stream = trader.lines(TICKS, sse=sse, symbols=SYMBOL)
    stream_id = next(message["started"]["streamId"] for message in stream if message.get("started"))
    path = f"/api/market/streams/{stream_id}:update"
    added = helper.post(path, {"addSymbols": [OTHER]})
    assert added.json()["symbols"] == sorted([OTHER, SYMBOL])
    assert any(tick["symbol"] == OTHER for message in stream for tick in message["ticks"])
    assert helper.post(path, {"removeSymbols": [SYMBOL]}).json()["symbols"] == [OTHER]
    count = 0
    for message in stream:
        # What was on its way still comes.
        count = 0 if any(tick["symbol"] == SYMBOL for tick in message["ticks"]) else count + 1
        if count == 10:
            break
    assert count == 10
    unknown = helper.post(path, {"addSymbols": ["no2701.SHFE"]})
    assert (unknown.status_code, reason(unknown)) == (404, "UNKNOWN_SYMBOL")
    stream.close()
    until(lambda: helper.post(path, {"addSymbols": [SYMBOL]}).status_code == 404)


def test_a_stream_of_orders_resumes_after_a_sequence(trader):
    def snapshot() -> int:
        for message in trader.lines("/api/trading/orders:stream"):
            if message.get("snapshotComplete") is not None:
                return int(message["sequence"])
        raise AssertionError

    after = snapshot()
    order = trader.order(SYMBOL, uuid4().hex).json()["order"]
    until(lambda: trader.get("/api/trading/trades").json()["trades"])
    statuses, sequences = [], []
    for message in trader.lines("/api/trading/orders:stream", resumeAfterSequence=after):
        assert message.get("snapshotComplete") is None
        assert not message.get("gap")
        if message.get("order"):
            assert message["order"]["orderId"] == order["orderId"]
            statuses.append(message["order"]["status"])
            sequences.append(int(message["sequence"]))
        if message.get("heartbeat") or (statuses and statuses[-1] == "ORDER_STATUS_FILLED"):
            break
    assert statuses[-1] == "ORDER_STATUS_FILLED"
    assert sequences == sorted(set(sequences))
    assert min(sequences) > after


# Slow readers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A busy market, and small buffers before a stream is too slow."""
    folder: Path = tmp_path_factory.mktemp("fast")
    env = {
        "REDFIRE_ENGINE__SIM_TICKS_PER_SECOND": "800",
        "REDFIRE_MARKET__BUFFER_TICKS": "1024",
        "REDFIRE_MARKET__RING_MB": "64",
    }
    with Running("--feed", "sim:9", data_dir=folder / "data", env=env) as running:
        yield running


@pytest.mark.timeout(90)
def test_a_slow_reader_gets_the_position_to_resume_from_and_loses_nothing(fast):
    trader = fast.register("slow")
    symbols = [i["symbol"] for i in trader.get("/api/market/instruments").json()["instruments"]]
    metadata = [("authorization", f"Bearer {trader.token}")]
    sequences: dict[str, list[int]] = {symbol: [] for symbol in symbols}

    def read(stream: Any, until_count: int) -> market_pb2.StreamTicksResponse.End | None:
        """All up to the end, or so many ticks."""
        count = 0
        for message in stream:
            for tick in message.ticks:
                sequences[tick.symbol].append(tick.sequence)
                count += 1
            assert message.WhichOneof("event") != "gap"
            if message.HasField("end"):
                return message.end
            if count > until_count:
                stream.cancel()
                return None
        return None

    # Small windows, so that what waits lies in the platform's buffers and not in the client's.
    options = [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(fast.addresses["edge"], options=options) as channel:
        stub = MarketServiceStub(channel)
        slow = stub.StreamTicks(market_pb2.StreamTicksRequest(symbols=symbols), metadata=metadata, timeout=60)
        first = next(iter(slow))
        assert first.started.stream_id
        # Nothing is read while the market goes on.
        began = sequence(trader)
        until(lambda: sequence(trader) > began + 1500, timeout_s=25, step_s=0.2)
        end = read(slow, 10**9)
        assert end is not None
        assert end.reason == "SLOW_CONSUMER"
        assert set(end.resume_after_sequence) == set(symbols)
        assert all(end.resume_after_sequence[s] == seen[-1] for s, seen in sequences.items() if seen)
        # While it catches up the market goes on: it may be ended again, and goes on from there.
        for _ in range(20):
            request = market_pb2.StreamTicksRequest(
                symbols=symbols, resume_after_sequence=end.resume_after_sequence, epoch=end.epoch
            )
            end = read(stub.StreamTicks(request, metadata=metadata, timeout=60), 50_000)
            if end is None:
                break
            assert set(end.resume_after_sequence) == set(symbols)
        assert end is None
    for symbol, seen in sequences.items():
        assert seen == list(range(seen[0], seen[0] + len(seen))), symbol


def sequence(client: Client) -> int:
    """The last sequence of the market."""
    return int(client.get(f"/api/market/ticks/{SYMBOL}").json()["tick"]["sequence"])


# The end of the platform --------------------------------------------------------------------------------------------


@pytest.mark.timeout(90)
def test_streams_hear_that_the_platform_stops_and_end_well(tmp_path):
    with Running("--feed", "sim:5", data_dir=tmp_path / "data") as running:
        trader = running.register("alice")
        metadata = [("authorization", f"Bearer {trader.token}")]
        last: dict[str, Any] = {}
        began = {
            name: threading.Event()
            for name in ("ticks ndjson", "ticks sse", "orders", "risk", "ticks grpc", "orders grpc")
        }

        def rest(name: str, path: str, sse: bool, **parameters: str) -> None:
            for message in running.client(trader.token).lines(path, sse=sse, **parameters):
                last[name] = message.get("end")
                began[name].set()
            last[name] = (last[name], "clean")

        def rpc(name: str, call: Any, request: Any) -> None:
            for message in call(request, metadata=metadata):
                last[name] = message.end.reason if message.HasField("end") else None
                began[name].set()
            last[name] = (last[name], "clean")

        channel = running.channel()
        ticks = market_pb2.StreamTicksRequest(symbols=[SYMBOL])
        threads = [
            threading.Thread(target=rest, args=("ticks ndjson", TICKS, False), kwargs={"symbols": SYMBOL}),
            threading.Thread(target=rest, args=("ticks sse", TICKS, True), kwargs={"symbols": SYMBOL}),
            threading.Thread(target=rest, args=("orders", "/api/trading/orders:stream", False)),
            threading.Thread(
                target=rest, args=("risk", "/api/risk/events:stream", False), kwargs={"heartbeatInterval": "0.2s"}
            ),
            threading.Thread(target=rpc, args=("ticks grpc", MarketServiceStub(channel).StreamTicks, ticks)),
            threading.Thread(
                target=rpc,
                args=("orders grpc", OrderServiceStub(channel).StreamOrders, order_service_pb2.StreamOrdersRequest()),
            ),
        ]
        for thread in threads:
            thread.daemon = True
            thread.start()
        for name, event in began.items():
            assert event.wait(10), name
        running.stop(10)
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        channel.close()
    ends = {
        name: (end[0]["reason"] if isinstance(end[0], dict) else end[0], end[1]) if isinstance(end, tuple) else end
        for name, end in last.items()
    }
    assert ends == dict.fromkeys(began, ("SHUTTING_DOWN", "clean"))
