"""A stream of a peer that hangs ends for its client; one whose client is slow does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.kernel.rpc.silence import StreamSilent, until_silent
from tests.simulated_time import in_simulated_time


class Peer:
    """Sends numbers, each after so many seconds."""

    def __init__(self, *pauses_s: float) -> None:
        self._pauses_s = pauses_s
        self.closed = False

    async def stream(self) -> AsyncIterator[int]:
        try:
            for number, pause_s in enumerate(self._pauses_s):
                await asyncio.sleep(pause_s)
                yield number
        finally:
            self.closed = True


@in_simulated_time
async def test_a_peer_that_hangs_is_left_after_the_limit() -> None:
    peer, got = Peer(1, 9.9, 11), list[int]()
    with pytest.raises(StreamSilent):
        async for number in until_silent(peer.stream(), 10):
            got.append(number)
    assert got == [0, 1]
    assert peer.closed


@in_simulated_time
async def test_time_that_the_client_takes_is_no_silence() -> None:
    got = []
    async for number in until_silent(Peer(1, 1).stream(), 10):
        await asyncio.sleep(60)
        got.append(number)
    assert got == [0, 1]


@in_simulated_time
async def test_a_client_that_leaves_closes_the_peers_stream() -> None:
    peer = Peer(1, 1)
    async with aclosing(until_silent(peer.stream(), 10)) as messages:
        assert await anext(messages) == 0
    assert peer.closed


@in_simulated_time
async def test_a_cancelled_client_is_cancelled() -> None:
    peer = Peer(100)

    async def read() -> None:
        async for _ in until_silent(peer.stream(), 10):
            pass

    task = asyncio.ensure_future(read())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert peer.closed


async def test_the_first_message_may_state_a_shorter_silence() -> None:
    async def stream():
        yield 0.05
        await asyncio.Event().wait()

    with pytest.raises(StreamSilent, match=r"0\.05 s"):
        async for _ in until_silent(stream(), 3600.0, lambda first: first):
            pass


async def test_the_limit_stays_where_the_first_message_states_none() -> None:
    async def stream():
        yield None
        await asyncio.Event().wait()

    with pytest.raises(StreamSilent, match=r"0\.2 s"):
        async for _ in until_silent(stream(), 0.2, lambda first: first):
            pass
