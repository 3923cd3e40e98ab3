import pytest

from services.engine.streams.event_stream import EventStream, Numbered, Started, TooSlow
from services.engine.updates import TradingDayUpdate


def update(number: int) -> TradingDayUpdate:
    return TradingDayUpdate("SIM", number)


async def test_events_are_resumed_after_a_sequence_of_the_same_epoch():
    events = EventStream("e1", 10, 5.0)
    for number in range(1, 6):
        events.publish(update(number))
    reader = events.read(3, "e1")
    assert await anext(reader) == Started("e1", True, 3)
    assert await anext(reader) == [Numbered(4, update(4)), Numbered(5, update(5))]


@pytest.mark.parametrize(("after", "epoch"), [(3, "e0"), (0, ""), (99, "e1"), (1, "e1")])
async def test_what_cannot_be_resumed_begins_now(after, epoch):
    events = EventStream("e1", 3, 5.0)
    for number in range(1, 6):
        events.publish(update(number))
    reader = events.read(after, epoch)
    assert await anext(reader) == Started("e1", False, 5)
    events.publish(update(6))
    assert await anext(reader) == [Numbered(6, update(6))]


async def test_a_reader_behind_the_history_is_ended_and_an_idle_one_gets_heartbeats():
    events = EventStream("e1", 3, 0.01)
    reader = events.read(0, "")
    await anext(reader)
    assert await anext(reader) == [Numbered(0, None)]
    for number in range(1, 6):
        events.publish(update(number))
    with pytest.raises(TooSlow):
        await anext(reader)
