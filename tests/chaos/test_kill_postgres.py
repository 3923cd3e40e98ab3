"""kill -9 of PostgreSQL under a platform that trades: it needs no restart, and all that was acknowledged is there."""

import random
import subprocess
import time

import pytest

from tests.chaos.load import SYMBOL, Load, check_books
from tests.postgres import installed_server
from tests.running import PASSWORD, REDFIRE, Running, until

TIMES = 3


def is_well(client) -> bool:
    return client.get("/healthz").json()["status"] == "SERVING"


@pytest.mark.timeout(600)
def test_a_killed_server_loses_nothing_and_the_platform_trades_on_when_it_is_back(tmp_path):
    chance = random.Random(20261129)
    server = installed_server(fsync=True)
    env = {"REDFIRE_DATABASE__URL": server.url()}
    running = Running("--feed", "sim:11", data_dir=tmp_path / "data", env=env)
    try:
        command = [str(REDFIRE), "up", "--port", "0", "--data-dir", str(tmp_path / "data")]
        early = subprocess.run(command, env=running.environment, capture_output=True, text=True, timeout=60)
        assert early.returncode == 2 and "run redfire migrate" in early.stderr
        command = [str(REDFIRE), "migrate", "--data-dir", str(tmp_path / "data")]
        subprocess.run(command, env=running.environment, check=True, timeout=60)
        running.start()
        assert not list((tmp_path / "data").glob("*.sqlite"))
        client = running.register("alice")
        until(lambda: client.get(f"/api/market/ticks/{SYMBOL}").status_code == 200)
        acknowledged: dict[str, str] = {}
        for time_number in range(TIMES):
            load = Load(running.register(f"trader{time_number}"), f"k{time_number}", chance)
            load.start()
            until(lambda load=load: len(load.acknowledged) > 10, timeout_s=30)
            time.sleep(chance.uniform(0.0, 0.5))
            server.kill()
            # It is noticed, and the client goes on asking.
            until(lambda: not is_well(client), timeout_s=30)
            before = len(load.acknowledged)
            server.start()
            until(lambda: is_well(client), timeout_s=60)
            until(lambda load=load, before=before: len(load.acknowledged) > before + 10, timeout_s=60)
            load.end.set()
            load.join(30)
            assert not load.is_alive()
            # An outcome that is not known is not told as one that is.
            assert set(load.refused) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CLIENT_ORDER_ID_REUSED"}, load.refused
            check_books(load.client, load.acknowledged)
            acknowledged |= load.acknowledged
        assert len(acknowledged) > TIMES * 20
        running.stop()
        running.start()
        again = running.client()
        again.login(f"trader{TIMES - 1}", PASSWORD)
        check_books(again, load.acknowledged)
        running.stop()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill9(children_too=True)
        server.close()
