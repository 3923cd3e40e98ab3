"""Frames of a batch: split, joined, refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb

from services.market.ticks.frames import MalformedBatchError, frame, split

ticks = st.builds(
    pb.Tick,
    symbol=st.text(max_size=300),
    sequence=st.integers(-(2**63), 2**63 - 1),
    time_ns=st.integers(-(2**63), 2**63 - 1),
    last_price=st.floats(),
    bid_prices=st.lists(st.floats(), max_size=40),
)


@given(st.lists(ticks, max_size=8))
def test_frames_joined_again_are_the_batch(items: list[pb.Tick]) -> None:
    batch = pb.StreamTicksResponse(ticks=items).SerializeToString()
    frames = split(batch)
    assert len(frames) == len(items)
    assert b"".join(frames) == batch
    assert frames == [frame(item.SerializeToString()) for item in items]


@given(st.lists(ticks, max_size=3), st.booleans(), st.integers(0, 2**40))
def test_control_messages_beside_ticks_are_left_out(items: list[pb.Tick], ended: bool, seconds: int) -> None:
    batch = engine_pb2.StreamTicksResponse(heartbeat={"time": {"seconds": seconds}}).SerializeToString()
    batch += engine_pb2.StreamTicksResponse(ticks=items, feed_ended={} if ended else None).SerializeToString()
    assert split(batch) == [frame(item.SerializeToString()) for item in items]


@given(st.lists(ticks, min_size=1, max_size=3), st.data())
def test_a_torn_batch_is_refused(items: list[pb.Tick], data: st.DataObject) -> None:
    batch = pb.StreamTicksResponse(ticks=items).SerializeToString()
    ends = {0}
    for piece in split(batch):
        ends.add(max(ends) + len(piece))
    cut = data.draw(st.sampled_from([n for n in range(len(batch)) if n not in ends]))
    with pytest.raises(MalformedBatchError):
        split(batch[:cut])
