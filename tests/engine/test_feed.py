import gzip

import pytest

from services.engine.feeds.feed import FeedError, ReplayFeedSpec, ReplayStart, SimFeedSpec, parse_feed
from services.kernel.errors import StartError
from tests.engine.recordings import HEADER, row, write


@pytest.mark.parametrize(("text", "seed"), [("sim", 1), ("sim:7", 7), ("sim:0", 0)])
def test_the_simulated_feed(text, seed):
    assert parse_feed(text) == SimFeedSpec(seed)


@pytest.mark.parametrize(
    ("tail", "speed", "start"),
    [
        ("", 1.0, ReplayStart.RECORDER),
        ("@200", 200.0, ReplayStart.RECORDER),
        ("@0.5", 0.5, ReplayStart.RECORDER),
        ("@max", None, ReplayStart.RECORDER),
        ("?start=subscribe", 1.0, ReplayStart.SUBSCRIBE),
        ("@200?start=subscribe", 200.0, ReplayStart.SUBSCRIBE),
        ("@max?start=now", None, ReplayStart.NOW),
        ("?start=now", 1.0, ReplayStart.NOW),
        ("@20?start=recorder", 20.0, ReplayStart.RECORDER),
    ],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_replay(tmp_path, tail, speed, start, gzipped):
    file = write(tmp_path / "ticks@home.csv", [row(0)], gzipped=gzipped)
    assert parse_feed(f"replay:{file}{tail}") == ReplayFeedSpec(file, speed, start)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "sim:", "sim:x", "sim:-1", "replay", "replay:", "replay:/nonexistent.csv", "replay:/"]
)
def test_nonsense_and_missing_files_are_one_clear_line(text):
    with pytest.raises(FeedError) as caught:
        parse_feed(text)
    assert isinstance(caught.value, StartError)
    assert "\n" not in str(caught.value) and str(caught.value)


@pytest.mark.parametrize("tail", ["@fast", "@0", "@-1", "@nan", "@", "?start=later", "?x", "?start", "?stop=now"])
def test_bad_options_are_refused(tmp_path, tail):
    file = write(tmp_path / "t.csv", [row(0)])
    with pytest.raises(FeedError):
        parse_feed(f"replay:{file}{tail}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b,c\n1,2,3\n",
        HEADER.encode() + b"\n",
        b"\x1f\x8bnot gzip at all",
        gzip.compress(HEADER.encode(), mtime=0)[:-12],
        b"\xff\xfe\x00\x01" * 50,
    ],
)
def test_malformed_files_are_refused(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(FeedError, match=r"t\.csv"):
        parse_feed(f"replay:{file}")
