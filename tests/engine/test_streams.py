import asyncio
from types import SimpleNamespace

import pytest

from services.engine.event_stream import EventStream, Numbered, Started
from services.engine.event_stream import TooSlow as TooFarBehind
from services.engine.tick_stream import ControlMessage, FeedNature, TickStream, TooSlow
from services.engine.updates import TradingDayUpdate


def update(number: int) -> TradingDayUpdate:
    return TradingDayUpdate("SIM", number)


def tick(symbol="A.X"):
    return SimpleNamespace(vt_symbol=symbol)


def ticks_stream(limit=100, heartbeat_s=5.0) -> TickStream:
    nature = FeedNature(paced=True, realtime=False, on_demand=False)
    stream = TickStream(nature, lambda t, n: f"{t.vt_symbol}{n};".encode(), lambda: 0, limit, heartbeat_s)
    stream.begin(10)
    return stream


async def test_a_reader_gets_all_waiting_ticks_in_one_message_and_single_ones_when_idle():
    stream = ticks_stream()
    reader = stream.read()
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    stream.publish([tick()])
    assert await first == b"A.X10;"
    stream.publish([tick("B.X"), tick()])
    stream.publish([tick()])
    assert await anext(reader) == b"B.X10;A.X11;A.X12;"
    await reader.aclose()
    assert stream.readers == 0


async def test_a_reader_that_is_too_slow_is_ended():
    stream = ticks_stream(limit=10)
    slow, quick = stream.read(), stream.read()
    waiting = [asyncio.ensure_future(anext(reader)) for reader in (slow, quick)]
    await asyncio.sleep(0)
    stream.publish([tick()])
    await asyncio.gather(*waiting)
    for _ in range(12):
        stream.publish([tick()])
        assert await anext(quick)
    with pytest.raises(TooSlow):
        await anext(slow)


async def test_a_paced_feed_waits_for_a_reader_and_for_its_queue():
    stream = ticks_stream(limit=40)
    capacity = asyncio.ensure_future(stream.wait_for_capacity(True))
    await asyncio.sleep(0)
    assert not capacity.done()
    reader = stream.read()
    first = asyncio.ensure_future(anext(reader))
    await asyncio.wait_for(capacity, 1)
    stream.publish([tick()] * 20)
    await first
    stream.publish([tick()] * 20)
    capacity = asyncio.ensure_future(stream.wait_for_capacity(True))
    await asyncio.sleep(0)
    assert not capacity.done()
    await anext(reader)
    following = asyncio.ensure_future(anext(reader))
    await asyncio.wait_for(capacity, 1)
    following.cancel()


async def test_the_feeds_end_comes_after_the_last_tick_also_for_late_readers_and_then_heartbeats():
    stream = ticks_stream(heartbeat_s=0.01)
    reader = stream.read()
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    stream.publish([tick()])
    stream.end_feed()
    assert [await first, await anext(reader), await anext(reader)] == [
        b"A.X10;",
        ControlMessage.FEED_ENDED,
        ControlMessage.HEARTBEAT,
    ]
    late = stream.read()
    assert await anext(late) is ControlMessage.FEED_ENDED
    stream.close()
    assert [item async for item in late] == []


async def test_events_are_resumed_after_a_sequence_of_the_same_epoch():
    events = EventStream("e1", 10, 5.0)
    for number in range(1, 6):
        events.publish(update(number))
    reader = events.read(3, "e1")
    assert await anext(reader) == Started("e1", True, 3)
    assert [await anext(reader), await anext(reader)] == [Numbered(4, update(4)), Numbered(5, update(5))]


@pytest.mark.parametrize(("after", "epoch"), [(3, "e0"), (0, ""), (99, "e1"), (1, "e1")])
async def test_what_cannot_be_resumed_begins_now(after, epoch):
    events = EventStream("e1", 3, 5.0)
    for number in range(1, 6):
        events.publish(update(number))
    reader = events.read(after, epoch)
    assert await anext(reader) == Started("e1", False, 5)
    events.publish(update(6))
    assert await anext(reader) == Numbered(6, update(6))


async def test_a_reader_behind_the_history_is_ended_and_an_idle_one_gets_heartbeats():
    events = EventStream("e1", 3, 0.01)
    reader = events.read(0, "")
    await anext(reader)
    assert await anext(reader) == Numbered(0, None)
    for number in range(1, 6):
        events.publish(update(number))
    with pytest.raises(TooFarBehind):
        await anext(reader)
