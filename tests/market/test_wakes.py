"""Wakes of lossless streams' writers: at once where none of their writes is in flight, and in turns."""

import asyncio
import itertools

from services.market.ticks.hub import Hub
from services.market.ticks.wakes import WAKES
from tests.market.hub_readers import Reader, lossless, new_hub, publish
from tests.market.ticks import tick
from tests.simulated_time import in_simulated_time


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def idle_readers(count: int) -> tuple[Hub, list[Reader]]:
    hub = new_hub()
    readers = [lossless(hub).start() for _ in range(count)]
    await turns()
    assert all(reader.subscriber.idle for reader in readers)
    return hub, readers


@in_simulated_time
async def test_no_tick_of_many_streams_waits_for_a_timer() -> None:
    hub, readers = await idle_readers(WAKES)
    began = asyncio.get_running_loop().time()
    for number in range(1, 6):
        publish(hub, tick(number))
        await turns(2 * WAKES)
        assert all(reader.ticks() == list(range(1, number + 1)) for reader in readers)
    assert asyncio.get_running_loop().time() == began
    for reader in readers:
        await reader.stop()


async def test_what_comes_while_a_write_is_in_flight_is_one_message_behind_it() -> None:
    hub = new_hub()
    reader = lossless(hub)
    await reader.next()
    reading = asyncio.create_task(reader.next())
    await turns()
    publish(hub, tick(1))
    await reading
    for number in range(2, 6):
        publish(hub, tick(number))
        await turns()
    assert not reader.subscriber.idle
    assert [one.sequence for one in (await reader.next()).ticks] == [2, 3, 4, 5]


async def test_other_work_comes_between_the_wakes_of_many_streams() -> None:
    hub, readers = await idle_readers(3 * WAKES)
    publish(hub, tick(1))
    served: list[int] = []

    async def other_work() -> None:
        while not served or served[-1] < len(readers):
            await asyncio.sleep(0)
            served.append(sum(bool(reader.ticks()) for reader in readers))

    await asyncio.wait_for(other_work(), 5)
    assert served[0] < len(readers)
    assert all(after - before <= WAKES for before, after in itertools.pairwise(served))
    for reader in readers:
        await reader.stop()


async def test_a_stream_that_leaves_before_its_turn_is_no_longer_woken() -> None:
    hub, readers = await idle_readers(2 * WAKES)
    publish(hub, tick(1))
    gone = readers[-1]
    hub.remove(gone.subscriber)
    await gone.stop()
    publish(hub, tick(2))
    await turns(4 * WAKES)
    assert not gone.ticks()
    assert all(reader.ticks() == [1, 2] for reader in readers[:-1])
    for reader in readers:
        await reader.stop()
