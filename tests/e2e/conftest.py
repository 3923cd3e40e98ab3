"""One platform for the tests that only use it."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.running import Client, Running


@pytest.fixture(scope="session")
def up() -> Iterator[Running]:
    with Running("--feed", "sim:7") as running:
        yield running


@pytest.fixture
def trader(up: Running) -> Client:
    return up.register("t" + uuid4().hex[:12])


@pytest.fixture(scope="session")
def admin(up: Running) -> Client:
    return up.admin()
