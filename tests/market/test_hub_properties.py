"""The hub under any order of ticks, readers and subscriptions: each stream is contiguous but for the gaps it states."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from tests.market.hub_readers import OTHER, Reader, lossless, new_hub, publish
from tests.market.ticks import SYMBOL, tick


def _contiguous(messages: Iterable[pb.StreamTicksResponse], symbol: str) -> None:
    expected = None
    for message in messages:
        if message.HasField("gap") and message.gap.symbol == symbol:
            assert expected in (None, message.gap.first_sequence)
            expected = message.gap.last_sequence + 1
        for one in message.ticks:
            if one.symbol == symbol:
                assert expected in (None, one.sequence)
                expected = one.sequence + 1


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"), st.lists(st.tuples(st.sampled_from([SYMBOL, OTHER]), st.integers(1, 3)), max_size=9)
        ),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("open"), st.sampled_from([None, 0, 5, 40])),
        st.tuples(st.just("change"), st.sampled_from([SYMBOL, OTHER])),
    ),
    max_size=30,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_each_stream_is_contiguous_but_for_reported_gaps(script: list[tuple[str, object]]) -> None:
    async def play() -> None:
        hub = new_hub(8)
        last = {SYMBOL: 0, OTHER: 0}
        readers: list[Reader] = []
        for kind, value in script:
            match kind:
                case "publish":
                    ticks = []
                    for symbol, jump in value:  # type: ignore[attr-defined]
                        last[symbol] += jump
                        ticks.append(tick(last[symbol], symbol))
                    publish(hub, *ticks)
                case "open":
                    readers.append(lossless(hub, SYMBOL, limit=12, **({} if value is None else {"after": value})))
                case "change" if readers and not readers[-1].subscriber.end_reason:
                    hub.change(readers[-1].subscriber, [OTHER], [])
                case "read" if readers:
                    reader = readers[value % len(readers)]  # type: ignore[operator]
                    if reader.subscriber._chunks or reader.subscriber.end_reason:  # type: ignore[attr-defined]
                        with suppress(StopAsyncIteration):
                            await asyncio.wait_for(reader.next(), 1)
        hub.drain("SHUTTING_DOWN")
        for reader in readers:
            with suppress(StopAsyncIteration):
                while True:
                    await reader.next()
            for symbol in (SYMBOL, OTHER):
                _contiguous(reader.messages, symbol)
                sent = [t.sequence for m in reader.messages for t in m.ticks if t.symbol == symbol]
                end = reader.messages[-1].end
                if sent:
                    assert end.resume_after_sequence[symbol] == sent[-1]

    asyncio.run(play())
