"""Fixtures of tests of backtests: the command line in this process, and vnpy kept out of the home folder."""

import sys

import pytest

from services import cli
from services.quant.backtest.engine.vnpy_import import prepare_vnpy
from tests.quant.backtest.recordings import RB
from tests.recorded_days import recorded

prepare_vnpy()  # before any test's module imports vnpy: it would make a folder in the home of who runs the tests


@pytest.fixture
def redfire(monkeypatch, capsys):
    """Run a command here: its exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["redfire", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def run(redfire):
    """Run `redfire backtest` on the recorded bars."""

    def backtest(name, *more):
        return redfire("backtest", name, "--symbol", "rb888.SHFE", "--label", "end", "--data", recorded(RB), *more)

    return backtest
