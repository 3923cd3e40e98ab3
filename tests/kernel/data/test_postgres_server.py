"""The server that the tests start: it is real, and none is left."""

import psutil
import pytest

from tests.postgres import ROLE, installed_server


def test_the_role_of_the_tests_makes_databases_and_is_no_superuser(postgres):
    postgres.sql("CREATE DATABASE cups", database="postgres")
    assert postgres.sql("SELECT rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user", "cups") == "t|f"
    assert postgres.sql("SELECT current_user", "cups") == ROLE


@pytest.mark.slow
async def test_a_killed_server_starts_again_with_what_was_committed_and_leaves_nothing_when_it_is_closed():
    server = installed_server(fsync=True)
    try:
        server.sql("CREATE TABLE cup (name text)", "postgres", "postgres")
        server.sql("INSERT INTO cup VALUES ('a')", "postgres", "postgres")
        server.kill()
        with pytest.raises(OSError):
            await server.connect("postgres")
        server.start()
        assert server.sql("SELECT name FROM cup", "postgres", "postgres") == "a"
    finally:
        server.close()
    assert not server.folder.exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(server.folder) in " ".join(p.info["cmdline"] or ())]
