"""The model of the tick stream: what a reader received and what Started told it that it lost is what was published."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from services.engine.streams.tick_stream import FeedEnded, Started, TooSlow
from tests.engine.tick_readers import FIRST, StreamReader, frames, tick, ticks_stream

SYMBOLS = ("A.X", "B.X", "C.Y")
READERS = 4
one_tick = st.builds(tick, st.sampled_from(SYMBOLS), st.sampled_from((0, 50, 400, -1)))
burst = st.integers(50, 400).map(lambda count: [tick(SYMBOLS[at % 3], at % 7 * 50) for at in range(count)])
reader_number = st.integers(0, READERS - 1)
step = st.one_of(
    st.tuples(st.just("publish"), st.lists(one_tick, min_size=1, max_size=20)),
    st.tuples(st.just("publish"), burst),
    st.tuples(st.just("heartbeat"), st.none()),
    st.tuples(st.just("read"), st.tuples(reader_number, st.integers(1, 20))),
    st.tuples(st.just("leave"), reader_number),
    st.tuples(st.just("end"), st.none()),
)


class Published:
    """All that was published, by position."""

    def __init__(self, stream) -> None:
        self._stream = stream
        self._last = {}
        self.ticks = []
        self.ended_at = None

    def publish(self, ticks) -> None:
        self._stream.publish(ticks)
        for one in ticks:
            if one.pad >= 0:
                self._last[one.vt_symbol] = self._last.get(one.vt_symbol, FIRST - 1) + 1
                self.ticks.append((one.vt_symbol, self._last[one.vt_symbol]))
        assert self._stream.position == len(self.ticks)

    def heartbeat(self) -> None:
        self._stream.publish_heartbeat(b"H%d" % len(self.ticks))

    def end(self) -> None:
        if self.ended_at is None:
            self.ended_at = len(self.ticks)
            self._stream.end_feed()


class ModelReader:
    """A reader that comes, reads, leaves, and goes on where it was."""

    def __init__(self, stream, published) -> None:
        self._stream = stream
        self._published = published
        self._reader = None
        self._epoch = ""
        self._known = {}
        self.position = 0
        self.received = []
        self.lost = []
        self.ends = 0

    async def read(self, messages=None) -> None:
        """Read so many messages, or all there are."""
        while messages is None or messages > 0:
            if self._reader is None:
                self._reader = StreamReader(self._stream, self._epoch, self.position)
                self.ends = 0
            try:
                message = await self._reader.next()
            except TooSlow:
                self._reader = None
                continue
            if message is None:
                return
            self._take(message)
            messages = None if messages is None else messages - 1

    async def leave(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None

    def _take(self, message) -> None:
        if isinstance(message, Started):
            assert message.position >= self.position
            assert message.sequences == {} or message.position > self.position
            for symbol, last in message.sequences.items():
                first = self._known.get(symbol, FIRST - 1) + 1
                self.lost += [(symbol, sequence) for sequence in range(first, last + 1)]
                self._known[symbol] = last
            self._epoch, self.position = message.epoch, message.position
        elif isinstance(message, FeedEnded):
            self.ends += 1
            assert message.position == self._published.ended_at <= self.position
        elif message.startswith(b"H"):
            assert int(message[1:]) == self.position
        else:
            for one in frames(message):
                assert one == self._published.ticks[self.position]
                self.position += 1
                self.received.append(one)
                self._known[one[0]] = one[1]


@settings(max_examples=150, deadline=None)
@given(st.lists(step, max_size=60), st.sampled_from((16_000, 40_000, 1 << 20)))
def test_received_and_lost_are_what_was_published(steps, ring_bytes):
    asyncio.run(follow(steps, ring_bytes))


async def follow(steps, ring_bytes) -> None:
    stream = ticks_stream(ring_bytes)
    published = Published(stream)
    readers = [ModelReader(stream, published) for _ in range(READERS)]
    for kind, what in steps:
        match kind:
            case "publish":
                published.publish(what)
            case "heartbeat":
                published.heartbeat()
            case "read":
                await readers[what[0]].read(what[1])
            case "leave":
                await readers[what].leave()
            case "end":
                published.end()
        assert stream.size <= ring_bytes
    for reader in readers:
        await reader.read()
        assert sorted(reader.received + reader.lost) == sorted(published.ticks)
        assert reader.ends == (published.ended_at is not None)
        assert reader.position == len(published.ticks)
        await reader.leave()
    if ring_bytes == 1 << 20:
        assert not any(reader.lost for reader in readers)
