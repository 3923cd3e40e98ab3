"""README's commands of backtests run as they stand there, and print what it shows."""

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.backtest.recordings import RB
from tests.readme.document import section, steps
from tests.readme.likeness import difference
from tests.readme.shell import Shell
from tests.running import Running, recorded, until

STORED = {"data import": " ", "data list": "\n", "backtest": " DoubleMaStrategy:", "optimize": " "}
"""Commands that read or fill the store, and what follows: here they do it not in the reader's folder."""


@pytest.fixture
def shell():
    opened = Shell()
    yield opened
    opened.close()


def here(text: str, tmp_path: Path) -> str:
    """README's text with this machine's paths."""
    text = text.replace(f"../shared/data/{RB}", str(recorded(RB))).replace("report.html", f"{tmp_path}/r.html")
    for command, more in STORED.items():
        text = text.replace(f"redfire {command}{more}", f"redfire {command} --data-dir={tmp_path}{more}")
    return text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")


@pytest.mark.timeout(180)
def test_backtests_print_what_readme_shows(shell, tmp_path):
    found = steps(section("Backtests"))
    commands = [step for step in found if "$EDGE" not in step.commands]
    assert (len(found), len(commands)) == (6, 5)
    for step in commands:
        report = tmp_path / "r.html"
        report.unlink(missing_ok=True)
        printed = shell.run(here(step.commands, tmp_path), timeout_s=60)
        assert not difference(here(step.expected, tmp_path), printed), printed
        assert report.exists() == ("report.html" in step.commands)


@pytest.mark.timeout(120)
def test_the_platform_answers_what_readme_shows(shell, tmp_path):
    filled, asked = (
        step for step in steps(section("Backtests")) if "import" in step.commands or "$EDGE" in step.commands
    )
    (tour,) = (step for step in steps(section("A five-minute tour")) if "field() {" in step.commands)
    with Running(data_dir=tmp_path) as running:
        user = running.register("alice" + uuid4().hex[:8])
        shell.run(here(filled.commands, tmp_path), timeout_s=60)
        until(lambda: user.get("/api/strategies/classes").json()["classes"], timeout_s=30)
        shell.run(tour.commands.replace("localhost:8080", running.addresses["edge"]))
        shell.run(f'AUTH="authorization: Bearer {user.token}"')
        printed = shell.run(here(asked.commands, tmp_path), timeout_s=60)
        for expected, line in zip(asked.expected.splitlines(), printed.splitlines(), strict=True):
            assert not difference(expected, line), printed
    assert "Sharpe" in (tmp_path / "r.html").read_text()
