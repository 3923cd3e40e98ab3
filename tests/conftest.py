"""What all tests share: the mark of slow folders, and a place for temporary files that is removed at the end."""

from pathlib import Path

import pytest

SLOW_FOLDERS = ("chaos", "e2e", "readme")
"""Here every test starts a whole platform."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is in a slow folder; other slow tests are marked where they stand."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
