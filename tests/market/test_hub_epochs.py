"""The hub's epochs: resumes with and without one, what is lost between two connections, and what an end names."""

import pytest

from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from tests.market.hub_readers import OTHER, Reader, cold_hub, conflated, last_tick, lossless, new_hub, publish, restored
from tests.market.ticks import SYMBOL, tick
from tests.simulated_time import in_simulated_time
from tests.waiting import until


@pytest.fixture
async def hub() -> Hub:
    return new_hub()


async def read_all(hub: Hub, *readers: Reader) -> None:
    """End the streams and read them to their end."""
    hub.drain("SHUTTING_DOWN")
    for reader in readers:
        reader.start()
        await until(lambda reader=reader: reader.ended)


async def test_a_resume_at_a_market_that_saw_nothing_of_the_symbol_loses_nothing_in_silence(hub: Hub) -> None:
    replayed, late = lossless(hub, after=5), lossless(hub, OTHER, resume={OTHER: 5})
    # The engine sends this market some of what the client has, or less than it needs.
    publish(hub, tick(1), tick(2), tick(5), tick(6), tick(8, OTHER))
    await read_all(hub, replayed, late)
    assert replayed.ticks() == [6] and replayed.gaps() == []
    assert late.ticks(OTHER) == [8] and late.gaps() == [(OTHER, 6, 7)]


async def test_a_resume_above_what_market_has_gets_no_tick_twice(hub: Hub) -> None:
    publish(hub, tick(1), tick(2), tick(3), tick(1, OTHER))
    reader = lossless(hub, SYMBOL, OTHER, resume={SYMBOL: 5, OTHER: 1})
    latest = conflated(hub, resume={SYMBOL: 5})
    publish(hub, tick(4), tick(2, OTHER), tick(5))
    publish(hub, tick(6), tick(7), tick(3, OTHER))
    await read_all(hub, reader, latest)
    assert reader.ticks() == [6, 7] and reader.ticks(OTHER) == [2, 3] and reader.gaps() == []
    assert latest.ticks() == [7]
    assert dict(reader.messages[-1].end.resume_after_sequence) == {SYMBOL: 7, OTHER: 3}


async def test_an_end_before_market_has_come_as_far_resumes_from_the_same_place(hub: Hub) -> None:
    readers = [lossless(hub, after=5), conflated(hub, resume={SYMBOL: 5})]
    publish(hub, tick(1), tick(2))
    await read_all(hub, *readers)
    for reader in readers:
        assert reader.ticks() == []
        assert dict(reader.messages[-1].end.resume_after_sequence) == {SYMBOL: 5}


async def test_zero_resumes_with_all_of_the_epoch(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    full = lossless(hub, after=0)
    for n in range(3, 81):
        publish(hub, tick(n))
    evicted = lossless(hub, after=0)
    publish(hub, tick(81))
    await read_all(hub, full, evicted)
    assert full.gaps() == [(SYMBOL, 1, 2)] and full.ticks() == list(range(3, 82))
    assert evicted.gaps() == [(SYMBOL, 1, 17)] and evicted.ticks() == list(range(18, 82))


async def test_an_end_names_each_subscribed_symbol_and_loses_none_on_resuming(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    reader = lossless(hub, SYMBOL, OTHER, "IH2101.CFFEX", limit=4)
    await reader.next()
    publish(hub, *[tick(n) for n in range(3, 6)], *[tick(n, OTHER) for n in range(1, 4)])
    end = (await reader.next()).end
    # The snapshot, tick 2, was not sent; of the others nothing was.
    assert (end.reason, end.epoch) == ("SLOW_CONSUMER", "e1")
    assert dict(end.resume_after_sequence) == {SYMBOL: 1, OTHER: 0, "IH2101.CFFEX": 0}
    again = lossless(hub, SYMBOL, OTHER, "IH2101.CFFEX", resume=end.resume_after_sequence, epoch=end.epoch)
    publish(hub, tick(1, "IH2101.CFFEX"))
    await read_all(hub, again)
    assert again.ticks() == [2, 3, 4, 5] and again.ticks(OTHER) == [1, 2, 3] and again.ticks("IH2101.CFFEX") == [1]
    assert again.gaps() == []


async def test_what_was_lost_while_upstream_was_away_is_a_gap_at_once(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    reader, never = lossless(hub).start(), lossless(hub, OTHER).start()
    await until(lambda: reader.ticks() == [2])
    hub.begin_feed(Position("e1", 100), first_sequence=1, sequences={SYMBOL: 60, OTHER: 38})
    await until(lambda: reader.gaps() == [(SYMBOL, 3, 60)] and never.gaps() == [(OTHER, 1, 38)])
    publish(hub, tick(61))
    await until(lambda: reader.ticks() == [2, 61])
    # Who comes now begins with the last tick that is known, and hears that it was not the last one.
    fresh = lossless(hub, SYMBOL, OTHER)
    await read_all(hub, fresh)
    assert fresh.ticks() == [61] and fresh.gaps() == []
    assert dict(fresh.messages[-1].end.resume_after_sequence) == {SYMBOL: 61, OTHER: 38}
    for one in (reader, never):
        await one.stop()


async def test_a_stream_that_begins_after_a_loss_hears_that_its_last_tick_is_not_the_last(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    hub.begin_feed(Position("e1", 9), first_sequence=1, sequences={SYMBOL: 9})
    reader = lossless(hub)
    publish(hub, tick(10))
    await read_all(hub, reader)
    assert reader.ticks() == [2, 10] and reader.gaps() == [(SYMBOL, 3, 9)]


async def test_going_on_exactly_as_asked_says_nothing(hub: Hub) -> None:
    reader = lossless(hub)
    publish(hub, tick(1), tick(2))
    assert hub.position == Position("e1", 2)
    hub.begin_feed(hub.position, first_sequence=1)
    publish(hub, tick(3))
    await read_all(hub, reader)
    assert reader.ticks() == [1, 2, 3] and reader.events() == ["started", "end"]


async def test_a_new_epoch_is_told_in_its_place_and_numbers_nothing_across(hub: Hub) -> None:
    reader, latest, quiet = lossless(hub), conflated(hub), lossless(hub, OTHER)
    publish(hub, tick(1), tick(2))
    hub.begin_feed(Position("e2"), first_sequence=1 << 30)
    publish(hub, tick(1 << 30), tick((1 << 30) + 2))
    await read_all(hub, reader, latest, quiet)
    new = 1 << 30
    assert reader.kinds() == ["started", 1, 2, "new_epoch", new, "gap", new + 2, "end"]
    # Tick 2 was not the latest any more when it was read.
    assert latest.kinds() == ["started", "new_epoch", new + 2, "end"]
    assert quiet.kinds() == ["started", "new_epoch", "end"]
    for one in (reader, latest, quiet):
        assert one.messages[-1].end.epoch == "e2"
    assert dict(quiet.messages[-1].end.resume_after_sequence) == {OTHER: 0}


async def test_what_a_stream_still_missed_of_an_epoch_that_ended_is_a_gap_of_that_epoch(hub: Hub) -> None:
    publish(hub, *[tick(n) for n in range(1, 11)])
    reader = lossless(hub, after=4)
    hub.begin_feed(Position("e2"), first_sequence=1)
    publish(hub, tick(1))
    await read_all(hub, reader)
    assert reader.kinds() == ["started", "gap", "new_epoch", 1, "end"]
    assert reader.gaps() == [(SYMBOL, 5, 10)]


async def test_a_stream_that_is_too_slow_for_a_new_epoch_may_resume_all_of_it(hub: Hub) -> None:
    reader = lossless(hub, limit=4)
    publish(hub, tick(1), tick(2))
    hub.begin_feed(Position("e2"), first_sequence=1)
    publish(hub, *[tick(n) for n in range(1, 9)])
    reader.start()
    await until(lambda: reader.ended)
    end = reader.messages[-1].end
    assert reader.kinds() == ["started", "new_epoch", "end"]
    assert (end.epoch, dict(end.resume_after_sequence)) == ("e2", {SYMBOL: 0})


@pytest.mark.parametrize(
    ("epoch", "after"),
    [("e0", 7), ("", 7), ("e0", 0)],
    ids=["another epoch", "sequences below the epoch's", "another epoch, nothing received"],
)
async def test_of_another_epoch_nothing_is_resumed(epoch: str, after: int) -> None:
    hub = new_hub(first_sequence=100)
    publish(hub, tick(100), tick(101), tick(100, OTHER))
    readers = [make(hub, SYMBOL, OTHER, resume={SYMBOL: after}, epoch=epoch) for make in (lossless, conflated)]
    publish(hub, tick(102))
    await read_all(hub, *readers)
    assert readers[0].kinds() == ["started", "new_epoch", 101, 100, 102, "end"]
    assert readers[1].kinds()[:2] == ["started", "new_epoch"]
    assert readers[1].ticks()[-1] == 102 and readers[1].ticks(OTHER) == [100]


async def test_a_resume_in_an_epoch_that_is_newer_here_waits_for_it(hub: Hub) -> None:
    """Another replica of market followed the new epoch already."""
    publish(hub, tick(1), tick(2))
    readers = [lossless(hub, after=101, epoch="e2"), conflated(hub, resume={SYMBOL: 101}, epoch="e2")]
    publish(hub, tick(3))
    hub.begin_feed(Position("e2"), first_sequence=100)
    publish(hub, tick(100), tick(101), tick(102))
    await read_all(hub, *readers)
    for reader in readers:
        assert reader.kinds() == ["started", "new_epoch", 102, "end"]
        assert reader.messages[1].new_epoch.epoch == "e2"


@in_simulated_time
async def test_a_resume_in_a_newer_epoch_waits_as_long_as_the_engine_is_not_heard() -> None:
    hub = new_hub()
    publish(hub, tick(1), tick(2))
    hub.offer_state(connected=False)
    reader = lossless(hub, after=101, epoch="e2", heartbeat_s=4.0)
    assert (await reader.next()).HasField("started")
    assert (await reader.next()).HasField("feed_state")
    for _ in range(10):
        assert (await reader.next()).HasField("heartbeat")
    hub.begin_feed(Position("e2"), first_sequence=100)
    hub.offer_state(connected=True)
    publish(hub, tick(100), tick(101), tick(102))
    await read_all(hub, reader)
    assert reader.ticks() == [102]


@in_simulated_time
async def test_a_resume_in_an_epoch_that_seems_newer_and_does_not_come_begins_with_the_last_ticks() -> None:
    hub = new_hub()
    publish(hub, tick(1), tick(2))
    reader = lossless(hub, after=101, epoch="e0").start()
    await until(lambda: reader.ticks(), timeout_s=60)
    publish(hub, tick(3))
    await until(lambda: reader.ticks() == [2, 3])
    assert reader.events() == ["started", "new_epoch"]
    await reader.stop()


async def test_a_resume_beyond_a_feed_that_ended_is_of_another_epoch(hub: Hub) -> None:
    publish(hub, tick(1), tick(2))
    early = lossless(hub, after=9)
    hub.end_feed()
    late = lossless(hub, after=9)
    for reader in (early.start(), late.start()):
        await until(lambda reader=reader: reader.ended)
        assert reader.kinds() == ["started", "new_epoch", 2, "end"]
        assert reader.messages[-1].end.reason == "FEED_ENDED"


@in_simulated_time
async def test_a_market_that_knows_no_epoch_holds_a_resume_with_heartbeats() -> None:
    hub = cold_hub()
    same = lossless(hub, after=2, epoch="e1", heartbeat_s=0.1)
    other = lossless(hub, after=2, epoch="e0")
    empty = lossless(hub, after=2)
    fresh = lossless(hub)
    assert (await same.next()).started.epoch == ""
    assert (await same.next()).HasField("heartbeat")
    hub.begin_feed(Position("e1"), first_sequence=1)
    publish(hub, *[tick(n) for n in range(1, 5)])
    await read_all(hub, same, other, empty, fresh)
    assert same.kinds() == ["started", "heartbeat", "new_epoch", 3, 4, "end"]
    assert empty.kinds() == ["started", "new_epoch", 3, 4, "end"]
    assert other.kinds() == ["started", "new_epoch", 1, 2, 3, 4, "end"]
    assert fresh.kinds() == ["started", "new_epoch", 1, 2, 3, 4, "end"]


async def test_a_held_resume_ends_with_what_it_asked_for() -> None:
    hub = cold_hub()
    reader = lossless(hub, SYMBOL, OTHER, resume={SYMBOL: 7}, epoch="e1")
    await read_all(hub, reader)
    end = reader.messages[-1].end
    assert (end.epoch, dict(end.resume_after_sequence)) == ("e1", {SYMBOL: 7, OTHER: 0})


async def test_a_held_stream_may_change_its_symbols() -> None:
    hub = cold_hub()
    reader = lossless(hub, after=2, epoch="e1")
    hub.change(reader.subscriber, [OTHER], [SYMBOL])
    hub.begin_feed(Position("e1"), first_sequence=1)
    publish(hub, tick(3), tick(1, OTHER))
    await read_all(hub, reader)
    assert reader.ticks() == [] and reader.ticks(OTHER) == [1]


async def test_a_market_that_was_restarted_resumes_from_what_it_restored() -> None:
    hub = restored(Position("e1", 3), 1, tick(1), tick(2), tick(1, OTHER))
    known, ahead = lossless(hub, after=1, epoch="e1"), lossless(hub, after=4, epoch="e1")
    newer = lossless(hub, after=1, epoch="e2")
    hub.begin_feed(Position("e1", 3), first_sequence=1)
    publish(hub, tick(3), tick(4), tick(5))
    await read_all(hub, known, ahead, newer)
    assert known.kinds() == ["started", 2, 3, 4, 5, "end"]
    assert ahead.kinds() == ["started", 5, "end"]
    assert newer.kinds() == ["started", "new_epoch", 2, 3, 4, 5, "end"]


async def test_a_restored_epoch_that_is_over_gives_way_to_the_present_one() -> None:
    hub = restored(Position("e1", 3), 1, tick(1), tick(2))
    newer, older, fresh = lossless(hub, after=1, epoch="e2"), lossless(hub, after=1, epoch="e1"), lossless(hub)
    hub.begin_feed(Position("e2"), first_sequence=1)
    publish(hub, tick(1), tick(2))
    await read_all(hub, newer, older, fresh)
    assert newer.kinds() == ["started", "new_epoch", 2, "end"]
    assert older.kinds() == ["started", "gap", "new_epoch", 1, 2, "end"]
    assert fresh.kinds() == ["started", 2, "new_epoch", 1, 2, "end"]


async def test_last_ticks_of_earlier_epochs_are_known_but_not_streamed() -> None:
    hub = restored(Position("e2", 0), 100, tick(7))
    hub.begin_feed(Position("e2"), first_sequence=100)
    reader = lossless(hub)
    assert last_tick(hub) == tick(7) and hub.last_frames().keys() == {SYMBOL}
    publish(hub, tick(100))
    await read_all(hub, reader)
    assert reader.kinds() == ["started", 100, "end"]


async def test_a_symbol_that_is_removed_and_added_while_its_ticks_wait_has_none_twice(hub: Hub) -> None:
    reader = lossless(hub, SYMBOL, OTHER)
    publish(hub, tick(1), tick(2))
    hub.change(reader.subscriber, [], [SYMBOL])
    publish(hub, tick(3))
    hub.change(reader.subscriber, [SYMBOL], [])
    publish(hub, tick(4))
    await read_all(hub, reader)
    assert reader.ticks() == [1, 2, 3, 4]


async def test_the_state_of_the_feed_is_told_when_it_changes_and_to_who_comes_then(hub: Hub) -> None:
    reader, other = lossless(hub).start(), conflated(hub, OTHER).start()
    hub.offer_state(connected=True)
    await until(lambda: reader.kinds() == other.kinds() == ["started"])
    hub.offer_state(connected=False)
    late = lossless(hub).start()
    for one in (reader, other, late):
        await until(lambda one=one: one.kinds() == ["started", "feed_state"])
        assert not one.messages[1].feed_state.connected and one.messages[1].feed_state.HasField("time")
    hub.offer_state(connected=True)
    hub.offer_state(stale_symbols=[SYMBOL, "IH2101.CFFEX"])
    await until(lambda: reader.messages[-1].feed_state.stale_symbols == [SYMBOL])
    await until(lambda: other.messages[-1].feed_state.connected)
    hub.offer_state(stale_symbols=[])
    await until(lambda: reader.messages[-1].feed_state.connected and not reader.messages[-1].feed_state.stale_symbols)
    assert other.kinds().count("feed_state") == 2
    for one in (reader, other, late):
        await one.stop()
