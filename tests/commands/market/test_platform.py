"""The commands of market data against `redfire up`, through its edge."""

import csv
import json
import re
import signal
from pathlib import Path

import pytest

from tests.commands.market.processes import outcome, start
from tests.running import Running, until
from tests.screen import Screen

pytestmark = pytest.mark.slow

RB, AU = "rb2701.SHFE", "au2702.SHFE"


def redfire(*arguments: object):
    return outcome(start(*arguments))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Running:
    with Running("--feed", "sim:7", data_dir=tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def test_ticks_come_through_the_edge_and_a_wrong_symbol_is_refused(up):
    folder = ("--data-dir", up.data_dir)
    done = redfire("ticks", RB, AU, "--json", "--count", 20, *folder)
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    ticks = [line for line in lines if "sequence" in line]
    assert len(ticks) == 20 and {tick["symbol"] for tick in ticks} <= {RB, AU}
    done = redfire("ticks", RB, "nonsense.SHFE", *folder)
    assert (done.code, done.out) == (1, "")
    assert "nonsense.SHFE" in done.err and done.err.count("\n") == 1
    assert redfire("depth", "nonsense", *folder).code == 1
    done = redfire("depth", RB, "--count", 1, *folder)
    assert (done.code, done.err) == (0, "")
    # The best level's own bar may be too short to be seen: its volume is a share of the deepest one's.
    assert re.search(r"ask 1 +\d+ +\d+", done.out) and "█" in done.out and "spread" in done.out


def test_the_admins_session_ends_with_the_command(up):
    before = len(up.admin().get("/api/users/sessions").json()["sessions"])
    assert redfire("ticks", RB, "--count", 1, "--data-dir", up.data_dir).code == 0
    assert len(up.admin().get("/api/users/sessions").json()["sessions"]) == before + 1, "the one that asks"


def test_what_was_recorded_live_is_what_market_recorded(up, tmp_path):
    folder = ("--data-dir", up.data_dir)
    live, stored = tmp_path / "live.csv", tmp_path / "stored.csv"
    done = redfire("market", "record", RB, "--out", live, "--duration", "4s", *folder)
    assert (done.code, done.err) == (0, "")
    mine = rows(live)
    assert len(mine) > 10 and len({row["datetime"] for row in mine}) == len(mine)

    def exported() -> bool:
        done = redfire("market", "export", RB, "--start", mine[0]["datetime"], "--out", stored, "--force", *folder)
        assert done.code == 0, done.err
        return rows(stored)[: len(mine)] == mine

    until(exported, timeout_s=60)


def test_a_recording_replayed_and_recorded_again_is_the_same(tmp_path):
    sample, first, second = (tmp_path / f"{name}.csv" for name in ("sample", "first", "second"))
    arguments = ("--kind", "ticks", "--days", 1, "--ticks-per-second", 0.25)
    assert redfire("data", "sample", "IF2512.CFFEX", sample, *arguments).code == 0
    for source, target in ((sample, first), (first, second)):
        with Running("--feed", f"replay:{source}@max?start=subscribe", data_dir=tmp_path / target.stem) as running:
            done = redfire("market", "record", "IF2512.CFFEX", "--out", target, "--data-dir", running.data_dir)
        assert (done.code, done.err) == (0, "")
        assert done.out.endswith("; FEED_ENDED\n")
    assert rows(first) == rows(second)
    names = ("datetime", "symbol", "exchange", "trading_day", "last_price", "volume", "bid_price_1", "ask_volume_5")
    assert [[row[name] for name in names] for row in rows(first)] == [
        [row[name] for name in names] for row in rows(sample)
    ]


def test_a_restart_of_the_platform_at_another_port_is_survived_and_named(tmp_path):
    with Running("--feed", "sim:7", data_dir=tmp_path / "data") as running:
        folder = ("--data-dir", running.data_dir)
        with Screen("ticks", RB, *folder, columns=120) as screen:
            until(lambda: "▲" in screen.shown or "▼" in screen.shown, timeout_s=60)
            recording = start("market", "record", RB, "--out", tmp_path / "live.csv", "--json", *folder)
            until(lambda: list(tmp_path.glob(".live.csv.*.part")), timeout_s=60)
            running.stop()
            until(lambda: "opening again" in screen.shown, timeout_s=60)
            running.start()
            until(lambda: "resumed" in screen.shown, timeout_s=60)
            screen.process.send_signal(signal.SIGINT)
            assert screen.end() == 0
        recording.send_signal(signal.SIGINT)
        done = outcome(recording)
        # A new run of the feed: what was between is not known, and said so.
        assert done.code == 3, done.err
        assert json.loads(done.out)["gap_count"] >= 1
        assert "Traceback" not in screen.shown + done.err


def test_a_token_that_expires_under_a_stream_is_renewed_without_a_lost_tick(tmp_path):
    environment = {"REDFIRE_AUTH__ACCESS_TOKEN_S": "10"}
    with Running("--feed", "sim:7", data_dir=tmp_path / "data", env=environment) as running:
        done = redfire("ticks", RB, "--json", "--count", 250, "--data-dir", running.data_dir)
    assert done.code == 0
    assert set(done.err.splitlines()) == {"redfire: opening the stream again: the token has expired"}
    lines = [json.loads(line) for line in done.out.splitlines()]
    sequences = [int(line["sequence"]) for line in lines if "sequence" in line]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert not [line for line in lines if "gap" in line or "newEpoch" in line]
