"""README is true: its tour runs as it stands there, its strategies trade, its table of settings is up to date."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.readme.document import README, ROOT, Step, blocks, files, section, steps, with_table
from tests.readme.likeness import difference
from tests.readme.shell import Shell
from tests.running import Running, until

TOUR, WITH_GRPCURL = "A five-minute tour", "With grpcurl"
OWN = "Your own strategy"
# A block that only reads is run again until it shows what README shows: whoever pastes is slower than a test.
PATIENCE_S = 15


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The platform as `make run` starts it, on a free port, with README's strategies."""
    folder = tmp_path_factory.mktemp("my_strategies")
    for name, content in files(section(OWN)).items():
        (folder / name).write_text(content)
    (folder / "broken.py").write_text("import no_such_module\n")
    with Running("--demo", "--strategies", str(folder), limits="on") as running:
        yield running


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    opened = Shell()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def toured(up: Running, shell: Shell) -> list[Step]:
    """The tour without grpcurl, walked; its steps."""
    walked = [step for step in steps(section(TOUR)) if step not in steps(section(WITH_GRPCURL))]
    for step in walked:
        walk(shell, up, step)
    return walked


def walk(shell: Shell, up: Running, step: Step) -> None:
    """Run a block here and now, and hold its output against README's."""
    commands = step.commands.replace("EDGE=localhost:8080", f"EDGE=localhost:{up.addresses['edge'].rpartition(':')[2]}")
    commands = commands.replace(".redfire/", f"{up.data_dir}/").replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    end = time.monotonic() + PATIENCE_S
    while True:
        printed = shell.run(commands)
        found = difference(step.expected, printed) if step.expected else ""
        if not found:
            return
        again = " -d " not in commands and " -X " not in commands and time.monotonic() < end
        assert again, f"{found}\n--- README\n{step.commands}{step.expected}--- here\n{printed}"
        time.sleep(0.2)


def test_the_tour_prints_what_readme_shows(toured):
    assert len(toured) >= 12
    assert sum(bool(step.expected) for step in toured) >= 10


def test_grpcurl_prints_what_readme_shows(up, shell, toured):
    if not shutil.which("grpcurl"):
        if os.environ.get("CI"):
            pytest.fail("grpcurl is missing")
        pytest.skip("grpcurl is not installed: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4")
    for step in steps(section(WITH_GRPCURL)):
        walk(shell, up, step)


def test_the_strategies_of_readme_trade_beside_a_file_that_does_not_import(up):
    trader = up.register("quant")
    classes = {known["name"]: known for known in trader.get("/api/strategies/classes").json()["classes"]}
    assert "no_such_module" in classes["broken.py"]["error"]
    wanted = {"Breakout": {"window": 2, "bar_seconds": 1}, "TickMomentum": {"count": 1}}
    started = {}
    for name, parameters in wanted.items():
        assert not classes[name]["error"]
        made = trader.post(
            "/api/strategies",
            {"displayName": name, "className": name, "symbol": "rb2701.SHFE", "parameters": parameters},
        ).json()["strategy"]
        started[name] = made["strategyId"]
        assert trader.post(f"/api/strategies/{made['strategyId']}:start").status_code == 200
    for name, strategy_id in started.items():
        # Asked seldom: the limits are on, as for whoever follows README.
        until(lambda at=f"/api/strategies/{strategy_id}/logs": traded(trader.get(at)), timeout_s=30, step_s=1)
        strategy = trader.get(f"/api/strategies/{strategy_id}").json()["strategy"]
        assert strategy["status"] == "STRATEGY_STATUS_RUNNING", f"{name}: {strategy}"
        assert set(strategy["variables"]) >= ({"high", "low"} if name == "Breakout" else {"rising", "falling"})


def traded(logs: httpx.Response) -> bool:
    return any(" 1 at " in line["message"] for line in logs.json()["logs"])


def test_the_table_of_settings_is_up_to_date():
    text = README.read_text()
    assert text == with_table(text), "run .venv/bin/python -m tests.readme.refresh"


def test_the_paths_that_readme_names_exist():
    text = "".join(part for part in README.read_text().split("```")[::2])
    named = {
        word for word in text.split("`")[1::2] if word.startswith(("services/", "gen/", "proto/", "envoy/", "tests/"))
    }
    mapped = {word for word in named if "<" not in word and "…" not in word and "watchlist" not in word}
    assert len(mapped) > 10
    assert not [word for word in mapped if not (ROOT / word).exists()]


def test_readme_has_no_path_of_a_machine():
    assert not [
        line for line in README.read_text().splitlines() if "/work/" in line or "/home/" in line or "/tmp/" in line
    ]
    assert list(blocks(section(TOUR)))
