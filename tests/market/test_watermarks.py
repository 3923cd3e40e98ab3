"""Watermarks in tick streams: to those that ask, in their place between the ticks, and never before what is resumed."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.market.control_messages import TickControlMessages
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber
from services.quant.bars import Bar, BarBuilder, Interval, Lengths
from tests.market.hub_readers import OTHER, SCANNER, Reader, cold_hub, lossless, new_hub, publish
from tests.market.recorder import recorder
from tests.market.ticks import SYMBOL, at, tick
from tests.quant.bars.made import CLOCK
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


def received(reader: Reader) -> list[int | dict[str, int] | str]:
    """Messages in order: sequences, watermarks, and the kinds of other control messages."""
    seen: list[int | dict[str, int] | str] = []
    for message in reader.messages:
        seen += [one.sequence for one in message.ticks]
        kind = message.WhichOneof("event")
        if kind == "heartbeat":
            seen.append(dict(message.heartbeat.watermarks_ns or message.heartbeat.symbol_watermarks_ns))
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
    assert received(asks) == ["started", 1, {"SIM": 20}, 2, {"SIM": 30, "CTP": 5}, 3]
    assert received(does_not) == ["started", 1, 2, 3]
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
    await until(lambda: received(reader)[-1:] == [{"SIM": 7}])
    assert received(reader) == ["started", {"SIM": 10, "CTP": 5}, {"SIM": 20}, "new_epoch", {"SIM": 7}]
    await reader.stop()


async def test_a_reader_that_takes_nothing_is_not_overrun_by_time() -> None:
    hub = new_hub()
    reader = timed(hub, limit=16)
    for time_ns in range(1, 5000):
        hub.pass_time({"SIM": time_ns})
    reader.start()
    await until(lambda: received(reader)[1:] == [{"SIM": 4999}])
    await reader.stop()


async def test_what_is_resumed_comes_before_the_time_that_has_passed_since() -> None:
    hub = new_hub()
    publish(hub, *[tick(n) for n in range(1, 6)])
    behind = timed(hub, epoch="e1", resume={SYMBOL: 2})
    hub.pass_time({"SIM": 10})
    behind.start()
    await until(lambda: received(behind) == ["started", 3, 4, 5, {"SIM": 10}])
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
    await until(lambda: received(held)[-1:] == [{"SIM": 30}])
    assert [one for one in received(held) if isinstance(one, int | dict)] == [3, {"SIM": 30}]
    await held.stop()


async def test_what_is_resumed_has_the_time_in_its_place_where_it_matters_and_the_present_one_at_its_end() -> None:
    hub, minute = new_hub(), 60_000_000_000
    hub.pass_time({"SIM": minute})
    publish(hub, tick(1, time_ns=minute, gateway="SIM"), tick(1, OTHER, time_ns=minute, gateway="SIM"))
    hub.pass_time({"SIM": minute + 10})
    publish(hub, tick(2, time_ns=minute + 10, gateway="SIM"))  # not late, nor the first in a minute
    hub.pass_time({"SIM": minute + 20})
    publish(hub, tick(3, time_ns=minute + 15, gateway="SIM"))  # late
    publish(hub, tick(4, time_ns=minute + 16, gateway="SIM"))
    hub.pass_time({"SIM": 2 * minute})
    publish(hub, tick(5, time_ns=2 * minute + 1, gateway="SIM"))
    hub.pass_time({"SIM": 2 * minute + 5})
    resumed = timed(hub, SYMBOL, OTHER, epoch="e1", resume={SYMBOL: 0, OTHER: 1})
    plain = lossless(hub, epoch="e1", resume={SYMBOL: 0})
    publish(hub, tick(6, time_ns=2 * minute + 4, gateway="SIM"))
    for reader in (resumed.start(), plain.start()):
        await until(lambda reader=reader: reader.ticks()[-1:] == [6])
    mine = [{SYMBOL: n} for n in (minute, minute + 20, 2 * minute, 2 * minute + 5)]
    assert received(resumed) == [
        *("started", mine[0], 1, 2, mine[1], 3, 4, mine[2], 5, mine[3]),
        *({OTHER: 2 * minute + 5}, 6),
    ]
    assert received(plain) == ["started", 1, 2, 3, 4, 5, 6]
    for reader in (resumed, plain):
        await reader.stop()


async def test_a_restart_of_market_forgets_no_time_between_ticks(tmp_path: Path) -> None:
    minute = 60_000_000_000
    for checkpoints in (False, True):
        async with recorder(tmp_path / str(checkpoints)) as one:
            one.begin_epoch("e1")
            for sequence in range(1, 4):
                one.hub.pass_time({"SIM": sequence * minute})
                one.publish(tick(sequence, time_ns=sequence * minute - 1, gateway="SIM"))
            await one.recorder.flush()
            if checkpoints:
                await one.recorder.checkpoint()
        async with recorder(tmp_path / str(checkpoints)) as two:
            two.hub.begin_feed(Position("e1", 3), first_sequence=1)
            reader = timed(two.hub, epoch="e1", resume={SYMBOL: 1}).start()
            await until(lambda reader=reader: len(received(reader)) > 4)
            assert received(reader)[1:] == [
                *({SYMBOL: 2 * minute}, 2, {SYMBOL: 3 * minute}, 3, {SYMBOL: 3 * minute}),
            ]
            await reader.stop()


def _random_feed(random: Random) -> list[pb.Tick | int]:
    """Ticks of two symbols, some of them late, and watermarks of their gateway."""
    made: list[pb.Tick | int] = []
    now_ns, sequences, volumes = at("2026-11-20 09:30:00"), {SYMBOL: 0, OTHER: 0}, {SYMBOL: 0.0, OTHER: 0.0}
    for _ in range(60):
        now_ns += random.choice((1, 5, 20, 70, 400)) * 1_000_000_000
        if random.random() < 0.4:
            made.append(now_ns)
            continue
        symbol = random.choice((SYMBOL, OTHER))
        sequences[symbol] += 1
        volumes[symbol] += random.choice((0, 1, 3))
        late_ns = random.choice((0, 0, 1, 30, 100)) * 1_000_000_000
        one = tick(sequences[symbol], symbol, time_ns=now_ns - late_ns, gateway="SIM", volume=volumes[symbol])
        one.last_price, one.last_quantity, one.trading_day = random.randint(90, 110), 1, 20261120
        made.append(one)
    return made


@pytest.mark.parametrize("seed", range(40))
async def test_bars_of_a_stream_that_breaks_and_resumes_are_those_of_one_that_does_not(seed: int) -> None:
    random, hub = Random(seed), new_hub(frames=1000)
    whole, broken = BarBuilder(CLOCK), BarBuilder(CLOCK, Lengths(longer_ns=(), day=False))
    bars: dict[str, list[Bar]] = {"whole": [], "broken": []}
    whole.on_closed(lambda bar: bar.interval is Interval.MINUTE and bars["whole"].append(bar))  # type: ignore[func-returns-value]
    broken.on_closed(bars["broken"].append)
    hub.on_published(whole.on_batch)
    hub.on_watermarks(whole.on_watermarks)
    for builder in (whole, broken):
        builder.begin_epoch("e1")
    last = {SYMBOL: 0, OTHER: 0}

    async def read(reader: Reader) -> None:
        """Apply what there is."""
        reader.start()
        end_ns = 1 << 60
        hub.pass_time({"END": end_ns})
        await until(lambda: any(end_ns in message.heartbeat.watermarks_ns.values() for message in reader.messages))
        await reader.stop()
        hub.remove(reader.subscriber)
        for message in reader.messages:
            broken.on_batch(SCANNER.scan(message.SerializeToString()))
            last.update((one.symbol, one.sequence) for one in message.ticks)
            broken.on_watermarks(message.heartbeat.watermarks_ns)
            for symbol, time_ns in message.heartbeat.symbol_watermarks_ns.items():
                broken.on_symbol_watermark(symbol, time_ns)

    reader: Reader | None = timed(hub, SYMBOL, OTHER, epoch="e1", resume=last)
    for event in _random_feed(random):
        if isinstance(event, int):
            hub.pass_time({"SIM": event})
        else:
            publish(hub, event)
        if reader is not None and random.random() < 0.1:
            await read(reader)
            reader = timed(hub, SYMBOL, OTHER, epoch="e1", resume=last) if random.random() < 0.5 else None
        elif reader is None and random.random() < 0.2:
            reader = timed(hub, SYMBOL, OTHER, epoch="e1", resume=last)
    await read(reader or timed(hub, SYMBOL, OTHER, epoch="e1", resume=last))
    for builder in (whole, broken):
        builder.close_all()
    for symbol in (SYMBOL, OTHER):
        of_whole, of_broken = ([bar for bar in made if bar.symbol == symbol] for made in bars.values())
        assert of_whole == of_broken
    assert bars["whole"]
