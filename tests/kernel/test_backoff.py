"""Pauses between attempts: longer each time, bounded, and others for each who waits."""

import asyncio
from itertools import pairwise

from services.kernel.backoff import Backoff
from services.kernel.shards.named_leases import SharedLeases
from services.kernel.tasks import Tasks
from tests.simulated_time import in_simulated_time

AWAY_S = 60.0


def test_pauses_grow_to_a_bound_and_begin_anew() -> None:
    backoff = Backoff(0.1, 1.0)
    pauses = [backoff.pause_s() for _ in range(20)]
    assert 0.05 <= pauses[0] <= 0.1 and 0.1 <= pauses[1] <= 0.2
    assert all(0.5 <= pause <= 1.0 for pause in pauses[4:])
    backoff.reset()
    assert backoff.pause_s() <= 0.1


def test_those_who_wait_do_not_come_together() -> None:
    assert len({Backoff(0.1, 1.0).pause_s() for _ in range(50)}) > 40


@in_simulated_time
async def test_who_keeps_leases_asks_a_database_that_is_away_about_once_a_second() -> None:
    attempts: list[float] = []
    loop = asyncio.get_running_loop()

    async def connect() -> None:
        attempts.append(loop.time())
        raise ConnectionRefusedError

    tasks = Tasks()
    leases = SharedLeases(connect, lambda: "here", tasks)

    async def work() -> None:
        raise AssertionError("nobody holds the lease")

    wanting = asyncio.create_task(leases.while_held("duty", work))
    await asyncio.sleep(AWAY_S)
    assert AWAY_S * 0.9 < len(attempts) < AWAY_S * 2.1
    assert max(later - earlier for earlier, later in pairwise(attempts)) <= 1.0
    wanting.cancel()
    await asyncio.gather(wanting, return_exceptions=True)
    await leases.release()
    await tasks.stop()
