"""The hub: both delivery modes, snapshot, resume, gaps, ends, backpressure."""

import asyncio

import pytest

from services.market.ticks.hub import Hub
from tests.market.hub_readers import OTHER, conflated, last_tick, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, tick
from tests.simulated_time import in_simulated_time
from tests.waiting import until


@pytest.fixture
async def hub() -> Hub:
    return new_hub()


async def test_a_stream_starts_with_its_id_then_the_last_tick_then_what_comes(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    reader = lossless(hub)
    assert (await reader.next()).started.stream_id == "s0"
    assert [t.sequence for t in (await reader.next()).ticks] == [2]
    publish(hub, tick(3))
    assert [t.sequence for t in (await reader.next()).ticks] == [3]


async def test_a_symbol_that_another_gateway_serves_begins_anew() -> None:
    moved: list[tuple[str, str]] = []
    hub = new_hub()
    hub.on_moved(lambda *change: moved.append(change))
    publish(hub, tick(1, gateway="SIM"), tick(2, gateway="SIM"))
    reader = lossless(hub).start()
    publish(hub, tick(3, gateway="CTP"), tick(4, gateway="CTP"))
    resumed = lossless(hub, after=1).start()
    await until(lambda: resumed.ticks() == [3, 4] and reader.ticks() == [2, 3, 4])
    assert moved == [(SYMBOL, "CTP")] and reader.events()[1:] == []
    assert resumed.gaps() == [(SYMBOL, 2, 2)]
    await reader.stop()
    await resumed.stop()


async def test_a_last_tick_of_a_gateway_that_serves_the_symbol_no_more_is_forgotten() -> None:
    moved: list[tuple[str, str]] = []
    hub = new_hub()
    hub.on_moved(lambda *change: moved.append(change))
    publish(hub, tick(1, gateway="SIM"))
    hub.move(SYMBOL, "SIM")
    hub.move(OTHER, "CTP")
    assert last_tick(hub) is not None and not moved
    hub.move(SYMBOL, "CTP")
    assert last_tick(hub) is None and moved == [(SYMBOL, "CTP")] and not hub.last_frames()
    late = lossless(hub).start()
    publish(hub, tick(2, gateway="CTP"))
    await until(lambda: late.ticks() == [2])
    assert last_tick(hub).gateway == "CTP"
    await late.stop()


async def test_what_comes_between_registration_and_first_read_is_neither_missed_nor_doubled(hub: Hub) -> None:
    publish(hub, tick(1))
    reader = lossless(hub)
    publish(hub, tick(2), tick(3))
    reader.start()
    await until(lambda: reader.ticks()[-1:] == [3])
    publish(hub, tick(4))
    await until(lambda: reader.ticks()[-1:] == [4])
    assert reader.ticks() == [1, 2, 3, 4]
    await reader.stop()


async def test_ticks_that_wait_are_one_message_and_idle_ones_are_single(hub: Hub) -> None:
    reader = lossless(hub)
    await reader.next()
    for n in range(1, 6):
        publish(hub, tick(n))
    assert len((await reader.next()).ticks) == 5
    publish(hub, tick(6))
    assert len((await reader.next()).ticks) == 1


async def test_only_subscribed_symbols_are_delivered_in_one_order(hub: Hub) -> None:
    both, one = lossless(hub, SYMBOL, OTHER).start(), lossless(hub, OTHER).start()
    publish(hub, tick(1), tick(1, OTHER), tick(2), tick(2, OTHER))
    await until(lambda: both.ticks() == [1, 2] and both.ticks(OTHER) == [1, 2] and one.ticks(OTHER) == [1, 2])
    assert one.ticks() == []
    await both.stop()
    await one.stop()


async def test_a_lossless_reader_that_falls_behind_is_ended_with_what_to_resume_after(hub: Hub) -> None:
    reader = lossless(hub, limit=10)
    await reader.next()
    publish(hub, tick(1))
    await reader.next()
    for n in range(2, 20):
        publish(hub, tick(n))
    end = (await reader.next()).end
    assert end.reason == "SLOW_CONSUMER"
    assert dict(end.resume_after_sequence) == {SYMBOL: 1}
    assert reader.subscriber.waiting == 0  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        await anext(reader._stream)
    again = lossless(hub, after=1).start()
    await until(lambda: again.ticks() == list(range(2, 20)))
    assert "gap" not in again.events()
    await again.stop()


async def test_a_slow_reader_does_not_hold_up_another(hub: Hub) -> None:
    slow, quick = lossless(hub, limit=10), lossless(hub, limit=1000).start()
    for n in range(1, 51):
        publish(hub, tick(n))
    await until(lambda: quick.ticks() == list(range(1, 51)))
    assert slow.subscriber.end_reason == "SLOW_CONSUMER"
    await quick.stop()


async def test_resuming_beyond_the_ring_says_the_gap_and_then_what_there_is(hub: Hub) -> None:
    for n in range(1, 101):
        publish(hub, tick(n))
    reader = lossless(hub, after=10).start()
    await until(lambda: reader.ticks() == list(range(37, 101)))
    gap = next(message.gap for message in reader.messages if message.HasField("gap"))
    assert (gap.symbol, gap.first_sequence, gap.last_sequence) == (SYMBOL, 11, 36)
    publish(hub, tick(101))
    await until(lambda: reader.ticks()[-1] == 101)
    await reader.stop()


async def test_an_end_before_what_was_missed_is_sent_resumes_from_the_same_place(hub: Hub) -> None:
    publish(hub, tick(1), tick(2), tick(3))
    for after in (1, 3):
        reader = lossless(hub, limit=2, after=after)
        for n in range(20):
            publish(hub, tick(last_tick(hub).sequence + 1 if n else 4))  # type: ignore[union-attr]
        assert reader.subscriber.end_reason == "SLOW_CONSUMER"
        assert reader.subscriber.sent == {SYMBOL: after}


async def test_what_comes_while_a_stream_reads_what_it_missed_does_not_end_it(hub: Hub) -> None:
    for n in range(1, 41):
        publish(hub, tick(n))
    reader = lossless(hub, limit=10, after=0)
    for n in range(41, 61):
        publish(hub, tick(n))
    await reader.next()
    while len(reader.ticks()) < 60:
        await reader.next()
    assert reader.ticks() == list(range(1, 61))
    # From then on it is like any other.
    for n in range(61, 72):
        publish(hub, tick(n))
    assert reader.subscriber.end_reason == "SLOW_CONSUMER"


async def test_a_stream_that_resumes_and_reads_nothing_is_ended(hub: Hub) -> None:
    for n in range(1, 65):
        publish(hub, tick(n))
    reader = lossless(hub, limit=4, after=0)
    for n in range(65, 65 + 4 + 32 + 1):
        assert not reader.subscriber.end_reason
        publish(hub, tick(n))
    assert reader.subscriber.end_reason == "SLOW_CONSUMER"
    assert reader.subscriber.sent == {SYMBOL: 0}


async def test_resuming_at_the_last_one_delivers_nothing_old(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    reader = lossless(hub, after=2).start()
    publish(hub, tick(3))
    await until(lambda: reader.ticks() == [3])
    await reader.stop()


async def test_what_leaves_the_ring_while_a_stream_catches_up_becomes_a_gap(hub: Hub) -> None:
    for n in range(1, 65):
        publish(hub, tick(n))
    reader = lossless(hub, after=0, limit=1000)
    for n in range(65, 81):
        publish(hub, tick(n))
    reader.start()
    await until(lambda: reader.ticks() == list(range(17, 81)))
    gap = next(message.gap for message in reader.messages if message.HasField("gap"))
    assert (gap.first_sequence, gap.last_sequence) == (1, 16)
    await reader.stop()


async def test_a_jump_of_upstream_is_sent_as_a_gap_in_its_place(hub: Hub) -> None:
    reader = lossless(hub)
    await reader.next()
    publish(hub, tick(1), tick(2), tick(6), tick(7))
    assert [t.sequence for t in (await reader.next()).ticks] == [1, 2]
    gap = (await reader.next()).gap
    assert (gap.first_sequence, gap.last_sequence) == (3, 5)
    assert [t.sequence for t in (await reader.next()).ticks] == [6, 7]


async def test_a_tick_sent_twice_is_delivered_once(hub: Hub) -> None:
    seen: list[int] = []
    hub.on_published(lambda batch: seen.extend(batch.values("sequence")))
    reader = lossless(hub).start()
    publish(hub, tick(1), tick(2))
    publish(hub, tick(2), tick(3))
    await until(lambda: reader.ticks() == [1, 2, 3])
    assert seen == [1, 2, 3]
    await reader.stop()


@in_simulated_time
async def test_a_silent_stream_says_so_at_its_interval(hub: Hub) -> None:
    reader = lossless(hub, heartbeat_s=0.1)
    await reader.next()
    started = asyncio.get_running_loop().time()
    message = await reader.next()
    assert message.HasField("heartbeat")
    assert asyncio.get_running_loop().time() - started == pytest.approx(0.1)


async def test_symbols_added_to_a_stream_begin_with_their_last_tick_and_removed_ones_end(hub: Hub) -> None:
    publish(hub, tick(1), tick(1, OTHER))
    for reader in (lossless(hub), conflated(hub)):
        reader.start()
        await until(lambda reader=reader: reader.ticks())
        hub.change(reader.subscriber, [OTHER, SYMBOL], [])
        await until(lambda reader=reader: reader.ticks(OTHER))
        hub.change(reader.subscriber, [OTHER], [SYMBOL])
        last = last_tick(hub, OTHER).sequence  # type: ignore[union-attr]
        seen = len(reader.ticks())
        publish(hub, tick(last_tick(hub).sequence + 1), tick(last + 1, OTHER))  # type: ignore[union-attr]
        await until(lambda reader=reader, last=last: reader.ticks(OTHER)[-1] == last + 1)
        assert len(reader.ticks()) == seen
        assert reader.ticks(OTHER) == list(range(reader.ticks(OTHER)[0], last + 2))
        await reader.stop()
        hub.remove(reader.subscriber)
    assert not hub._routes._groups


@in_simulated_time
async def test_a_paced_feed_waits_for_the_slowest_lossless_stream_and_loses_nothing(hub: Hub) -> None:
    hub.begin_feed(hub.position, paced=True)
    slow, quick = lossless(hub, limit=20), lossless(hub, limit=20).start()
    conflated(hub)

    async def feed() -> None:
        for n in range(1, 201):
            publish(hub, tick(n))
            await hub.wait_for_capacity(30)

    feeding = asyncio.create_task(feed())
    await until(lambda: slow.subscriber.waiting == 10)  # type: ignore[attr-defined]
    await asyncio.sleep(20)
    assert not feeding.done()
    slow.start()
    await until(feeding.done)
    await until(lambda: slow.ticks() == quick.ticks() == list(range(1, 201)))
    await slow.stop()
    await quick.stop()


async def test_a_paced_feed_ends_a_stream_that_takes_nothing_and_goes_on(hub: Hub) -> None:
    hub.begin_feed(hub.position, paced=True)
    stuck = lossless(hub, limit=20)
    await stuck.next()
    for n in range(1, 20):
        publish(hub, tick(n))
        await asyncio.wait_for(hub.wait_for_capacity(0.1), 5)
    assert (await stuck.next()).end.reason == "SLOW_CONSUMER"


async def test_a_live_symbols_ticks_wait_for_nobody_beside_a_paced_feed(hub: Hub) -> None:
    hub.begin_feed(hub.position, paced=True)
    hub.set_live([OTHER])
    of_both, of_live = lossless(hub, SYMBOL, OTHER, limit=20), lossless(hub, OTHER, limit=20)
    for n in range(1, 20):
        publish(hub, tick(n, OTHER))
    # Full, but of what does not wait: neither such ticks nor the replay wait for it.
    assert of_live.subscriber.full and not hub.paces([OTHER])  # type: ignore[attr-defined]
    hub.remove(of_both.subscriber)
    await asyncio.wait_for(hub.wait_for_capacity(30), 5)
    publish(hub, tick(20, OTHER), tick(21, OTHER))
    assert of_live.subscriber.end_reason == "SLOW_CONSUMER"
    assert hub.paces([SYMBOL, OTHER])


async def test_a_reader_that_leaves_lets_a_paced_feed_go_on(hub: Hub) -> None:
    hub.begin_feed(hub.position, paced=True)
    reader = lossless(hub, limit=4)
    publish(hub, tick(1), tick(2), tick(3))
    waiting = asyncio.create_task(hub.wait_for_capacity(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.remove(reader.subscriber)
    await until(waiting.done)


async def test_the_end_of_a_feed_comes_after_everything_else(hub: Hub) -> None:
    reader = lossless(hub)
    publish(hub, tick(1), tick(2))
    hub.end_feed()
    reader.start()
    await until(lambda: reader.ended)
    assert reader.ticks() == [1, 2]
    assert reader.messages[-1].end.reason == "FEED_ENDED"
    assert dict(reader.messages[-1].end.resume_after_sequence) == {SYMBOL: 2}
    late = lossless(hub).start()
    await until(lambda: late.ended)
    assert late.ticks() == [2]


async def test_draining_ends_streams_and_those_to_come(hub: Hub) -> None:
    reader = lossless(hub).start()
    publish(hub, tick(1))
    hub.drain("SHUTTING_DOWN")
    late = lossless(hub).start()
    await until(lambda: reader.ended and late.ended)
    assert reader.messages[-1].end.reason == late.messages[-1].end.reason == "SHUTTING_DOWN"
