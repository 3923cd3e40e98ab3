"""Fixtures of all tests: the mark of slow folders, and a temporary folder of their own that goes with them."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SLOW_FOLDERS = ("chaos", "e2e", "readme", "trading/model")
"""Here every test starts a whole platform, or kills trading over and over."""

# make test-fast takes it; see tests/examples.py for tests that say themselves how many examples they want.
settings.register_profile("fast", max_examples=20, deadline=None)

# Also for the processes that tests start; some of these are killed, and leave what they had there.
TEMPORARY = os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="rf-tests-")


def pytest_unconfigure() -> None:
    """Remove the temporary folder."""
    shutil.rmtree(TEMPORARY, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is in a slow folder; other slow tests are marked where they stand."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(SLOW_FOLDERS):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Reports that can be sent to another process: gateways' texts, which some tests log, need not be Unicode."""
    report = yield
    report.sections = [(name, text.encode(errors="replace").decode()) for name, text in report.sections]
    return report
