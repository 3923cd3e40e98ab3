"""Subscribers of streams: order, heartbeats, ends, and what a slow client gets."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.streams import End, LatestSubscriber, Subscriber, Subscribers

SOON = 0.001
LONG = 30.0


async def all_of(subscriber: Subscriber[int]) -> list[int | End | None]:
    return [item async for item in subscriber.items(LONG)]


async def test_items_come_in_order_and_then_the_end():
    subscriber = Subscriber[int](10)
    subscriber.offer([1, 2])
    subscriber.offer([3])
    subscriber.end("DELETED")
    subscriber.end("SHUTTING_DOWN")
    subscriber.offer([4])
    assert await all_of(subscriber) == [1, 2, 3, End("DELETED")]


async def test_a_silent_stream_has_heartbeats():
    subscriber = Subscriber[int](10)
    items = subscriber.items(SOON)
    assert [await anext(items), await anext(items)] == [None, None]
    subscriber.offer([1])
    assert await anext(items) == 1
    assert await anext(items) is None
    await items.aclose()


async def test_an_item_wakes_a_stream_that_waits():
    subscriber = Subscriber[int](10)
    items = subscriber.items(LONG)
    waiting = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0)
    subscriber.offer([1])
    assert await waiting == 1
    waiting = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0)
    subscriber.end("SHUTTING_DOWN")
    assert await waiting == End("SHUTTING_DOWN")


async def test_a_cancelled_wait_loses_no_item():
    subscriber = Subscriber[int](10)
    waiting = asyncio.ensure_future(subscriber.take(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    subscriber.offer([1])
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await subscriber.take(LONG) == [1]


async def test_a_slow_client_gets_what_was_buffered_and_is_ended():
    subscriber = Subscriber[int](2)
    for item in range(5):
        subscriber.offer([item])
    assert await all_of(subscriber) == [0, 1, End("SLOW_CONSUMER")]


async def test_a_slow_client_that_begins_anew_gets_the_end_at_once():
    subscriber = Subscriber[int](2, discards=True)
    subscriber.offer([1, 2, 3])
    assert subscriber.has_ended
    assert await subscriber.take(LONG) == []
    assert await all_of(subscriber) == [End("SLOW_CONSUMER")]


async def test_the_latest_item_replaces_older_ones_but_a_final_one():
    subscriber = LatestSubscriber[int](lambda item: item >= 100)
    subscriber.offer([1])
    subscriber.offer([2, 3])
    assert await subscriber.take(LONG) == [3]
    subscriber.offer([100])
    subscriber.offer([4])
    subscriber.end("SHUTTING_DOWN")
    assert await all_of(subscriber) == [100, End("SHUTTING_DOWN")]


async def test_who_follows_a_key_gets_its_items_alone():
    subscribers = Subscribers[str, int](lambda: Subscriber(10))
    with subscribers.follow("a") as first, subscribers.follow("a") as second, subscribers.follow("b") as other:
        subscribers.publish("a", [1])
        subscribers.publish("c", [2])
        subscribers.end("a", "DELETED")
        subscribers.end("b", "X")
        assert await all_of(first) == await all_of(second) == [1, End("DELETED")]
        assert await all_of(other) == [End("X")]
        assert set(subscribers.keys) == {"a", "b"}
    assert subscribers.keys == []


async def test_a_drain_ends_all_streams_and_those_to_come():
    subscribers = Subscribers[str, int](lambda: Subscriber(10))
    with subscribers.follow("a") as running:
        subscribers.publish("a", [1])
        await subscribers.drain()
        with subscribers.follow("b") as late:
            assert await all_of(running) == [1, End("SHUTTING_DOWN")]
            assert await all_of(late) == [End("SHUTTING_DOWN")]


@given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.lists(st.integers(), max_size=4)), max_size=20))
def test_what_is_taken_is_what_was_offered_up_to_the_end(size, steps):
    """None takes, a list offers: the items taken are a prefix of those offered, all of them unless it has ended."""

    async def run() -> None:
        subscriber = Subscriber[int](size)
        offered, taken = [], []
        for step in steps:
            if step is None:
                if subscriber._waiting or subscriber.end_reason:
                    taken += await subscriber.take(LONG)
            else:
                subscriber.offer(step)
                offered += step
        subscriber.end("DELETED")
        taken += await subscriber.take(LONG)
        assert taken == offered[: len(taken)]
        assert taken == offered or subscriber.end_reason == "SLOW_CONSUMER"
        assert subscriber.has_ended

    asyncio.run(run())
