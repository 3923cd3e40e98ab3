"""`redfire market export` from outside: every page, quotas and outages waited for, files that imports read."""

import csv
import json
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.reasons import Reason

from services.kernel.errors import NotFound, ResourceExhausted, Unauthenticated, Unavailable
from tests.commands.market.fake_edge import FakeEdge, serving
from tests.market.ticks import SHANGHAI, SYMBOL, at, tick


def page(first: int, last: int, token: str = "") -> pb.ListTicksResponse:
    return pb.ListTicksResponse(ticks=[tick(n) for n in range(first, last + 1)], next_page_token=token)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_all_pages_are_exported_through_quotas_outages_and_a_token_that_expires(redfire, tmp_path):
    pages = (
        page(1, 1000, "p2"), ResourceExhausted("too many calls", retry_after_s=0.01), Unavailable("lost"),
        page(1001, 1500, "p3"), Unauthenticated("expired", reason=Reason.TOKEN_EXPIRED), page(1501, 1501, "p4"),
        page(2, 1),
    )  # fmt: skip
    file = tmp_path / "out.csv"
    with serving(FakeEdge(pages=pages, refusals=[None])) as edge:
        folder = edge.data_dir(tmp_path / "data")
        done = redfire("market", "export", SYMBOL, "--out", file, "--data-dir", folder)
        assert (done.code, done.err) == (0, "")
        first, last = "2026-11-20 09:30:00.500000", "2026-11-20 09:42:30.500000"
        assert done.out == f"{file}: 1,501 ticks of {SYMBOL} from {first} to {last}\n"
        assert [request.page_token for request in edge.listed] == ["", "p2", "p2", "p2", "p3", "p3", "p4"]
        assert {request.page_size for request in edge.listed} == {1000}
    exported = rows(file)
    assert [float(row["volume"]) for row in exported] == [float(n) for n in range(1, 1502)]
    assert (exported[0]["datetime"], exported[-1]["datetime"]) == (first, last)


def test_times_are_the_exchanges_and_a_date_as_end_includes_its_day(redfire, tmp_path):
    with serving(FakeEdge(pages=[page(1, 1)] * 3)) as edge:
        base = ("market", "export", SYMBOL, "--edge", edge.address, "--token", "t", "--force", "--out", tmp_path / "x")
        assert redfire(*base, "--start", "2026-11-20", "--end", "2026-11-20").code == 0
        assert redfire(*base, "--start", "2026-11-20 09:30", "--end", "2026-11-20T11:30+00:00").code == 0
        spans = [[one.ToDatetime(SHANGHAI) for one in (asked.start_time, asked.end_time)] for asked in edge.listed]
    assert spans == [
        [datetime(2026, 11, 20, tzinfo=SHANGHAI), datetime(2026, 11, 21, tzinfo=SHANGHAI)],
        [datetime(2026, 11, 20, 9, 30, tzinfo=SHANGHAI), datetime(2026, 11, 20, 19, 30, tzinfo=SHANGHAI)],
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_bars_are_exported_under_a_name_of_their_own_and_imported(redfire, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    bars = []
    for minute in range(3):
        bar = pb.Bar(symbol=SYMBOL, open=1, high=3, low=1, close=2, volume=minute, turnover=5, open_interest=7)
        bar.incomplete = minute == 1
        bar.start_time.FromNanoseconds(at(f"2026-11-20 09:3{minute}:00"))
        bars.append(bar)
    with serving(FakeEdge(pages=[pb.ListBarsResponse(bars=bars)])) as edge:
        base = ("market", "export", SYMBOL, "--edge", edge.address, "--token", "t")
        done = redfire(*base, "--bars", "1m", "--format", form, "--json")
        assert edge.listed[0].interval == common_pb2.INTERVAL_1M
    file = f"{SYMBOL}.1m.{form}"
    assert (done.code, json.loads(done.out)) == (
        0,
        {
            "symbol": SYMBOL, "interval": "1m", "file": file, "format": form, "rows": 3,
            "first": "2026-11-20 09:30:00", "last": "2026-11-20 09:32:00", "incomplete": 1,
        },
    )  # fmt: skip
    exported = rows(Path(file)) if form == "csv" else pq.read_table(file).to_pylist()
    assert [int(row["incomplete"]) for row in exported] == [0, 1, 0]
    with serving(FakeEdge(pages=[pb.ListBarsResponse(bars=bars)])) as edge:
        base = ("market", "export", SYMBOL, "--edge", edge.address, "--token", "t")
        done = redfire(*base, "--bars", "1m", "--out", f"again.{form}")
    assert done.out.splitlines()[1:] == ["1 of them are incomplete: they were built over a gap"]
    folder = ("--data-dir", tmp_path / "data")
    imported = json.loads(redfire("data", "import", file, "--symbol", SYMBOL, "--json", *folder).out)
    assert (imported["kind"], imported["interval"], imported["rows"]) == ("bars", "1m", 3)
    assert imported["first"] == "2026-11-20T09:30:00+08:00"


def test_what_cannot_be_exported_is_one_line_and_writes_nothing(redfire, tmp_path):
    refusal = NotFound(message="instrument x.SHFE not found", reason=Reason.UNKNOWN_SYMBOL)
    file = tmp_path / "x.csv"
    with serving(FakeEdge(pages=[refusal, page(2, 1)])) as edge:
        base = ("market", "export", "x.SHFE", "--out", file, "--edge", edge.address, "--token", "t")
        for code, message, more in (
            (1, "instrument x.SHFE not found (UNKNOWN_SYMBOL)", ()),
            (1, f"no ticks of x.SHFE are recorded in this time: {file} was not written", ()),
            (2, "Invalid value for '--start': 'soon' is neither a date like 2026-11-20 nor", ("--start", "soon")),
            (2, "Invalid value for '--bars'", ("--bars", "2m")),
            (2, "No such file or directory", ("--out", tmp_path / "no" / "x.csv")),
            (2, "is a directory", ("--out", tmp_path)),
        ):
            done = redfire(*base, *more)
            assert (done.code, done.out) == (code, "")
            assert message in done.err and done.err.startswith("redfire: ") and done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
