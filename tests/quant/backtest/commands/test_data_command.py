"""`redfire data`: files into the store, what is there, and backtests that read it."""

import json

import pytest

from tests.quant.backtest.recordings import IF, RB, rb_bars
from tests.recorded_days import recorded


def test_a_file_is_imported_once_however_often_it_comes(redfire, tmp_path):
    arguments = (
        "data",
        "import",
        recorded(RB),
        "--symbol",
        "rb888.SHFE",
        "--label",
        "end",
        "--data-dir",
        tmp_path / "d",
    )
    code, out, err = redfire(*arguments)
    assert (code, err) == (0, "")
    assert "rb888.SHFE: 15,738 5m bars added; 2019-07-31T21:00:00+08:00 to 2020-08-13T14:55:00+08:00" in out
    assert "data: 18 bars are missing inside sessions" in out
    code, out, _ = redfire(*arguments, "--json")
    again = json.loads(out)
    assert (code, again["added"], again["known"], again["rows"], again["interval"]) == (0, 0, 15738, 15738, "5m")
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0


def test_ticks_are_imported_and_all_is_listed(redfire, tmp_path):
    folder = ("--data-dir", tmp_path)
    assert "there are no data in" in redfire("data", "list", *folder)[1]
    assert redfire("data", "list", *folder, "--json")[:2] == (0, "[]\n")
    assert redfire("data", "import", recorded(IF), "--symbol", "IF2101.CFFEX", "--kind", "ticks", *folder)[0] == 0
    assert (
        redfire("data", "import", recorded(RB), "--symbol", "rb888.SHFE", "--kind", "bars", "--label", "end", *folder)[
            0
        ]
        == 0
    )
    rows = json.loads(redfire("data", "list", *folder, "--json")[1])
    assert [(row["symbol"], row["kind"], row["interval"], row["rows"]) for row in rows] == [
        ("IF2101.CFFEX", "ticks", "tick", 84347),
        ("rb888.SHFE", "bars", "5m", 15738),
    ]
    assert rows[1]["first"] == "2019-07-31T21:00:00+08:00"
    assert rows[1]["bytes"] > 100_000
    code, out, _ = redfire("data", "list", *folder)
    assert code == 0
    assert "84,347" in out
    assert "2019-07-31 21:00" in out


def test_skipped_rows_are_named_and_strict_refuses_them(redfire, tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text(
        "when,o,h,l,c,v\n2021-01-04 09:05,1,2,1,1,1\n2021-01-04 09:06,1,2,1,x,1\n2021-01-04 09:07,1,2,1,1,1\n"
    )
    base = (
        "data",
        "import",
        file,
        "--symbol",
        "rb2105.SHFE",
        "--interval",
        "1m",
        "--columns",
        "datetime=when",
        "volume=v",
    )
    code, out, _ = redfire(*base, "--data-dir", tmp_path / "d")
    assert (code, "2 1m bars added" in out) == (0, True)
    assert "data: 1 of 3 rows was skipped: line 3: close 'x' is not a number." in out
    together = (*base[:-2], "datetime=when,volume=v", "--data-dir", tmp_path / "f")
    assert redfire(*together)[:2] == (0, out)
    code, out, err = redfire(*base, "--strict", "--data-dir", tmp_path / "e")
    assert (code, out) == (2, "")
    assert err == "redfire: bad.csv: 1 of 3 rows was skipped: line 3: close 'x' is not a number.\n"
    assert not (tmp_path / "e" / "market").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--symbol is missing"),
        (("--symbol", "rb888"), "symbol 'rb888' is not of the form rb2501.SHFE"),
        (("--symbol", "rb888.SHFE", "--interval", "1m"), "interval 1m does not fit the data"),
        (("--symbol", "rb888.SHFE", "--interval", "2m"), "interval '2m' is none of 1m"),
        (("--symbol", "rb888.SHFE", "--kind", "ticks"), "it has bars, not ticks"),
        (("--symbol", "rb888.SHFE", "--kind", "ticks", "--interval", "5m"), "ticks have none"),
        (("--symbol", "rb888.SHFE", "--kind", "quotes"), "'quotes' is not one of 'bars', 'ticks'"),
        (("--symbol", "rb888.SHFE", "--timezone", "Mars"), "no time zone 'Mars'"),
        (("--symbol", "rb888.SHFE", "--columns", "close"), "'close' is not of the form name=value"),
        (("--symbol", "rb888.SHFE", "--columns", "close=x"), "there is no column 'x'"),
        (("--nonsense",), "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(redfire, tmp_path, more, message):
    code, out, err = redfire("data", "import", recorded(RB), *more, "--data-dir", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("redfire: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.slow
def test_what_was_imported_is_what_a_backtest_reads(redfire, tmp_path):
    redfire("data", "import", recorded(RB), "--symbol", "rb888.SHFE", "--label", "end", "--data-dir", tmp_path)
    run = (
        "backtest",
        "DoubleMaStrategy",
        "--symbol",
        "rb888.SHFE",
        "--json",
        "--from",
        "2020-06-01",
        "--to",
        "2020-06-30",
    )
    code, stored, err = redfire(*run, "--data-dir", tmp_path)
    assert code == 0, err
    code, filed, _ = redfire(*run, "--data", recorded(RB), "--label", "end")
    assert json.loads(stored)["trades"] == json.loads(filed)["trades"]
    assert len(json.loads(stored)["trades"]) > 50
    assert len(rb_bars()) > json.loads(stored)["rows"] > 1000
