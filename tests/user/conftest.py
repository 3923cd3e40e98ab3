"""A running auth and user for the tests of user."""

from collections.abc import AsyncIterator

import pytest

from tests.harness import Platform, platform


@pytest.fixture
async def p() -> AsyncIterator[Platform]:
    async with platform("auth", "user") as running:
        yield running
