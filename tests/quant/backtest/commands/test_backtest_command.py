"""`redfire backtest` as a user runs it: one JSON object, a table, a report; one line for what cannot be."""

import json
import subprocess
import sys
from datetime import datetime

import pytest

from services.commands.backtest.inputs import typed
from services.commands.click_command import BadInput
from services.quant.backtest.engine.vnpy_import import prepare_vnpy
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.run import run_backtest
from tests.quant.backtest.recordings import IF, RB, rb_bars
from tests.recorded_days import recorded
from tests.running import REDFIRE

DATA = ("--symbol", "rb888.SHFE", "--label", "end", "--data")
FILES = {
    "good.py": """
from vnpy_ctastrategy import CtaTemplate

class Holder(CtaTemplate):
    size = 1
    limit = 1.5
    loud = False
    note = "x"
    parameters = ["size", "limit", "loud", "note"]
    variables = []

    def on_init(self):
        pass

    def on_bar(self, bar):
        if not self.pos and self.trading:
            self.buy(bar.close_price + 10, self.size)

class Quiet(CtaTemplate):
    def on_init(self):
        pass

    def on_bar(self, bar):
        print("strategies may print")

class Thrower(CtaTemplate):
    def on_init(self):
        pass

    def on_bar(self, bar):
        if self.trading:
            raise RuntimeError("a mistake in on_bar")
""",
    "broken.py": "def :\n",
    "raising.py": "class Late:\n    pass\nraise ValueError('while it is imported')\n",
}


@pytest.fixture
def strategies(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def test_json_is_one_object_with_the_engines_result(run):
    job = BacktestJob("DoubleMaStrategy", "rb888.SHFE", "5m", parameters={"fast_window": 5, "slow_window": 30})
    prepare_vnpy()
    from vnpy_ctastrategy.strategies.double_ma_strategy import DoubleMaStrategy

    expected = run_backtest(DoubleMaStrategy, job, rb_bars())
    code, out, err = run(
        "DoubleMaStrategy", "--interval", "5m", "--param", "fast_window=5", "slow_window=30",
        "--size", "10", "--pricetick", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    shown = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(shown)[:4] == ["statistics", "trades", "daily", "diagnostics"]
    assert shown["statistics"]["start_date"] == "2019-07-31"
    assert shown["statistics"]["total_net_pnl"] == pytest.approx(expected.statistics["total_net_pnl"])
    assert list(shown["statistics"])[:3] == ["start_date", "end_date", "total_days"]
    assert [
        (datetime.fromisoformat(t["datetime"]), t["direction"], t["offset"], t["price"], t["volume"])
        for t in shown["trades"]
    ] == [(t.time, t.direction, t.offset, t.price, t.volume) for t in expected.trades]
    assert shown["trades"][0]["datetime"].endswith("+08:00")
    assert [day["date"] for day in shown["daily"]] == [str(day.date) for day in expected.days]
    assert {"net_pnl", "balance", "return", "drawdown", "trade_count"} <= shown["daily"][0].keys()
    assert [finding["kind"] for finding in shown["findings"]] == ["gap"]
    assert shown["job"]["parameters"] == {"fast_window": 5, "slow_window": 30}


@pytest.mark.slow
def test_a_newcomer_gets_a_report_and_no_other_file(tmp_path):
    done = subprocess.run(
        [REDFIRE, "backtest", "DoubleMaStrategy", *DATA, recorded(RB), "--interval", "5m", "--report", "report.html"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "sharpe ratio" in done.stdout
    assert "report: report.html" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert "<html" in (tmp_path / "report.html").read_text()[:500]


def test_help_imports_nothing_that_is_slow():
    code = "import sys; from services.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    *lines, modules = shown.splitlines()
    assert {"backtest", "data"} <= set(" ".join(lines).split()) and "click" in modules.split()
    assert not {"numpy", "pyarrow", "vnpy", "grpc", "rich", "sqlalchemy"} & set(modules.split())


def test_ticks_run_too(redfire):
    code, out, err = redfire(
        "backtest",
        "DoubleMaStrategy",
        "--symbol",
        "IF2101.CFFEX",
        "--data",
        recorded(IF),
        "--interval",
        "tick",
        "--json",
    )
    assert code == 0, err
    shown = json.loads(out)
    assert shown["trades"]
    # What the catalogue knows of the contract.
    assert (shown["job"]["size"], shown["job"]["pricetick"]) == (300.0, 0.2)


def test_parameters_take_the_type_of_their_default(run, strategies):
    code, out, err = run(
        "Holder", "--strategies", strategies, "--json",
        "--param", "size=2", "--param", "limit=3", "--param", "loud=yes", "--param", "note=a=b",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["job"]["parameters"] == {"size": 2, "limit": 3.0, "loud": True, "note": "a=b"}
    assert json.loads(out)["trades"][0]["volume"] == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1.5", "int"), ("x", "int"), ("inf", "float"), ("x", "float"), ("perhaps", "bool"), ("1e400", "int")],
)
def test_a_parameter_of_another_type_is_refused(text, kind):
    with pytest.raises(BadInput, match="parameter p is"):
        typed("p", text, kind)


def test_days_before_from_warm_up_only(run):
    code, out, err = run("DoubleMaStrategy", "--from", "2020-01-02", "--to", "2020-01-10", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert {trade["datetime"][:10] for trade in shown["trades"]} <= {f"2020-01-{day:02}" for day in range(2, 11)}
    assert shown["trades"][0]["datetime"][:10] == "2020-01-02"  # warm at once
    assert shown["statistics"]["start_date"] == "2020-01-02"


def test_a_strategy_that_raises_shows_its_traceback_and_ends_with_1(run, strategies):
    code, out, err = run("Thrower", "--strategies", strategies, "--json")
    assert code == 1
    assert "good.py" in err
    assert "RuntimeError: a mistake in on_bar" in err
    assert "a mistake in on_bar" in json.loads(out)["error"]


def test_what_a_strategy_prints_is_not_in_the_json(run, strategies):
    code, out, err = run("Quiet", "--strategies", strategies, "--from", "2020-08-13", "--json")
    assert (code, "strategies may print" in err) == (0, True)
    assert json.loads(out)["trades"] == []


def test_a_class_that_is_not_there_is_answered_with_those_that_are(run, strategies):
    code, out, err = run("Holdr", "--strategies", strategies)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "there is no strategy class Holdr: did you mean Holder? there are AtrRsiStrategy, " in err
    assert "broken.py does not import: broken.py:1: SyntaxError" in err
    assert "raising.py does not import: raising.py:3: ValueError: while it is imported" in err


def test_a_report_in_chinese(run, tmp_path):
    code, out, err = run("DoubleMaStrategy", "--report", tmp_path / "r.html", "--lang", "zh")
    assert code == 0, err
    assert "回撤" in (tmp_path / "r.html").read_text()
    assert f"report: {tmp_path / 'r.html'}" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--interval", "1m"), "interval 1m does not fit the data: most rows are 5 minutes apart"),
        (("--interval", "tick"), "it has bars, not ticks"),
        (("--interval", "7m"), "interval '7m' is none of 1m"),
        (("--param", "foo=1"), "DoubleMaStrategy has no parameter foo: it has fast_window, slow_window"),
        (("--param", "fast_window=x"), "parameter fast_window is an int, not 'x'"),
        (("--param", "fast_window"), "--param 'fast_window' is not of the form name=value"),
        (("--from", "2020-05-01", "--to", "2020-04-01"), "the dates are empty: from 2020-05-01 to 2020-04-01"),
        (("--from", "2021-05-01"), "there are no rows from 2021-05-01"),
        (("--to", "9999-12-31"), "9999-12-31 is not between 1900-01-01 and 2200-12-31"),
        (("--from", "May"), "'May' is no date like 2020-01-31"),
        (("--rate", "-1"), "rate must be 0 or above"),
        (("--rate", "nan"), "'nan' is not a number"),
        (("--size", "0"), "size must be above 0"),
        (("--symbol", "rb888"), "symbol 'rb888' is not of the form"),
        (("--columns", "close=z"), "there is no column 'z'"),
        (("--strategies", "nowhere"), "--strategies nowhere: no such folder"),
        (("--report", "nowhere/r.html"), "there is no folder nowhere"),
        (("--timezone", "Mars"), "there is no time zone 'Mars'"),
        (("--data", "gone.csv"), "gone.csv: No such file"),
        (("--fill", "dream"), "'dream' is not one of 'vnpy', 'sim'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, more, message):
    code, out, err = run("DoubleMaStrategy", *more)
    assert (code, out) == (2, "")
    assert err.startswith("redfire: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_symbol_is_asked_for(redfire, tmp_path):
    assert redfire("backtest", "DoubleMaStrategy", "--data", recorded(RB))[2].startswith("redfire: --symbol is missing")
    nothing = redfire("backtest", "DoubleMaStrategy", "--symbol", "rb888.SHFE", "--data-dir", tmp_path)
    assert (nothing[0], "there is nothing of rb888.SHFE in the store" in nothing[2]) == (2, True)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("\nimport no_such_thing\n", "broken.py:2: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = 1\n\nraise ValueError('not today')\n", "broken.py:3: ValueError: not today"),
        ("def (:\n", "broken.py:1: SyntaxError: invalid syntax"),
    ],
)
def test_a_file_that_does_not_import_is_one_line_with_its_place(redfire, tmp_path, body, line):
    (tmp_path / "broken.py").write_text(body + "class Broken: pass\n")
    asked = ("--symbol", "rb888.SHFE", "--data", "x.csv", "--strategies", tmp_path)
    code, out, err = redfire("backtest", "Broken", *asked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(f" {line}\n")
