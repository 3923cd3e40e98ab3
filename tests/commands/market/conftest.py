"""The command `redfire` in this process, for tests that need no signal and no terminal: it is imported once."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from services import cli
from tests.commands.market.processes import Outcome


@pytest.fixture
def redfire(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command: its exit code, output and errors."""
    interval = sys.getswitchinterval()

    def run(*arguments: Any) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["redfire", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.setswitchinterval(interval)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run
