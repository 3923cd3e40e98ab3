import asyncio

import pytest

from services.engine.streams.tick_stream import LOOK_AHEAD, UNACKNOWLEDGED, FeedEnded, Started, TooSlow
from services.kernel.errors import NotFound
from tests.engine.tick_readers import EPOCH, FIRST, StreamReader, frames, tick, ticks_stream


async def test_a_reader_gets_all_waiting_ticks_in_one_message_and_single_ones_when_idle():
    stream = ticks_stream()
    reader = StreamReader(stream)
    assert await reader.next() == Started(EPOCH, 0, FIRST, {})
    assert await reader.next() is None
    stream.publish([tick()])
    assert await reader.next() == b"A.X 10;"
    stream.publish([tick("B.X"), tick()])
    stream.publish([tick()])
    assert await reader.next() == b"B.X 10;A.X 11;A.X 12;"
    await reader.close()
    assert stream.readers == 0


async def test_a_reader_of_another_epoch_or_none_begins_with_the_oldest_tick_and_one_of_this_behind_its_position():
    stream = ticks_stream()
    stream.publish([tick(), tick("B.X"), tick()])
    for asked in (("", 0), ("e0", 2), (EPOCH, 0), (EPOCH, 4)):
        reader = StreamReader(stream, *asked)
        assert await reader.next() == Started(EPOCH, 0, FIRST, {})
        assert await reader.next() == b"A.X 10;B.X 10;A.X 11;"
    reader = StreamReader(stream, EPOCH, 2)
    assert await reader.next() == Started(EPOCH, 2, FIRST, {})
    assert await reader.next() == b"A.X 11;"
    reader = StreamReader(stream, EPOCH, 3)
    assert await reader.next() == Started(EPOCH, 3, FIRST, {})
    assert await reader.next() is None


async def test_a_tick_that_cannot_be_encoded_takes_no_number(caplog):
    stream = ticks_stream()
    stream.publish([tick(), tick(pad=-1), tick("B.X"), tick(pad=-1), tick()])
    reader = StreamReader(stream)
    await reader.next()
    assert await reader.next() == b"A.X 10;B.X 10;A.X 11;"
    assert stream.position == 3
    assert sum("unreadable" in record.getMessage() for record in caplog.records) == 1


async def test_a_reader_that_falls_out_of_the_ring_is_ended_and_hears_by_resuming_what_it_lost():
    stream = ticks_stream(ring_bytes=64 * 1024)
    slow, quick = StreamReader(stream), StreamReader(stream)
    for reader in (slow, quick):
        await reader.next()
    stream.publish([tick("B.X"), tick()])
    assert frames(await slow.next()) == [("B.X", 10), ("A.X", 10)]
    seen = 0
    for _ in range(100):
        stream.publish([tick(pad=100)] * 10)
        while message := await quick.next():
            seen += len(frames(message))
    assert seen == 1002
    with pytest.raises(TooSlow):
        await slow.next()
    again = StreamReader(stream, EPOCH, 2)
    started = await again.next()
    lost = started.position - 2
    assert 0 < lost < 1000 and started.sequences == {"A.X": 10 + lost, "B.X": 10}
    assert frames(await again.next())[0] == ("A.X", 11 + lost)


async def test_memory_is_bounded_however_many_readers_never_read():
    stream = ticks_stream(ring_bytes=64 * 1024)
    readers = [StreamReader(stream) for _ in range(50)]
    for reader in readers:
        await reader.next()
    for _ in range(1000):
        stream.publish([tick(pad=100)] * 10)
        assert stream.size <= 64 * 1024
    for reader in readers:
        with pytest.raises(TooSlow):
            await reader.next()


async def test_heartbeats_keep_their_place_between_ticks_and_an_idle_markets_push_none_out():
    stream = ticks_stream(ring_bytes=64 * 1024)
    stream.publish([tick()])
    stream.publish_heartbeat(b"h1")
    stream.publish([tick()])
    size = stream.size
    for number in range(2, 10_000):
        stream.publish_heartbeat(b"h%d" % number)
    assert stream.size == size
    reader = StreamReader(stream)
    await reader.next()
    assert [await reader.next() for _ in range(5)] == [b"A.X 10;", b"h1", b"A.X 11;", b"h9999", None]
    stream.publish_heartbeat(b"h10000")
    assert await reader.next() == b"h10000"
    resumed = StreamReader(stream, EPOCH, 1)
    await resumed.next()
    assert [await resumed.next() for _ in range(4)] == [b"h1", b"A.X 11;", b"h10000", None]


async def test_a_replay_needs_its_recorder_and_waits_for_all_readers():
    stream = ticks_stream(ring_bytes=64 << 20)
    looker = StreamReader(stream)
    await looker.next()
    begun = asyncio.ensure_future(stream.wait_for_recorder())
    capacity = asyncio.ensure_future(stream.wait_for_capacity(True))
    await asyncio.sleep(0)
    assert not begun.done() and not capacity.done()
    await asyncio.wait_for(stream.wait_for_capacity(False), 1)
    recorder = StreamReader(stream, records=True)
    await recorder.next()
    await asyncio.wait_for(asyncio.gather(begun, capacity), 1)
    stream.publish([tick()] * (LOOK_AHEAD + 1))
    while await recorder.next():
        pass
    capacity = asyncio.ensure_future(stream.wait_for_capacity(False))
    await asyncio.sleep(0)
    assert not capacity.done()  # the other one has not read anything
    assert await looker.next()
    await asyncio.wait_for(capacity, 1)
    await recorder.close()
    capacity = asyncio.ensure_future(stream.wait_for_capacity(True))
    await asyncio.sleep(0)
    assert not capacity.done()
    capacity.cancel()


async def test_a_replay_waits_for_what_a_reader_acknowledges_and_never_for_what_it_was_only_sent():
    stream = ticks_stream(ring_bytes=64 << 20)
    reader = StreamReader(stream, acknowledges=True)
    started = await reader.next()
    stream.publish([tick()] * (UNACKNOWLEDGED + 1))
    while await reader.next():
        pass
    waiting = asyncio.ensure_future(stream.wait_for_capacity(False))
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.publish([tick(gateway="CTP")])  # a live tick comes to the reader all the same
    assert len(frames(await reader.next())) == 1
    stream.acknowledge(started.reader_id, 1)
    stream.acknowledge(started.reader_id, 0)  # one that was overtaken
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    stream.acknowledge(started.reader_id, 2)
    await asyncio.wait_for(waiting, 1)
    stream.publish([tick()] * (2 * UNACKNOWLEDGED))
    stream.acknowledge(started.reader_id, stream.position)  # it was not sent these
    waiting = asyncio.ensure_future(stream.wait_for_capacity(False))
    await asyncio.sleep(0)
    assert not waiting.done()
    await reader.close()  # one that leaves holds up nobody
    await asyncio.wait_for(waiting, 1)
    with pytest.raises(NotFound):
        stream.acknowledge(started.reader_id, 3)


async def test_the_feeds_end_comes_behind_its_last_tick_also_for_late_readers_and_live_ticks_go_on():
    stream = ticks_stream()
    reader = StreamReader(stream)
    await reader.next()
    stream.publish([tick()])
    stream.end_feed()
    stream.publish([tick("B.X", gateway="CTP")])
    expected = [b"A.X 10;", FeedEnded(1), b"B.X 10;", None]
    assert [await reader.next() for _ in range(4)] == expected
    late = StreamReader(stream)
    assert [await late.next() for _ in range(5)] == [Started(EPOCH, 0, FIRST, {}), *expected]
    behind = StreamReader(stream, EPOCH, 2)
    assert [await behind.next() for _ in range(3)] == [Started(EPOCH, 2, FIRST, {}), FeedEnded(1), None]
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await late.next()
