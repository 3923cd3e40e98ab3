"""`redfire optimize` as a user runs it: tables, files, pages, Ctrl-C, and one line for what cannot be."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from services.commands.backtest.optimize import optimize
from tests.quant.backtest import generated
from tests.waiting import until

pytestmark = pytest.mark.slow

DATA = generated.bars(days=20)
RANGES = ("--range", "fast_window=2:8:2", "--range", "slow_window=10,20")


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "bars.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["datetime", "open", "high", "low", "close", "volume"])
        columns = (DATA.open, DATA.high, DATA.low, DATA.close, DATA.volume)
        for index, at in enumerate(DATA.time_ns.tolist()):
            time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at // 10**9, hours=8)
            writer.writerow([time.strftime("%Y-%m-%d %H:%M:%S"), *(column[index] for column in columns)])
    return path


def run(data_file, *arguments: str, ranges=RANGES, name="DoubleMaStrategy"):
    base = (name, "--symbol", "rb2501.SHFE", "--data", str(data_file), "--interval", "1m", "--workers", "2")
    return CliRunner().invoke(optimize, [*base, *ranges, *arguments])


def test_json_has_every_point_best_first_and_files_hold_the_same(data_file, tmp_path):
    files = [tmp_path / f"out.{ending}" for ending in ("json", "csv", "parquet")]
    ran = run(data_file, "--json", "--out", str(files[0]), "--target", "total_net_pnl")
    assert ran.exit_code == 0, ran.output
    output = json.loads(ran.stdout)
    values = [point["value"] for point in output["points"]]
    assert len(values) == output["size"] == 8 and values == sorted(values, reverse=True)
    assert output["points"][0]["statistics"]["total_net_pnl"] == values[0]
    assert output["ranges"] == {"fast_window": [2, 4, 6, 8], "slow_window": [10, 20]} and not output["failures"]
    assert json.loads(files[0].read_text())["points"] == output["points"]
    for file in files[1:]:
        assert run(data_file, "--out", str(file), "--target", "total_net_pnl").exit_code == 0
    with files[1].open() as file:
        assert [float(row["total_net_pnl"]) for row in csv.DictReader(file)] == pytest.approx(values)
    assert pq.read_table(files[2])["total_net_pnl"].to_pylist() == pytest.approx(values)


def test_the_table_shows_the_best_and_the_page_has_the_map(data_file, tmp_path):
    page = tmp_path / "page.html"
    ran = run(data_file, "--top", "3", "--report", str(page))
    assert ran.exit_code == 0, ran.output
    assert len([line for line in ran.stdout.splitlines() if re.match(r" +\d+ +\d", line)]) == 3
    assert "8 points in" in ran.stdout and "sharpe ratio" in ran.stdout
    assert "fast_window" in page.read_text()


def test_a_walk_forward_shows_in_sample_beside_out_of_sample(data_file, tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "out.csv"
    ran = run(data_file, "--walk-forward", "8d:4d", "--report", str(page), "--out", str(out))
    assert ran.exit_code == 0, ran.output
    assert "in sample" in ran.stdout and "efficiency" in ran.stdout
    assert "Walk-forward" in page.read_text() and len(out.read_text().splitlines()) == 4
    output = json.loads(run(data_file, "--walk-forward", "8d:4d", "--json").stdout)
    assert output["windows"][0]["test"] == ["2020-01-10", "2020-01-13"]


def test_the_genetic_method_runs_the_points_it_was_given(data_file):
    ran = run(data_file, "--method", "genetic", "--population", "3", "--generations", "2", "--seed", "4", "--json")
    assert ran.exit_code == 0 and len(json.loads(ran.stdout)["points"]) == 6


@pytest.mark.parametrize(
    ("arguments", "changes", "says"),
    [
        ((), {"ranges": ()}, "no parameter has a range"),
        (("--range", "fast_window"), {}, "is not of the form"),
        (("--range", "window=1:2:1"), {}, "DoubleMaStrategy has no parameter window; it has fast_window, slow_window"),
        (("--param", "fast_window=3"), {}, "both a range and a fixed value"),
        (("--param", "slow=3"), {}, "has no parameter slow"),
        (("--target", "luck"), {}, "target 'luck' is no statistic"),
        (("--walk-forward", "120"), {}, "not of the form 120d:30d"),
        (("--walk-forward", "120d:30d"), {}, "do not fit between"),
        (("--workers", "0"), {}, "workers must be 1 or above"),
        (("--out", "x.xls"), {}, "ending is none of"),
        (("--out", "nowhere/x.csv"), {}, "there is no folder"),
        (("--report", "nowhere/x.html"), {}, "there is no folder"),
        (("--strategies", "nowhere"), {}, "no such folder"),
        (("--interval", "5m"), {}, "5m"),
        (("--from", "2031-01-01"), {}, "there are no rows from 2031-01-01"),
        (("--method", "luck"), {}, "luck"),
        (("--population", "1"), {}, "population must be 2 or above"),
        ((), {"name": "DoubleMa"}, "did you mean DoubleMaStrategy?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(data_file, arguments, changes, says):
    ran = run(data_file, *arguments, **changes)
    assert ran.exit_code == 2 and says in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1 and not ran.stdout


def test_when_no_point_runs_the_reason_is_shown_and_the_exit_code_is_1(data_file, tmp_path):
    (tmp_path / "sad.py").write_text(
        textwrap.dedent(
            """
            from vnpy_ctastrategy import CtaTemplate
            class Sad(CtaTemplate):
                number = 1
                parameters = ["number"]
                def on_init(self):
                    raise ValueError("never")
            """
        )
    )
    ran = run(data_file, "--strategies", str(tmp_path), ranges=("--range", "number=1,2"), name="Sad")
    assert ran.exit_code == 1 and "2 points failed" in ran.stdout and "number=1: ValueError: never" in ran.stdout


async def test_ctrl_c_ends_the_search_with_the_table_so_far(data_file, tmp_path):
    (tmp_path / "slow.py").write_text(
        textwrap.dedent(
            """
            import pathlib, threading
            from vnpy_ctastrategy import CtaTemplate
            class Slow(CtaTemplate):
                number = 1
                folder = ""
                parameters = ["number", "folder"]
                def on_init(self):
                    if self.number == 3:
                        pathlib.Path(self.folder, "here").touch()
                        threading.Event().wait()
            """
        )
    )
    command = [
        sys.executable, "-c", "from services.commands.backtest.optimize import optimize; optimize()",
        "Slow", "--strategies", str(tmp_path), "--symbol", "rb2501.SHFE", "--data", str(data_file), "--json",
        "--range", "number=1:5:1", "--param", f"folder={tmp_path}", "--workers", "1", "--target", "end_balance",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        await until((tmp_path / "here").exists, 30)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the workers, too
        stdout, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130 and not stderr
    output = json.loads(stdout)
    assert output["stopped"] and [point["parameters"]["number"] for point in output["points"]] == [1, 2]
