"""A Conflation that a test feeds tick by tick, with streams whose readers note what comes."""

import asyncio
from typing import Any

from services.market.control_messages import TickControlMessages
from services.market.ticks.conflated import ConflatedSubscriber, Conflation
from services.market.ticks.frames import frame
from tests.market.hub_readers import Reader
from tests.market.ticks import SYMBOL, tick


class Feed:
    """A Conflation with streams, fed tick by tick. `sent[stream]` has (time, symbol, sequence) of each tick it sent."""

    def __init__(self) -> None:
        self.conflation = Conflation()
        self.last: dict[str, int] = {}
        self.put_at: dict[tuple[str, int], float] = {}
        self.readers: list[Reader] = []
        self._loop = asyncio.get_running_loop()

    def open(self, *symbols: str, min_interval_s: float = 1.0) -> Reader:
        subscriber = ConflatedSubscriber("", "alice", frozenset(), TickControlMessages(), 3600.0, min_interval_s)
        reader = Reader(subscriber)
        self.readers.append(reader)
        self.change(reader, frozenset(symbols or (SYMBOL,)), frozenset())
        return reader

    def change(self, reader: Reader, added: frozenset[str], removed: frozenset[str]) -> None:
        stream: Any = reader.subscriber
        for symbol in sorted(added - stream.symbols):
            if symbol in self.last:
                stream.offer(symbol, *self._tick(symbol))
        for symbol in removed:
            stream.forget(symbol)
        stream.symbols = stream.symbols - removed | added
        self.conflation.route(stream, stream.symbols)

    def put(self, *symbols: str) -> None:
        for symbol in symbols:
            sequence = self.last[symbol] = self.last.get(symbol, 0) + 1
            self.put_at[symbol, sequence] = self._loop.time()
            self.conflation.put(symbol, *self._tick(symbol))

    def _tick(self, symbol: str) -> tuple[bytes, int]:
        sequence = self.last[symbol]
        return frame(tick(sequence, symbol).SerializeToString()), sequence

    async def stop(self) -> None:
        for reader in self.readers:
            await reader.stop()
            self.conflation.route(reader.subscriber, frozenset())  # type: ignore[arg-type]
