"""A strategy's ticks from a real market over loopback: once each and in order, or named, whatever restarts."""

from pathlib import Path
from typing import Any

from services.kernel.identifiers import new_id
from services.quant.sdk.events import Tick
from services.strategy.runner.connections import Access, Connections
from services.strategy.runner.feeds import TickFeed
from tests.harness import Platform
from tests.market.fake_engine import FakeEngine
from tests.market.ticks import SYMBOL, tick
from tests.strategy.following import following
from tests.waiting import until

NEW_EPOCH = "the feed began anew; what was between is not known"


class Follower:
    """A strategy's feed: what it got, by epochs of the engine's prices, and what it logged."""

    def __init__(self, running: Platform) -> None:
        self.received: list[tuple[int, float]] = []
        self.log: list[str] = []
        address = running.host.address
        self.connections = Connections(address, address, address, "")
        access = Access(running.mint.token(new_id()))
        self._feed = TickFeed(self.connections, access, SYMBOL, lambda level, text: self.log.append(text))

    async def follow(self) -> None:
        async for one in self._feed.updates():
            if not isinstance(one, Tick):
                continue
            self.received.append((one.sequence, one.last_price))

    def has(self, *expected: tuple[int, float]) -> Any:
        return lambda: self.received == list(expected)


def ticks(epoch: int, *sequences: int) -> list[Any]:
    """Ticks whose price names their epoch."""
    return [tick(sequence, last_price=float(epoch)) for sequence in sequences]


async def test_ticks_come_once_and_in_order_over_epochs_gaps_and_ends(tmp_path: Path) -> None:
    engine = FakeEngine(first_sequence=1)
    async with following(engine, tmp_path, Follower) as strategy:
        engine.send(*ticks(1, 1))
        await until(strategy.has((1, 1)), timeout_s=20)
        engine.send(*ticks(1, 2))
        await until(strategy.has((1, 1), (2, 1)))
        # Market's stream to the engine breaks while ticks go on, which the engine does not keep.
        engine.send_message(None)
        await until(lambda: not engine.queues)
        engine.lose(*ticks(1, 3, 4))
        await until(lambda: engine.queues)
        engine.send(*ticks(1, 5))
        await until(strategy.has((1, 1), (2, 1), (5, 1)))
        assert [text for text in strategy.log if "ticks of" in text] == [f"2 ticks of {SYMBOL} are lost: 3 to 4"]
        # The engine is another run: lower numbers, and none of them counted as missed.
        engine.restart("e2", first_sequence=1)
        await until(lambda: engine.queues)
        engine.send(*ticks(2, 1, 2))
        await until(lambda: strategy.received[3:] == [(1, 2), (2, 2)])
        assert strategy.log.count(NEW_EPOCH) == 1
        engine.end_feed()
        await until(lambda: any("replay has ended" in text for text in strategy.log))
        engine.restart("e3", first_sequence=1)
        await until(lambda: engine.queues)
        engine.send(*ticks(3, 1))
        await until(lambda: strategy.received[5:] == [(1, 3)], timeout_s=20)
        assert strategy.log.count(NEW_EPOCH) == 2
        assert len([text for text in strategy.log if "ticks of" in text]) == 1
