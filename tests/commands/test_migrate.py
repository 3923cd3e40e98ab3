"""`redfire migrate`: alone, twice at once, killed, as a modest role; and what `serve` says before it."""

import json
import os
import signal
import subprocess
from importlib import import_module
from itertools import count

import pytest

from services.kernel.data.schema import schema_of
from tests.postgres import ROLE
from tests.running import REDFIRE, ROOT
from tests.waiting import until

pytestmark = pytest.mark.slow
SERVICES = ["config", "auth", "user", "engine", "market", "trading", "risk", "strategy"]
HEADS = {name: schema_of(import_module(f"services.{name}.models").Base).head for name in SERVICES}
_servers = count(1)


class Installation:
    """A data folder, and where the databases are."""

    def __init__(self, folder, env):
        self.folder, self.env = folder, {**os.environ, **env}

    def command(self, *arguments):
        return [str(REDFIRE), *arguments, "--data-dir", str(self.folder)]

    def run(self, *arguments):
        return subprocess.run(
            self.command(*arguments), env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=120
        )

    def begin(self, *arguments):
        return subprocess.Popen(
            self.command(*arguments), env=self.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return Installation(tmp_path / "data", {})
    return on(request.getfixturevalue("postgres"), tmp_path)


def on(server, tmp_path):
    place = Installation(tmp_path / "data", {})
    place.prefix = f"migrate{next(_servers)}_"
    place.env["REDFIRE_DATABASE__URL"] = server.url(place.prefix + "{name}_db")
    return place


def test_a_check_fails_until_all_is_migrated_and_changes_nothing(place):
    for _ in range(2):
        before = place.run("migrate", "--check")
        assert before.returncode == 1 and before.stderr.count("it does not exist") == len(SERVICES)
    made = place.run("migrate")
    assert made.returncode == 0, made.stderr
    assert [line.split() for line in made.stdout.splitlines()] == [
        [name, "made,", "at", HEADS[name]] for name in SERVICES
    ]
    assert place.run("migrate", "--check").returncode == 0
    again = place.run("migrate", "trading", "--json")
    line = json.loads(again.stdout)
    assert (line["service"], line["ok"], line["outcome"]) == ("trading", True, f"at {HEADS['trading']}")
    assert again.returncode == 0


def test_two_migrations_at_once_are_both_done(place):
    both = [place.begin("migrate") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert place.run("migrate", "--check").returncode == 0


async def test_serve_refuses_a_database_that_is_not_migrated_or_lacks_a_column_in_one_line(postgres, tmp_path):
    place = on(postgres, tmp_path)
    place.env["REDFIRE_IDENTITY__EDGE_SECRET"] = "a-secret-of-tests-that-is-long-enough"
    for words, change in (("does not exist; run redfire migrate", ""), ("configs.version is missing", "DROP COLUMN")):
        if change:
            assert place.run("migrate").returncode == 0
            postgres.sql("ALTER TABLE configs DROP COLUMN version", f"{place.prefix}config_db")
            assert place.run("migrate", "--check").returncode == 1
        served = place.run("serve", "config", "--port", "0")
        assert served.returncode == 2
        assert words in served.stderr and served.stderr.count("\n") == 1, served.stderr


async def test_a_migration_that_is_killed_is_done_by_the_next_one(postgres, tmp_path):
    place = on(postgres, tmp_path)
    postgres.sql(f"CREATE DATABASE {place.prefix}user_db", "postgres")
    other = await postgres.connect(f"{place.prefix}user_db")
    # It waits within its transaction, as for another migration.
    await other.execute(f"SELECT pg_advisory_lock({0x5246_0002})")
    killed = place.begin("migrate")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = $1"
    await until(lambda: other.fetchval(waits, f"{place.prefix}user_db"), timeout_s=60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert place.run("migrate", "--check").returncode == 1
    await other.close()
    assert place.run("migrate").returncode == 0
    assert place.run("migrate", "--check").returncode == 0


def test_a_role_that_may_make_no_databases_is_told_so_and_uses_those_that_are_there(postgres, tmp_path):
    place = on(postgres, tmp_path)
    postgres.sql("CREATE ROLE modest LOGIN", "postgres", "postgres")
    place.env["REDFIRE_DATABASE__URL"] = place.env["REDFIRE_DATABASE__URL"].replace(f"{ROLE}@", "modest@")
    refused = place.run("migrate", "config")
    assert refused.returncode == 1 and "permission denied to create database" in refused.stderr
    postgres.sql(f"CREATE DATABASE {place.prefix}config_db OWNER modest", "postgres", "postgres")
    assert place.run("migrate", "config").returncode == 0


def test_any_subset_of_the_services_may_be_on_a_server_and_the_others_in_files(postgres, tmp_path):
    place = Installation(tmp_path / "data", {"REDFIRE_TRADING__DATABASE__URL": postgres.url("subset_trading")})
    lines = [json.loads(line) for line in place.run("migrate", "--json").stdout.splitlines()]
    on_server = [line["service"] for line in lines if line["database"].startswith("postgresql")]
    assert (on_server, [line["ok"] for line in lines]) == (["trading"], [True] * len(SERVICES))
    assert not (place.folder / "trading_db.sqlite").exists() and (place.folder / "risk_db.sqlite").exists()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("REDFIRE_DATABASE__URL", "postgresql+asyncpg://localhost/redfire", "database.url: {name} is missing"),
        ("REDFIRE_DATABASE__URL", "mysql://localhost/{name}", "database.url: sqlite:///… or postgresql+asyncpg://…"),
        ("REDFIRE_TRADING__DATABASE__URL", "mysql://localhost/x", "trading.database.url: sqlite:///…"),
        ("REDFIRE_TRADING__DATABASE__POOL", "1", "trading.database.pool: there is no such key"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line_without_it(tmp_path, variable, value, words):
    done = Installation(tmp_path, {variable: value}).run("migrate", "--check")
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1 and "localhost" not in done.stderr


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path):
    place = Installation(tmp_path, {"REDFIRE_DATABASE__URL": "postgresql+asyncpg://ann:pa{ss@127.0.0.1:1/{name}_db"})
    done = place.run("migrate", "config")
    assert done.returncode == 1
    assert "ann:***@127.0.0.1:1/config_db" in done.stderr and "pa{ss" not in done.stderr
