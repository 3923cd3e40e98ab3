"""The disk of PostgreSQL that chaos fills: the server takes nothing meanwhile, and everything afterwards."""

from contextlib import closing, suppress

import pytest

from deploy.production.server import ServerFailed
from tests.chaos.disk import can_mount
from tests.chaos.postgres_disk import server_on_disk

GROWS = "INSERT INTO kept SELECT repeat('x', 1000) FROM generate_series(1, 2000)"


def test_a_server_on_a_full_disk_is_back_once_there_is_room():
    if not can_mount():
        pytest.skip("this process may not mount")
    with closing(server_on_disk()) as server:
        folder = server.folder / "data"
        server.sql("CREATE TABLE kept (text text)", "postgres", "postgres")
        server.fill()
        # Up to what is left of files that are there.
        with pytest.raises(ServerFailed):
            for _ in range(200):
                server.sql(GROWS, "postgres", "postgres")
        with suppress(ServerFailed):
            server.sql("CHECKPOINT", "postgres", "postgres")
        server.empty()
        before = int(server.sql("SELECT count(*) FROM kept", "postgres", "postgres"))
        server.sql(GROWS, "postgres", "postgres")
        assert int(server.sql("SELECT count(*) FROM kept", "postgres", "postgres")) == before + 2000
    assert not folder.exists()
