"""`redfire data sample`: files that backtests read and the engine replays, the same for the same seed."""

import gzip

from services.engine.feeds.feed import parse_feed


def test_the_same_seed_writes_the_same_bars_which_a_backtest_reads(redfire, tmp_path):
    one, two, other = tmp_path / "one.csv", tmp_path / "two.csv", tmp_path / "other.csv"
    base = ("data", "sample", "rb2510.SHFE")
    code, out, err = redfire(*base, one, "--days", "3")
    assert (code, err) == (0, "")
    # The first day after New Year has no night: 45 bars of the day, then twice 24 of the night more.
    assert "183 5m bars of rb2510.SHFE, trading days 20250102 to 20250106" in out
    assert redfire(*base, two, "--days", "3")[0] == 0
    assert redfire(*base, other, "--days", "3", "--seed", "2")[0] == 0
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.csv", "two.csv", "other.csv"}
    code, out, err = redfire(
        "backtest", "DoubleMaStrategy", "--symbol", "rb2510.SHFE", "--interval", "5m", "--data", one
    )
    assert (code, err) == (0, "")
    assert "data:" not in out, "nothing is odd in the sample"


def test_ticks_are_gzipped_and_can_be_replayed(redfire, tmp_path):
    file = tmp_path / "if.csv.gz"
    code, _, err = redfire(
        "data", "sample", "IF2503.CFFEX", file, "--kind", "ticks", "--days", "1", "--ticks-per-second", "0.1"
    )
    assert (code, err) == (0, "")
    rows = gzip.decompress(file.read_bytes()).decode().splitlines()
    # Four hours of a tick in ten seconds.
    assert len(rows) == 1 + 4 * 360
    assert parse_feed(f"replay:{file}@max").file == file


def test_what_cannot_be_sampled_is_refused_in_one_line_and_writes_nothing(redfire, tmp_path):
    file = tmp_path / "x.csv"
    for arguments, message in (
        (("nonsense", file), "no such instrument"),
        (("rb2510.SHFE", file, "--from", "2025-13-01"), "is not a date"),
        (("rb2510.SHFE", tmp_path / "no" / "x.csv"), "No such file or directory"),
    ):
        code, out, err = redfire("data", "sample", *arguments)
        assert (code, out) == (2, "")
        assert message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
