"""Watermarks in tick streams: to those that ask, in their place between the ticks, and never before what is resumed."""

from collections.abc import Mapping

from services.market.control_messages import TickControlMessages
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber
from tests.market.hub_readers import OTHER, Reader, cold_hub, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until


def timed(
    hub: Hub, *symbols: str, epoch: str = "", resume: Mapping[str, int] | None = None, limit: int = 100
) -> Reader:
    """A reader that asks for watermarks."""
    names = frozenset(symbols or (SYMBOL,))
    subscriber = LosslessSubscriber("timed", "alice", names, TickControlMessages(), 10.0, limit, hub.on_capacity)
    subscriber.takes_watermarks = True
    hub.add(subscriber, resume or {}, epoch)
    return Reader(subscriber)


def told(reader: Reader) -> list[int | dict[str, int] | str]:
    """What came, in order: sequences, watermarks, and the kinds of other control messages."""
    seen: list[int | dict[str, int] | str] = []
    for message in reader.messages:
        seen += [one.sequence for one in message.ticks]
        kind = message.WhichOneof("event")
        if kind == "heartbeat":
            seen.append(dict(message.heartbeat.watermarks_ns))
        elif kind:
            seen.append(kind)
    return seen


async def test_watermarks_come_in_their_place_and_only_to_those_that_ask() -> None:
    hub = new_hub()
    asks, does_not = timed(hub), lossless(hub)
    publish(hub, tick(1))
    hub.pass_time({"SIM": 10})
    publish(hub, tick(2, OTHER))
    hub.pass_time({"SIM": 20})
    hub.pass_time({})
    publish(hub, tick(2))
    hub.pass_time({"SIM": 30, "CTP": 5})
    publish(hub, tick(3))
    for reader in (asks.start(), does_not.start()):
        await until(lambda reader=reader: reader.ticks() == [1, 2, 3])
    # 10 was not needed any more: 20 came before any tick of the stream.
    assert told(asks) == ["started", 1, {"SIM": 20}, 2, {"SIM": 30, "CTP": 5}, 3]
    assert told(does_not) == ["started", 1, 2, 3]
    for reader in (asks, does_not):
        await reader.stop()


async def test_watermarks_of_an_epoch_come_before_the_next_one_and_none_of_a_gateway_is_forgotten() -> None:
    hub = new_hub()
    reader = timed(hub)
    hub.pass_time({"SIM": 10, "CTP": 5})
    hub.pass_time({"SIM": 20})
    hub.begin_feed(Position("e2"), first_sequence=1)
    hub.pass_time({"SIM": 7})
    reader.start()
    await until(lambda: told(reader)[-1:] == [{"SIM": 7}])
    assert told(reader) == ["started", {"SIM": 10, "CTP": 5}, {"SIM": 20}, "new_epoch", {"SIM": 7}]
    await reader.stop()


async def test_a_reader_that_takes_nothing_is_not_overrun_by_time() -> None:
    hub = new_hub()
    reader = timed(hub, limit=16)
    for time_ns in range(1, 5000):
        hub.pass_time({"SIM": time_ns})
    reader.start()
    await until(lambda: told(reader)[1:] == [{"SIM": 4999}])
    await reader.stop()


async def test_what_is_resumed_comes_before_the_time_that_has_passed_since() -> None:
    hub = new_hub()
    publish(hub, *[tick(n) for n in range(1, 6)])
    behind = timed(hub, epoch="e1", resume={SYMBOL: 2})
    hub.pass_time({"SIM": 10})
    behind.start()
    await until(lambda: told(behind) == ["started", 3, 4, 5, {"SIM": 10}])
    await behind.stop()


async def test_a_stream_that_waits_for_ticks_of_before_gets_no_time_meanwhile() -> None:
    hub = cold_hub()
    held = timed(hub, epoch="e1", resume={SYMBOL: 2}).start()
    hub.pass_time({"SIM": 10})
    hub.begin_feed(Position("e1"), first_sequence=1)
    # The client has more than came here so far.
    publish(hub, tick(1))
    hub.pass_time({"SIM": 20})
    publish(hub, tick(2))
    publish(hub, tick(3))
    hub.pass_time({"SIM": 30})
    await until(lambda: told(held)[-1:] == [{"SIM": 30}])
    assert [one for one in told(held) if isinstance(one, int | dict)] == [3, {"SIM": 30}]
    await held.stop()
