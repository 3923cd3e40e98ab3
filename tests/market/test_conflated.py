"""Conflated streams: the latest of each symbol, once an interval and not later, and what it takes to send it."""

import asyncio
import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.market.control_messages import TickControlMessages
from services.market.ticks import conflated as module
from services.market.ticks.conflated import WAKES, ConflatedSubscriber
from services.market.ticks.hub import Hub
from tests.market.conflated_feed import Feed
from tests.market.hub_readers import OTHER, Reader, conflated, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, tick
from tests.simulated_time import SimulatedLoop, in_simulated_time
from tests.waiting import until

THIRD = "au2102.SHFE"


@pytest.fixture
def hub() -> Hub:
    return new_hub()


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the joins: the number of frames in each."""
    counted: list[int] = []

    class Counted(module.Joined):
        def __init__(self, latest: Iterable[module.Latest], version: int) -> None:
            chosen = list(latest)
            counted.append(len(chosen))
            super().__init__(chosen, version)

    monkeypatch.setattr(module, "Joined", Counted)
    return counted


def content(message: pb.StreamTicksResponse) -> dict[str, int]:
    return {one.symbol: one.sequence for one in message.ticks}


async def test_a_stream_carries_the_latest_of_each_symbol_only(hub: Hub) -> None:
    reader = conflated(hub, SYMBOL, OTHER)
    await reader.next()
    for n in range(1, 1001):
        publish(hub, tick(n), tick(n, OTHER))
    assert content(await reader.next()) == {SYMBOL: 1000, OTHER: 1000}


@in_simulated_time
async def test_each_interval_brings_the_latest_of_all_symbols_that_changed() -> None:
    feed, loop = Feed(), asyncio.get_running_loop()
    feed.put(SYMBOL, OTHER)
    reader = feed.open(SYMBOL, OTHER, THIRD, min_interval_s=0.2)
    assert content(await reader.next()) == {SYMBOL: 1, OTHER: 1}
    feed.put(SYMBOL, SYMBOL, THIRD)
    assert content(await reader.next()) == {SYMBOL: 3, THIRD: 1}
    assert loop.time() == pytest.approx(0.2)
    feed.put(OTHER)
    assert content(await reader.next()) == {OTHER: 2}
    assert loop.time() == pytest.approx(0.4)


@in_simulated_time
async def test_a_tick_wakes_nobody_and_a_turn_only_those_with_news() -> None:
    feed = Feed()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    readers = [feed.open(SYMBOL, f"S{n % 10}.X").start() for n in range(1000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0.5)
    steps = loop.steps
    for _ in range(1000):
        feed.put(OTHER, SYMBOL)
        await asyncio.sleep(0.0001)
    assert loop.steps - steps < 3 * 1000  # the sleeps themselves
    await asyncio.sleep(1)
    assert all(content(one) == {SYMBOL: 1000} for reader in readers for one in reader.messages)
    assert all(len(reader.messages) == 1 for reader in readers)
    feed.put("S3.X")
    await asyncio.sleep(1)
    assert sum(len(reader.messages) for reader in readers) == 1000 + 100
    await feed.stop()


@in_simulated_time
async def test_streams_of_the_same_symbols_and_phase_share_a_join(joins: list[int]) -> None:
    feed = Feed()
    readers = [feed.open(SYMBOL, OTHER).start() for _ in range(100)]
    await asyncio.sleep(0.02)
    readers += [feed.open(OTHER, SYMBOL).start() for _ in range(100)]
    for _ in range(10):
        feed.put(SYMBOL, OTHER)
        await asyncio.sleep(1)
    assert {len(reader.messages) for reader in readers} == {10}
    assert joins == [2] * 10
    await feed.stop()


def test_streams_without_an_interval_share_a_join_of_what_came_at_once(joins: list[int]) -> None:
    @in_simulated_time
    async def play() -> None:
        feed = Feed()
        readers = [feed.open(SYMBOL, OTHER, min_interval_s=0).start() for _ in range(100)]
        await asyncio.sleep(0)
        for _ in range(10):
            feed.put(*[SYMBOL, OTHER] * 50)
            await asyncio.sleep(1)
        assert {len(reader.messages) for reader in readers} == {10}
        assert joins == [2] * 10
        assert all(content(reader.messages[-1]) == {SYMBOL: 500, OTHER: 500} for reader in readers)
        await feed.stop()

    play()


@in_simulated_time
async def test_many_streams_that_are_due_at_once_leave_the_loop_to_others() -> None:
    feed, loop = Feed(), asyncio.get_running_loop()
    readers = [feed.open(f"S{n}.X").start() for n in range(20 * WAKES)]
    await asyncio.sleep(0)
    feed.put(*(f"S{n}.X" for n in range(20 * WAKES)))
    served: list[int] = []

    def look() -> None:
        served.append(sum(len(reader.messages) for reader in readers))
        if served[-1] < len(readers):
            loop.call_soon(look)

    loop.call_at(1.0, look)
    await asyncio.sleep(2)
    steps = [later - earlier for earlier, later in itertools.pairwise(served)]
    assert served[-1] == len(readers)
    assert max(steps) <= 2 * len(readers) / module.SHARE
    # The more wait, the more have their turn: whatever else takes the loop's time, it does not keep them late.
    assert len(steps) < len(readers) / WAKES
    await feed.stop()


@in_simulated_time
async def test_streams_are_late_when_one_waits_for_long_not_when_there_are_always_some_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WAKES", 1)
    monkeypatch.setattr(module, "SHARE", module.MANY_STREAMS)
    feed, loop = Feed(), asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    readers = [feed.open().start() for _ in range(module.MANY_STREAMS)]
    members = [member for reader in readers for member in reader.subscriber.members]  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    loop.after_step = lambda: loop.advance(0.01)
    wake, late, began = feed.conflation.wake, [], loop.time()
    wake(members[:2])
    for member in members[2:200]:
        wake([member])
        await asyncio.sleep(0)
        late.append(feed.conflation.late)
    assert loop.time() - began > 2 * module.LATE_S and not any(late)
    wake(members[200:])
    await until(lambda: feed.conflation.late)
    await feed.stop()


@in_simulated_time
async def test_a_reader_that_comes_back_late_finds_the_latest_and_one_message_of_it() -> None:
    feed = Feed()
    reader = feed.open(SYMBOL, OTHER)
    feed.put(SYMBOL, OTHER)
    for _ in range(100):
        feed.put(SYMBOL)
        await asyncio.sleep(1)
    assert content(await reader.next()) == {SYMBOL: 101, OTHER: 1}
    feed.put(OTHER)
    assert content(await reader.next()) == {OTHER: 2}
    await feed.stop()


@in_simulated_time
async def test_an_epoch_is_told_between_its_ticks_and_those_before() -> None:
    feed = Feed()
    control = TickControlMessages()
    reader = feed.open(SYMBOL, OTHER, THIRD, min_interval_s=4)
    feed.put(SYMBOL, OTHER)
    reader.subscriber.begin_epoch(control.new_epoch("two"), "two")
    feed.last.clear()
    feed.put(SYMBOL)
    assert content(await reader.next()) == {OTHER: 1}
    assert (await reader.next()).new_epoch.epoch == "two"
    assert content(await reader.next()) == {SYMBOL: 1}
    feed.put(OTHER)
    reader.subscriber.begin_epoch(control.new_epoch("three"), "three")
    reader.subscriber.begin_epoch(control.new_epoch("four"), "four")
    reader.subscriber.end("SHUTTING_DOWN")
    assert content(await reader.next()) == {OTHER: 1}
    assert (await reader.next()).new_epoch.epoch == "four"
    end = (await reader.next()).end
    assert end.epoch == "four" and not any(end.resume_after_sequence.values())
    await feed.stop()


@in_simulated_time
async def test_the_feeds_state_is_sent_at_once_and_before_ticks() -> None:
    feed, loop = Feed(), asyncio.get_running_loop()
    reader = feed.open(min_interval_s=4)
    feed.put(SYMBOL)
    reader.subscriber.offer_state(TickControlMessages().feed_state(False, []))
    assert (await reader.next()).HasField("feed_state")
    assert loop.time() == 0
    assert content(await reader.next()) == {SYMBOL: 1}
    assert loop.time() == 4
    await feed.stop()


@in_simulated_time
async def test_a_resumed_stream_begins_behind_what_its_reader_had(hub: Hub) -> None:
    publish(hub, tick(1), tick(2), tick(3))
    has_it, behind, ahead = (conflated(hub, min_interval_s=1, resume={SYMBOL: n}) for n in (3, 2, 5))
    for reader in (has_it, behind, ahead):
        await reader.next()
    assert content(await behind.next()) == {SYMBOL: 3}
    publish(hub, tick(4))
    assert content(await has_it.next()) == {SYMBOL: 4}
    publish(hub, tick(5))
    assert content(await has_it.next()) == {SYMBOL: 5}
    publish(hub, tick(6))
    assert content(await ahead.next()) == {SYMBOL: 6}
    for reader in (has_it, behind, ahead):
        hub.remove(reader.subscriber)
        await reader.stop()


@in_simulated_time
async def test_changed_symbols_leave_the_others_in_their_turn() -> None:
    feed, loop = Feed(), asyncio.get_running_loop()
    feed.put(SYMBOL, OTHER, THIRD)
    reader = feed.open(SYMBOL, OTHER)
    await reader.next()
    await asyncio.sleep(0.5)
    feed.put(SYMBOL, OTHER)
    feed.change(reader, frozenset({THIRD}), frozenset({OTHER}))
    assert content(await reader.next()) == {THIRD: 1}
    assert loop.time() == 0.5
    feed.put(THIRD)
    assert content(await reader.next()) == {SYMBOL: 2}
    assert loop.time() == 1
    assert content(await reader.next()) == {THIRD: 2}
    assert loop.time() == 1.5
    feed.change(reader, frozenset(), frozenset({SYMBOL, THIRD}))
    feed.put(SYMBOL, OTHER, THIRD)
    await asyncio.sleep(5)
    reader.subscriber.end("SHUTTING_DOWN")
    assert (await reader.next()).end.resume_after_sequence == {}
    await feed.stop()


@in_simulated_time
async def test_the_end_brings_what_has_not_been_due_yet() -> None:
    feed = Feed()
    reader = feed.open(SYMBOL, OTHER, min_interval_s=3600)
    feed.put(SYMBOL, SYMBOL, OTHER)
    reader.subscriber.end("FEED_ENDED")
    assert content(await reader.next()) == {SYMBOL: 2, OTHER: 1}
    assert (await reader.next()).end.resume_after_sequence == {SYMBOL: 2, OTHER: 1}


@in_simulated_time
async def test_nothing_is_left_of_streams_that_ended() -> None:
    feed, loop = Feed(), asyncio.get_running_loop()
    for interval_s in (0.0, 0.01, 1.0, 3600.0):
        feed.open(SYMBOL, OTHER, min_interval_s=interval_s).start()
    feed.put(SYMBOL)
    await asyncio.sleep(2)
    await feed.stop()
    conflation = feed.conflation
    assert not conflation._phases and not conflation._instant
    assert not any(latest.wakes for latest in conflation._latest.values())
    await asyncio.sleep(0)
    assert all(timer._cancelled for timer in loop._scheduled)  # type: ignore[attr-defined]


@in_simulated_time
async def test_a_reader_that_takes_nothing_is_ended_and_told_when_it_reads_again(hub: Hub) -> None:
    publish(hub, tick(1))
    readers = [conflated(hub, min_interval_s=1), lossless(hub, limit=10_000), lossless(hub, limit=10_000)]
    *stuck, slow = readers
    for reader in readers:
        reader.subscriber.stall_s = 30
        await reader.next()
        await reader.next()
    for n in range(2, 102):
        publish(hub, tick(n))
        await asyncio.sleep(0.5)
        if n % 50 == 0:
            await slow.next()  # 25 s later
    assert not slow.subscriber.end_reason
    for reader in stuck:
        assert reader.subscriber.end_reason == "SLOW_CONSUMER"
    assert stuck[1].subscriber.waiting == 0  # type: ignore[attr-defined]
    publish(hub, tick(102))
    for reader in stuck:
        reader.start()
    await until(lambda: all(reader.ended for reader in stuck))
    assert stuck[0].ticks() == [1, 102]
    assert [dict(reader.messages[-1].end.resume_after_sequence) for reader in stuck] == [{SYMBOL: 102}, {SYMBOL: 1}]


async def test_streams_are_counted_for_each_user(hub: Hub) -> None:
    readers = [conflated(hub) for _ in range(3)]
    assert (hub.streams_of("alice"), hub.streams_of("bob")) == (3, 0)
    for reader in [readers[0], *readers]:
        hub.remove(reader.subscriber)
    assert hub.streams_of("alice") == hub.stream_count == 0


symbols = st.sampled_from([SYMBOL, OTHER, THIRD])
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.04, 0.3, 1.7]),
        st.one_of(
            st.tuples(st.just("put"), st.lists(symbols, max_size=5)),
            st.tuples(
                st.just("open"), st.tuples(st.frozensets(symbols, min_size=1), st.sampled_from([0.0, 0.07, 1.0, 2.5]))
            ),
            st.tuples(st.just("change"), st.tuples(st.frozensets(symbols), st.frozensets(symbols))),
        ),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_a_symbol_comes_once_an_interval_and_its_latest_tick_within_one(script: list[tuple[float, Any]]) -> None:
    @in_simulated_time
    async def play() -> None:
        feed, loop = Feed(), asyncio.get_running_loop()
        watched: list[Watched] = []
        for pause_s, (kind, value) in script:
            await asyncio.sleep(pause_s)
            if kind == "put":
                feed.put(*value)
            elif kind == "open":
                watched.append(Watched(feed, feed.open(*value[0], min_interval_s=value[1])))
            elif watched:
                watched[-1].change(*value)
        await asyncio.sleep(10)
        for one in watched:
            one.check(loop.time())
        await feed.stop()

    play()


class Watched:
    """A stream, when it was subscribed to what, and when each tick came."""

    def __init__(self, feed: Feed, reader: Reader) -> None:
        self.feed, self.reader = feed, reader
        self.stream: ConflatedSubscriber = reader.subscriber  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self.since = dict.fromkeys(self.stream.symbols, self._loop.time())
        self.came: dict[str, list[tuple[float, int]]] = {}
        reader.start()
        reader.messages = _Noted(self)  # type: ignore[assignment]

    def change(self, added: frozenset[str], removed: frozenset[str]) -> None:
        new, gone = added - self.stream.symbols - removed, removed & self.stream.symbols
        self.feed.change(self.reader, new, gone)
        for symbol in gone:
            self.came.pop(symbol, None)
            del self.since[symbol]
        self.since |= dict.fromkeys(new, self._loop.time())

    def check(self, now: float) -> None:
        interval_s = self.stream.min_interval_s
        for symbol, since in self.since.items():
            came = self.came.get(symbol, [])
            sequences = [sequence for _, sequence in came]
            assert sequences == sorted(set(sequences))
            if self.feed.last.get(symbol):
                assert sequences[-1] == self.feed.last[symbol]
            # A turn every interval, and the first one up to a phase earlier.
            phase_s = min(module.PHASE_S, interval_s / module.PHASES)
            for (at, _), (later, _) in itertools.pairwise(came):
                assert later - at > interval_s - phase_s - 1e-9
            for (name, sequence), put_at in self.feed.put_at.items():
                if name == symbol:
                    latest = min((at for at, seen in came if seen >= sequence), default=math.inf)
                    assert latest <= max(since, put_at) + interval_s + 1e-9
        assert set(self.came) <= set(self.since)


class _Noted(list[pb.StreamTicksResponse]):
    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self._watched = watched

    def append(self, message: pb.StreamTicksResponse) -> None:
        for one in message.ticks:
            if one.symbol in self._watched.since:
                now = self._watched._loop.time()
                self._watched.came.setdefault(one.symbol, []).append((now, one.sequence))
