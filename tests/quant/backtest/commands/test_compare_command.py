"""Runs side by side: several classes of one command, and runs that were kept."""

import json

import pytest


@pytest.mark.slow
def test_several_classes_and_parameter_sets_are_run_side_by_side(run, tmp_path):
    report = tmp_path / "r.html"
    code, out, err = run(
        "DoubleMaStrategy", "DoubleMaStrategy:fast_window=30,slow_window=90", "AtrRsiStrategy", "--report", report
    )
    assert code == 0, err
    lines = out.splitlines()
    assert "1. DoubleMaStrategy fast_window=10 slow_window=20 on rb888.SHFE, 5m" in lines
    assert "2. DoubleMaStrategy fast_window=30 slow_window=90 on rb888.SHFE, 5m" in lines
    assert "3. AtrRsiStrategy on rb888.SHFE, 5m" in lines
    shown = next(line.split()[3:] for line in lines if line.startswith("total trade count"))
    quick, slow, _ = (int(count.replace(",", "")) for count in shown)
    assert quick > 3 * slow > 300
    assert "3 backtests side by side" in report.read_text()


def test_common_parameters_are_for_all_and_a_runs_own_come_first(run):
    code, out, err = run("DoubleMaStrategy", "DoubleMaStrategy:slow_window=50", "--param", "slow_window=40", "--json")
    assert code == 0, err
    runs = json.loads(out)["runs"]
    assert [one["job"]["parameters"]["slow_window"] for one in runs] == [40, 50]


@pytest.mark.slow
def test_kept_runs_are_compared_whatever_differs_between_them(run, redfire, tmp_path):
    kept = {
        "whole": run("DoubleMaStrategy", "--json"),
        "late": run("DoubleMaStrategy", "--from", "2020-01-01", "--fill", "sim", "--json"),
        "both": run("DoubleMaStrategy", "AtrRsiStrategy", "--json"),
    }
    for name, (code, out, err) in kept.items():
        assert code == 0, err
        (tmp_path / f"{name}.json").write_text(out)
    files = [tmp_path / f"{name}.json" for name in kept]
    code, out, err = redfire("compare", *files, "--report", tmp_path / "r.html", "--lang", "zh")
    assert (code, err) == (0, "")
    assert "1. DoubleMaStrategy (whole) on" in out
    assert "2. DoubleMaStrategy (late) on" in out
    assert "4. AtrRsiStrategy on" in out
    assert next(line.split() for line in out.splitlines() if "fill model" in line) == [
        "fill",
        "model",
        "vnpy",
        "sim",
        "vnpy",
        "vnpy",
    ]
    sharpe = [run["statistics"]["sharpe_ratio"] for run in json.loads(kept["both"][1])["runs"]]
    shown = next(line.replace("−", "-").replace("*", "").split() for line in out.splitlines() if "sharpe ratio" in line)
    assert [float(value) for value in shown[-2:]] == pytest.approx(sharpe, abs=0.005)
    assert "回测对比" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[]", "it is not what redfire backtest --json prints"),
        ("{}", "it is not what redfire backtest --json prints (KeyError: 'job')"),
        ('{"runs": 1}', "is not"),
        (None, "No such file"),
    ],
)
def test_files_that_are_no_runs_are_refused(redfire, tmp_path, content, message):
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    code, out, err = redfire("compare", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_anomalies_of_the_data_are_printed_before_the_run_and_are_in_the_json(run):
    sentence = "18 bars are missing inside sessions, in 1 place (18 from 2019-12-25 21:00)."
    out = run("DoubleMaStrategy")[1]
    assert out.startswith(f"data: {sentence}\n")
    assert sentence in json.loads(run("DoubleMaStrategy", "--json")[1])["diagnostics"]
