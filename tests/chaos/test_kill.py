"""kill -9 of `redfire up` in the middle of trading, again and again: nothing is lost, doubled or stuck."""

import random
import time

import pytest

from tests.chaos.load import SYMBOL, Load, check_books
from tests.running import PASSWORD, Running, until

TIMES = 20


@pytest.mark.timeout(600)
def test_kill_9_in_the_middle_of_trading_loses_doubles_and_sticks_nothing(tmp_path):
    chance = random.Random(20261121)
    running = Running("--feed", "sim:11", data_dir=tmp_path / "data").start()
    running.register("alice")
    acknowledged: dict[str, str] = {}
    for time_number in range(TIMES):
        client = running.client()
        client.login("alice", PASSWORD)
        until(lambda client=client: client.get(f"/api/market/ticks/{SYMBOL}").status_code == 200)
        load = Load(client, f"k{time_number}", chance)
        load.start()
        time.sleep(chance.uniform(0.05, 1.5))
        running.kill9(children_too=chance.random() < 0.5)
        load.join(30)
        assert not load.is_alive()
        acknowledged |= load.acknowledged
        running.start()
        after = running.client()
        after.login("alice", PASSWORD)
        check_books(after, acknowledged)
    assert len(acknowledged) > TIMES
    running.stop()
