"""Fixtures of all tests: databases, the mark of slow folders, and a temporary folder that goes with the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer, close_shared_server, shared_server
from tests.rabbitmq import RabbitMqServer, installed_broker
from tests.redis_server import RedisServer, installed_redis

SLOW_FOLDERS = ("chaos", "e2e", "readme", "trading/model")
"""Here every test starts a whole platform, or kills trading over and over."""
SERVERS = {"postgres", "rabbitmq", "redis_server"}
"""Fixtures that start a server: it takes seconds, and a gigabyte with one for each of pytest-xdist's processes."""

# make test-fast takes it; see tests/examples.py for tests that say themselves how many examples they want.
settings.register_profile("fast", max_examples=20, deadline=None)

# Also for the processes that tests start; some of these are killed, and leave what they had there.
TEMPORARY = os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="rf-tests-")


def pytest_unconfigure() -> None:
    """Stop the database server; remove the temporary folder, after multiprocessing has removed its own in there."""
    close_shared_server()
    remove = partial(shutil.rmtree, TEMPORARY, ignore_errors=True)
    Finalize(None, remove, exitpriority=-200)  # it removes at -100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is in a slow folder or takes a server; other slow tests are marked where they stand."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here).as_posix()
        if path.startswith(SLOW_FOLDERS) or SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Reports that can be sent to another process: gateways' texts, which some tests log, need not be Unicode."""
    report = yield
    report.sections = [(name, text.encode(errors="replace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """The PostgreSQL server that the tests of a run share; none of them stops it."""
    return shared_server()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def both_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms' databases are on SQLite and, in a slow test, on PostgreSQL."""
    if request.param == "postgresql":
        monkeypatch.setenv("REDFIRE_TEST_DATABASE", "postgresql")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMqServer]:
    """The RabbitMQ broker that the tests of a run share; none of them stops it."""
    server = installed_broker()
    yield server
    server.close()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of the test's own, empty, which it may kill and suspend."""
    server = installed_redis()
    yield server
    server.close()


_databases = count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of new databases by `{name}`, of each kind: a test that takes it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/{{name}}_db.sqlite"
    return shared_server().url(f"test{next(_databases)}_{{name}}_db")
