"""One platform for the tests that only use it."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.running import Client, Running


@pytest.fixture(scope="session")
def up() -> Iterator[Running]:
    # All tests of a run take longer than a password counts as a recent one.
    with Running("--feed", "sim:7", env={"REDFIRE_AUTH__STEP_UP_S": "86400"}) as running:
        yield running


@pytest.fixture
def trader(up: Running) -> Client:
    return up.register("t" + uuid4().hex[:12])


@pytest.fixture(scope="session")
def admin(up: Running) -> Client:
    return up.admin()
