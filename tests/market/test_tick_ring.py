"""Memory of the rings: bounded in bytes over all symbols, the oldest frames leave first, nothing else is kept alive."""

import gc
import tracemalloc

import pytest

from services.market.control_messages import TickControlMessages
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from tests.market.hub_readers import OTHER, SCANNER, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, batch, tick
from tests.waiting import until

MIB = 1 << 20
ROUNDS = 60


@pytest.mark.slow
async def test_rings_of_800_symbols_stay_within_their_memory() -> None:
    limit, symbols = 4 * MIB, [f"s{n}.SHFE" for n in range(800)]
    book = {name: [1.0] * 5 for name in ("bid_prices", "bid_quantities", "ask_prices", "ask_quantities")}
    hub: Hub = Hub(TickControlMessages(), limit)
    hub.begin_feed(Position("e1"), first_sequence=1)
    tracemalloc.start()
    try:
        for sequence in range(1, ROUNDS + 1):
            for first in range(0, 800, 100):
                names = symbols[first : first + 100]
                sent = batch(*[tick(sequence, name, **book) for name in names])
                hub.publish(SCANNER.scan(sent))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    published = ROUNDS * 800 * len(sent) // 100
    assert published > 2 * limit
    assert limit * 3 // 4 < hub.ring_bytes <= limit
    # Beside the frames: a route and a last tick of each symbol.
    assert held < limit + 800 * 2048
    # All symbols go equally far back.
    readers = [lossless(hub, name, resume={name: 0}, limit=10_000) for name in (symbols[0], symbols[399])]
    hub.drain("SHUTTING_DOWN")
    lost = []
    for reader, name in zip(readers, (symbols[0], symbols[399]), strict=True):
        reader.start()
        await until(lambda reader=reader: reader.ended)
        ((_, _, last),) = reader.gaps()
        assert reader.ticks(name) == list(range(last + 1, ROUNDS + 1))
        lost.append(last)
    assert abs(lost[0] - lost[1]) <= 1


async def test_a_quiet_symbol_keeps_only_its_own_last_frame_alive() -> None:
    hub, book = new_hub(frames=4), {"bid_prices": [1.0] * 1000}
    tracemalloc.start()
    try:
        publish(hub, tick(1, OTHER), *[tick(n, **book) for n in range(1, 100)])
        publish(hub, *[tick(n) for n in range(100, 110)])
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 99 * 8000 // 4
    assert hub.find_frame(OTHER) == batch(tick(1, OTHER))


async def test_the_oldest_frames_leave_first_whichever_symbol_they_are_of() -> None:
    hub = new_hub(frames=6)
    for n in (1, 2, 3):
        publish(hub, tick(n, OTHER))
    for n in (1, 2, 3, 4):
        publish(hub, tick(n))
    readers = [lossless(hub, name, resume={name: 0}).start() for name in (SYMBOL, OTHER)]
    await until(lambda: readers[0].ticks() == [1, 2, 3, 4] and readers[1].ticks(OTHER) == [2, 3])
    assert readers[0].gaps() == [] and readers[1].gaps() == [(OTHER, 1, 1)]
    for reader in readers:
        await reader.stop()


async def test_gaps_and_new_epochs_without_end_take_no_memory() -> None:
    hub = new_hub(frames=64)
    for n in range(1, 5000):
        publish(hub, tick(2 * n))
        if n % 1000 == 0:
            hub.begin_feed(Position(f"e{n}"), first_sequence=1)
    memory = hub._routes.memory
    assert hub.ring_bytes <= memory._limit_bytes
    assert sum(len(block) for _, block in memory._blocks) + len(memory.block) <= 64
