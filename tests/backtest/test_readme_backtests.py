"""README's commands of backtests run as they stand there, and print what it shows."""

import sys
from pathlib import Path

import pytest

from tests.backtest.test_data_command import RB
from tests.readme.document import section, steps
from tests.readme.likeness import difference
from tests.readme.shell import Shell
from tests.running import recorded


@pytest.fixture
def shell():
    opened = Shell()
    yield opened
    opened.close()


def test_backtests_print_what_readme_shows(shell, tmp_path):
    file = recorded(RB)
    found = steps(section("Backtests"))
    assert len(found) == 2
    for step in found:
        commands = step.commands.replace(f"../shared/data/{RB}", str(file)).replace("report.html", f"{tmp_path}/r.html")
        for name in ("import", "list"):
            commands = commands.replace(f"data {name}", f"data {name} --data-dir={tmp_path}")
        commands = commands.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        printed = shell.run(commands, timeout_s=60)
        assert not difference(step.expected.replace("report.html", f"{tmp_path}/r.html"), printed), printed
    assert (tmp_path / "r.html").stat().st_size > 100_000
