"""The backtests' README: its commands run as they stand there, and print what it shows."""

import pytest

from tests.readme.clone import clone, walked
from tests.readme.document import BACKTEST

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_backtests_print_what_their_readme_shows(tmp_path):
    with clone(tmp_path) as here:
        here.log_in()
        for step in walked(BACKTEST):
            report = tmp_path / "report.html"
            report.unlink(missing_ok=True)
            here.walk(step)
            assert report.exists() == ("report.html" in step.commands)
            if report.exists():
                assert "Sharpe" in report.read_text()
