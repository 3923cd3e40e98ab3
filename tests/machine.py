"""The machine that tests run on: what it lacks, its free ports, and a user without privileges."""

import os
from typing import NoReturn

import pytest

from deploy.production.machine import free_port, free_ports, unprivileged_user

__all__ = ["free_port", "free_ports", "lacks", "unprivileged_user"]


def lacks(what: str) -> NoReturn:
    """Skip the test that needs something which is not here; under CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
