"""`redfire market record` from outside: files that imports and replays read, named gaps, and what a stop leaves."""

import csv
import gzip
import json
import resource
import signal
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.reasons import Reason

from services.engine.feeds.feed import open_recording, parse_feed
from services.engine.feeds.replay import RowReader
from services.kernel.errors import Denied, NotFound, Unavailable
from services.quant.catalogue import Catalogue
from tests.commands.market.fake_edge import HOLD, FakeEdge, batch, end, serving, started
from tests.commands.market.processes import outcome, start
from tests.market.ticks import SYMBOL, at, tick
from tests.running import until
from tests.screen import TIMEOUT_S, Screen

OTHER = "rb2105.SHFE"
BOOK = {
    "last_quantity": 3.0, "turnover": 12_345.6, "open_interest": 99.0, "open_price": 4990.0, "high_price": 5010.2,
    "low_price": 4980.0, "pre_close_price": 4985.4, "limit_up": 5500.0, "limit_down": 4500.0,
    "bid_prices": [4999.8, 4999.6], "bid_quantities": [1.0, 2.0], "ask_prices": [5000.2], "ask_quantities": [7.0],
}  # fmt: skip


def gap(symbol: str, first: int, last: int) -> pb.StreamTicksResponse:
    return pb.StreamTicksResponse(gap={"symbol": symbol, "first_sequence": first, "last_sequence": last})


def replayed(file: Path) -> list[pb.Tick]:
    """The ticks of a recording as the replay feed reads them, without numbers of their own."""
    with open_recording(parse_feed(f"replay:{file}@max").file) as text:
        rows = csv.reader(text)
        reader = RowReader(next(rows), Catalogue.load())
        quotes = [reader(row) for row in rows]
    return [
        pb.Tick(
            bid_prices=[p for p, _ in one.bids], bid_quantities=[q for _, q in one.bids],
            ask_prices=[p for p, _ in one.asks], ask_quantities=[q for _, q in one.asks],
            **{name: getattr(one, name) for name in one.__slots__ if name not in ("bids", "asks")},
        )
        for one in quotes
    ]  # fmt: skip


def unnumbered(*ticks: pb.Tick) -> list[pb.Tick]:
    copies = [pb.Tick.FromString(one.SerializeToString()) for one in ticks]
    for one in copies:
        one.ClearField("sequence")
    return copies


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_a_recording_is_replayed_as_it_was(redfire, tmp_path, name):
    ticks = [tick(1, **BOOK), tick(1, OTHER, last_price=3500.0), tick(2, time_ns=at("2026-11-20 23:59:59.123456"))]
    file = tmp_path / name
    with serving(FakeEdge((started("e1"), batch(*ticks[:2]), batch(ticks[2]), end()))) as edge:
        done = redfire("market", "record", SYMBOL, OTHER, "--out", file, "--edge", edge.address, "--token", "t")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"{file}: 3 ticks ({SYMBOL} 2, {OTHER} 1) from 2026-11-20 09:30:00.500000 to 2026-11-20 23:59:59.123456; "
        "FEED_ENDED\n"
    )
    assert replayed(file) == unnumbered(*ticks)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parquet_is_imported_like_csv(redfire, tmp_path):
    script = (started("e1"), batch(tick(1, **BOOK), tick(2), tick(3, OTHER)), end())
    listed = []
    for name in ("day.parquet", "day.csv"):
        with serving(FakeEdge(script)) as edge:
            base = ("market", "record", SYMBOL, OTHER, "--out", tmp_path / name, "--edge", edge.address, "--token", "t")
            assert redfire(*base).code == 0
        folder = ("--data-dir", tmp_path / f"data-{name}")
        assert redfire("data", "import", tmp_path / name, "--symbol", SYMBOL, *folder).code == 0
        listed.append(json.loads(redfire("data", "list", "--json", *folder).out))
    assert listed[0][0]["rows"] == 2
    assert [{**row, "bytes": 0} for row in listed[0]] == [{**row, "bytes": 0} for row in listed[1]]
    table = pq.read_table(tmp_path / "day.parquet")
    assert table.column("symbol").to_pylist() == ["IF2101", "IF2101", "rb2105"]
    assert [moment.value for moment in table.column("datetime")] == [tick(n).time_ns for n in (1, 2, 3)]


def test_what_is_missing_is_named_and_the_exit_code_says_so(redfire, tmp_path):
    script = (
        started("e1"), batch(tick(1), tick(1, OTHER)), gap(SYMBOL, 2, 31), batch(tick(32), tick(5, OTHER)),
        pb.StreamTicksResponse(new_epoch={"epoch": "e2"}), batch(tick(7)), end(epoch="e2"),
    )  # fmt: skip
    with serving(FakeEdge(script, script)) as edge:
        base = ("market", "record", SYMBOL, OTHER, "--edge", edge.address, "--token", "t", "--out")
        done = redfire(*base, tmp_path / "a.csv")
        assert done.code == 3
        assert done.out.splitlines()[1:] == [
            f"gap after 2026-11-20 09:30:00.500000: 30 ticks of {SYMBOL} are lost (sequences 2 to 31)",
            f"gap after 2026-11-20 09:30:00.500000: 3 ticks of {OTHER} are lost (sequences 2 to 4)",
            "gap after 2026-11-20 09:30:16: the feed began anew, and what was between is not known",
        ]
        done = redfire(*base, tmp_path / "b.csv", "--json")
    outcome = json.loads(done.out)
    assert (done.code, outcome["ticks"], outcome["missed"], outcome["gap_count"]) == (3, 5, 33, 3)
    assert outcome["gaps"][1] == {
        "symbol": OTHER, "first_sequence": 2, "last_sequence": 4, "ticks": 3, "after": "2026-11-20 09:30:00.500000",
    }  # fmt: skip
    assert outcome["symbols"] == {SYMBOL: 3, OTHER: 2}
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(redfire, tmp_path):
    file = tmp_path / "day.csv"
    file.write_text("mine")
    with serving(FakeEdge((started("e1"), batch(tick(1)), end()))) as edge:
        base = ("market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t")
        done = redfire(*base)
        assert (done.code, done.out) == (2, "")
        assert done.err == f"redfire: {file}: there is such a file already; --force replaces it\n"
        assert (file.read_text(), edge.requests) == ("mine", [])
        assert redfire(*base, "--force").code == 0
    assert len(file.read_text().splitlines()) == 2


def test_a_file_that_somebody_else_makes_meanwhile_is_kept_too(tmp_path):
    file, made = tmp_path / "day.csv", threading.Event()
    with serving(FakeEdge((started("e1"), batch(tick(1)), made, end()))) as edge:
        process = start("market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t")
        until(lambda: edge.requests, timeout_s=TIMEOUT_S)
        file.write_text("another's")
        made.set()
        done = outcome(process)
    assert (done.code, file.read_text()) == (2, "another's")
    (part,) = (path for path in tmp_path.iterdir() if path != file)
    assert str(part) in done.err and done.err.count("\n") == 1
    assert len(part.read_text().splitlines()) == 2


def test_without_a_tick_there_is_no_file(redfire, tmp_path):
    file = tmp_path / "day.csv"
    refusal = NotFound(message="instrument x.SHFE not found", reason=Reason.UNKNOWN_SYMBOL)
    with serving(FakeEdge((started("e1"), end()), (refusal,))) as edge:
        base = ("market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t")
        done = redfire(*base)
        assert (done.code, done.err) == (1, f"redfire: no tick of {SYMBOL} came: {file} was not written\n")
        done = redfire(*base)
        assert (done.code, done.err) == (1, "redfire: instrument x.SHFE not found (UNKNOWN_SYMBOL)\n")
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_fails_keeps_what_it_has(redfire, tmp_path):
    file = tmp_path / "day.csv"
    with serving(FakeEdge((started("e1"), batch(tick(1)), Denied("the permission market:read is needed")))) as edge:
        done = redfire("market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t")
    assert done.code == 1
    assert "the recording ends before its time: the permission" in done.err
    assert len(file.read_text().splitlines()) == 2


def test_ctrl_c_ends_a_recording_whose_progress_is_shown(tmp_path):
    file = tmp_path / "day.csv.gz"
    ticks = [tick(n) for n in range(1, 2001)]
    with (
        serving(FakeEdge((started("e1"), batch(*ticks), HOLD))) as edge,
        Screen("market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t") as screen,
    ):
        until(lambda: "day.csv.gz: 2,000 ticks" in screen.shown, timeout_s=TIMEOUT_S)
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
    assert "2,000 ticks (IF2101.CFFEX 2,000)" in screen.shown and "; stopped" in screen.shown
    assert "Traceback" not in screen.shown
    assert len(gzip.decompress(file.read_bytes()).splitlines()) == 2001


def test_a_stream_that_is_down_when_the_time_is_over_is_a_gap(redfire, tmp_path):
    down = [(Unavailable("the market is gone"),)] * 100
    with serving(FakeEdge((started("e1"), batch(tick(1))), *down)) as edge:
        base = ("market", "record", SYMBOL, "--edge", edge.address, "--token", "t", "--duration", "3s")
        done = redfire(*base, "--out", tmp_path / "day.csv")
    assert done.code == 3
    gap = "gap after 2026-11-20 09:30:00.500000: the stream was not open at the end: the market is gone"
    assert done.out.splitlines()[1:] == [gap]


def test_a_full_disk_is_one_line_and_the_rows_before_are_kept(tmp_path):
    file = tmp_path / "day.csv"
    ticks = [tick(n, **BOOK) for n in range(1, 5001)]
    with serving(FakeEdge((started("e1"), batch(*ticks), HOLD))) as edge:
        done = outcome(
            start(
                "market", "record", SYMBOL, "--out", file, "--edge", edge.address, "--token", "t",
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
            )
        )  # fmt: skip
    assert done.code == 2
    (part,) = tmp_path.iterdir()
    assert done.err == f"redfire: {file}: File too large; the rows before are in {part}\n"
    assert len(part.read_text().splitlines()) > 100
