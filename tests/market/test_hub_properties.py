"""The hub under any order of ticks, losses, restarts, readers and subscriptions: the model's checks hold."""

import asyncio
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.market.hub_model import SYMBOLS, Client, ConflatedClient, LosslessClient, Market

_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""A failing script is not made shorter, which takes minutes."""

symbols = st.sampled_from(SYMBOLS)
clients = st.integers(0, 5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(symbols, min_size=1, max_size=9)),
        st.tuples(st.just("publish"), st.lists(symbols, min_size=1, max_size=9)),
        st.tuples(st.just("read"), clients, st.integers(1, 4)),
        st.tuples(st.just("read"), clients, st.integers(1, 4)),
        st.tuples(st.just("open"), st.booleans(), st.sets(symbols, min_size=1)),
        st.tuples(st.just("leave"), clients, st.booleans(), st.booleans()),
        st.tuples(st.just("change"), clients, symbols, symbols),
        st.tuples(st.just("connect")),
        st.tuples(st.just("connect")),
        st.tuples(st.just("disconnect")),
        st.tuples(st.just("forget")),
        st.tuples(st.just("epoch"), st.booleans()),
        st.tuples(st.just("restart"), st.integers(0, 100), st.integers(1, 40)),
    ),
    min_size=15,
    max_size=50,
)


async def play(script: list[Any], ring_frames: int) -> None:
    market = Market(ring_frames)
    market.connect()
    readers: list[Client] = [LosslessClient(market, SYMBOLS[:2]), ConflatedClient(market, SYMBOLS[:2])]
    for one in readers:
        one.open({})

    for step in script:
        match step:
            case ("publish", names):
                market.publish(names)
            case ("read", number, count):
                for _ in range(count):
                    await readers[number % len(readers)].read()
            case ("open", lossless, names):
                readers.append((LosslessClient if lossless else ConflatedClient)(market, names))
                readers[-1].open({})
            case ("leave", number, resume, says_epoch):
                await readers[number % len(readers)].leave(resume=resume, says_epoch=says_epoch)
            case ("change", number, added, removed):
                readers[number % len(readers)].change(added, removed)
            case ("connect",):
                market.connect()
            case ("disconnect",):
                market.disconnect()
            case ("forget",):
                market.forget()
            case ("epoch", is_later):
                market.begin_epoch(is_later)
            case ("restart", up_to, kept):
                market.restart(up_to, kept)
                for one in readers:
                    await one.leave(resume=True, says_epoch=True)
    market.connect()
    for one in readers:
        for _ in range(3):
            await one.read()
    market.publish(SYMBOLS)
    market.hub.drain("SHUTTING_DOWN")
    for one in readers:
        await one.finish()


@given(steps, st.sampled_from([8, 1000]))
@settings(max_examples=150, deadline=None, phases=_PHASES)
def test_what_came_and_what_gaps_name_is_what_was_published(script: list[Any], ring_frames: int) -> None:
    asyncio.run(play(script, ring_frames))
