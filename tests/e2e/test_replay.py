"""A whole recorded day, engine → market → subscribers by gRPC, NDJSON and SSE: complete, in order, right bars."""

import csv
import gzip
import threading
from pathlib import Path

import pytest
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.recorded_days import IF, IF_DAILY, recorded, recorded_days
from tests.running import Running, until

SYMBOL = "IF2101.CFFEX"
DAY = "20210104"


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> tuple[Path, list[dict[str, str]]]:
    """The first recorded day, as a file of its own and as rows."""
    file = tmp_path_factory.mktemp("day") / "day.csv.gz"
    with gzip.open(recorded(IF), "rt", newline="") as whole:
        reader = csv.DictReader(whole)
        rows = [row for row in reader if row["trading_day"] == DAY]
        fields = reader.fieldnames
    with gzip.open(file, "wt", newline="") as out:
        writer = csv.DictWriter(out, fields)
        writer.writeheader()
        writer.writerows(rows)
    assert len(rows) > 25_000
    return file, rows


def follow_grpc(running: Running, token: str, into: list[tuple[int, int, float]], ends: list[str]) -> None:
    with running.channel() as channel:
        request = market_pb2.StreamTicksRequest(symbols=[SYMBOL])
        stream = MarketServiceStub(channel).StreamTicks(request, metadata=[("authorization", f"Bearer {token}")])
        for message in stream:
            into += [(tick.sequence, tick.time_ns, tick.last_price) for tick in message.ticks]
            assert message.WhichOneof("event") != "gap"
            if message.WhichOneof("event") == "end":
                ends.append(message.end.reason)


def follow_rest(client, sse: bool, into: list[tuple[int, int, float]], ends: list[str]) -> None:
    for message in client.lines("/api/market/ticks:stream", sse=sse, timeout_s=200, symbols=SYMBOL):
        into += [(int(t["sequence"]), int(t["timeNs"]), t["lastPrice"]) for t in message.get("ticks", [])]
        assert not message.get("gap")
        if message.get("end"):
            ends.append(message["end"]["reason"])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("speed", ["200", "max"])
def test_a_whole_day_reaches_every_lossless_subscriber_complete_and_in_order(day, tmp_path, speed):
    file, rows = day
    with Running("--feed", f"replay:{file}@{speed}?start=subscribe", data_dir=tmp_path / "data") as running:
        clients = [running.register(name) for name in ("grpc", "ndjson", "sse")]
        received: list[list[tuple[int, int, float]]] = [[], [], []]
        ends: list[list[str]] = [[], [], []]
        # At @max the first stream starts the replay, and only it is sure to miss nothing.
        count = 3 if speed != "max" else 1
        threads = [
            threading.Thread(target=follow_grpc, args=(running, clients[0].token, received[0], ends[0])),
            threading.Thread(target=follow_rest, args=(clients[1], False, received[1], ends[1])),
            threading.Thread(target=follow_rest, args=(clients[2], True, received[2], ends[2])),
        ][:count]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
            assert not thread.is_alive()
        # The first subscriber has every tick; the others from where they came in, each without a hole.
        longest = max(received, key=len)
        assert len(longest) == len(rows)
        assert [price for _, _, price in longest] == [float(row["last_price"]) for row in rows]
        for got in received[:count]:
            sequences = [sequence for sequence, _, _ in got]
            assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
            assert got == longest[len(longest) - len(got) :]
        assert ends[:count] == [["FEED_ENDED"]] * count

        def day_bar():
            return clients[0].get(f"/api/market/bars/{SYMBOL}", interval="INTERVAL_1D").json()["bars"]

        bar = until(day_bar)[0]
    with gzip.open(recorded_days(IF_DAILY), "rt") as bars:
        expected = next(row for row in csv.DictReader(bars) if row["datetime"].startswith("2021-01-04"))
    prices = {key: bar[key] for key in ("open", "high", "low", "close", "volume")}
    assert prices == {key: float(expected[key]) for key in prices}
