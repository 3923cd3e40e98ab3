"""A model of an engine, a market and its clients, which says what every stream must bring.

The engine numbers ticks and keeps some of them; it may forget, and begin another epoch. The market is a hub that
follows it, loses it, and is restarted with what it had come to at any earlier moment. Clients read when they like,
leave, resume and change their symbols. A LOSSLESS client checks that ticks and gaps of a symbol follow each other
without a hole and without a repetition, and that nothing is missing at the end; a CONFLATED one that its ticks only go
on and end with the last.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from redfire.market.v1 import market_pb2 as pb

from services.kernel.rpc.source import messages_of
from services.market.control_messages import TickControlMessages
from services.market.ticks.conflated import ConflatedSubscriber
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber, Subscriber
from tests.market.hub_readers import cold_hub, publish, restored
from tests.market.ticks import tick

SYMBOLS = ("a.X", "b.X", "c.X")
LIMIT = 6
BATCH = 3


@dataclass
class Epoch:
    """One run of the feed."""

    name: str
    first: int
    ticks: list[pb.Tick] = field(default_factory=list)
    oldest: int = 0
    """So many of its ticks are forgotten."""

    def sequences(self, position: int) -> dict[str, int]:
        return {one.symbol: one.sequence for one in self.ticks[:position]}

    def add(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            last = self.sequences(len(self.ticks)).get(symbol, self.first - 1)
            self.ticks.append(tick(last + 1, symbol))


class Market:
    """A hub and the engine that it follows."""

    def __init__(self, ring_frames: int) -> None:
        self.ring_frames = ring_frames
        self.epochs = [Epoch("e0", 1)]
        self.hub = cold_hub(ring_frames)
        self.connected = False
        self.taken: list[tuple[int, int]] = []
        """Each tick that came, ever: the number of its epoch and its position."""
        self.lasts: dict[str, dict[str, int]] = {}
        """By epoch the last sequence of each symbol that a stream of this run of market was to hear of."""
        self.seen: dict[str, dict[str, int]] = {}
        """The same of ticks that came; others are lost."""

    @property
    def epoch(self) -> Epoch:
        return self.epochs[-1]

    def publish(self, symbols: Iterable[str]) -> None:
        self.epoch.add(symbols)
        if self.connected:
            self._follow()

    def connect(self) -> None:
        if self.connected:
            return
        self.connected, epoch, asked = True, self.epoch, self.hub.position
        exact = asked.epoch == epoch.name and asked.number >= epoch.oldest
        position = asked.number if exact else epoch.oldest
        lost = {} if exact else epoch.sequences(position)
        self.hub.begin_feed(Position(epoch.name, position), first_sequence=epoch.first, sequences=lost)
        self.lasts.setdefault(epoch.name, {}).update(lost)
        self._follow()

    def disconnect(self) -> None:
        self.connected = False

    def forget(self) -> None:
        """The engine keeps no tick of now."""
        self.epoch.oldest = len(self.epoch.ticks)

    def begin_epoch(self, is_later: bool) -> None:
        """The engine is restarted; its sequences are higher from now on, or begin anew."""
        self.disconnect()
        number = len(self.epochs)
        self.epochs.append(Epoch(f"e{number}", 1000 * number if is_later else 1))

    def restart(self, up_to: int, kept: int) -> None:
        """Restart market with what it had when `up_to` ticks had come, of which `kept` may be resumed."""
        self.disconnect()
        self.taken = self.taken[: up_to % (len(self.taken) + 1)]
        self.lasts, self.seen = {}, {}
        if not self.taken:
            self.hub = cold_hub(self.ring_frames)
            return
        number, position = self.taken[-1]
        epoch = self.epochs[number]
        ticks = [epoch.ticks[at - 1] for of, at in self.taken if of == number][-kept:]
        self.hub = restored(Position(epoch.name, position), epoch.first, *ticks, frames=self.ring_frames)
        self._note(epoch.name, ticks)

    def _follow(self) -> None:
        epoch, hub = self.epoch, self.hub
        while hub.position.number < len(epoch.ticks):
            first = hub.position.number
            batch = epoch.ticks[first : first + BATCH]
            publish(hub, *batch)
            self.taken += [(len(self.epochs) - 1, first + n + 1) for n in range(len(batch))]
            self._note(epoch.name, batch)

    def _note(self, epoch: str, ticks: Iterable[pb.Tick]) -> None:
        sequences = {one.symbol: one.sequence for one in ticks}
        self.lasts.setdefault(epoch, {}).update(sequences)
        self.seen.setdefault(epoch, {}).update(sequences)


class Client(ABC):
    """A client that reads a message when it is told to, and checks it."""

    def __init__(self, market: Market, symbols: Iterable[str]) -> None:
        self.market = market
        self.symbols = set(symbols)
        self.epoch = ""
        self.next: dict[str, int] = {}
        """By symbol the sequence that comes next; none where the stream says where it begins."""
        self._added: dict[str, str] = {}
        """By symbol the epoch in which it was added, in whose middle it begins."""
        self._subscriber: Subscriber | None = None
        self._reading: asyncio.Task[bytes] | None = None

    @abstractmethod
    def subscribe(self) -> Subscriber:
        """Make the subscriber of a stream."""

    def open(self, token: dict[str, int], *, says_epoch: bool = True) -> None:
        """Begin, or go on behind a token of the client's epoch."""
        hub = self.market.hub
        self._subscriber = self.subscribe()
        self._resumed, self._added = bool(token), {}
        # An empty epoch is the present one: only who knows that it is the same may leave it out.
        empty = not says_epoch and hub._routes.confirmed and hub.position.epoch == self.epoch
        hub.add(self._subscriber, token, "" if empty or not token else self.epoch)
        self._stream = messages_of(self._subscriber)
        first = self._first_of(self.epoch)
        self.next = {symbol: (after or first - 1) + 1 for symbol, after in token.items()}

    async def read(self) -> bool:
        """Read a message; false when none came."""
        if self._subscriber is None:
            return False
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._stream))
        for _ in range(5):
            await asyncio.sleep(0)
        if not self._reading.done():
            return False
        message, self._reading = pb.StreamTicksResponse.FromString(self._reading.result()), None
        await self._take(message)
        return True

    async def leave(self, *, resume: bool, says_epoch: bool) -> None:
        """Break the stream and, on what came so far, open another one."""
        await self._close()
        token = {symbol: sequence - 1 for symbol, sequence in self.next.items()}
        if not (resume and token and self.epoch):
            token, self.next, self.epoch = {}, {}, ""
        self.open(token, says_epoch=says_epoch)

    def change(self, added: str, removed: str) -> None:
        if self._subscriber is None or self._subscriber.end_reason:
            return
        hub, before = self.market.hub, self.symbols
        hub.change(self._subscriber, {added} - {removed}, {removed})
        self.symbols = set(self._subscriber.symbols)
        for symbol in self.symbols ^ before:
            self.next.pop(symbol, None)
            self._added[symbol] = hub.position.epoch

    async def finish(self) -> None:
        """Read to the end of the stream, which market has said."""
        while self._subscriber is not None:
            if not await self.read():
                await asyncio.sleep(0.001)

    async def _take(self, message: pb.StreamTicksResponse) -> None:
        for one in message.ticks:
            if one.symbol in self.symbols:
                self.on_tick(one.symbol, one.sequence)
        match message.WhichOneof("event"):
            case "started":
                self._said = message.started.epoch
                self._pending = self._resumed and self._said != self.epoch
                if not self._resumed:
                    self.epoch = self._said
            case "new_epoch":
                self._on_new_epoch(message.new_epoch.epoch)
            case "gap" if message.gap.symbol in self.symbols:
                self.on_gap(message.gap)
            case "end":
                await self._on_end(message.end)

    @abstractmethod
    def on_tick(self, symbol: str, sequence: int) -> None:
        """Check a tick of a subscribed symbol."""

    @abstractmethod
    def on_gap(self, gap: pb.StreamTicksResponse.Gap) -> None:
        """Check a gap of a subscribed symbol."""

    @abstractmethod
    def check_end(self) -> None:
        """Check what came when the stream has ended well."""

    def check_end_of_epoch(self) -> None:
        """Check what came of an epoch when another one begins."""

    def _on_new_epoch(self, epoch: str) -> None:
        pending, self._pending = self._pending, False
        if pending and epoch == self.epoch:
            return  # the resume was held, and goes on
        # What waited of the old epoch for a reader that was too slow was dropped.
        if not pending and self._subscriber is not None and self._subscriber.end_reason != "SLOW_CONSUMER":
            self.check_end_of_epoch()
        # Who resumed in another epoch begins with the last ticks, who was there with the first one.
        due = () if pending else [symbol for symbol in self.symbols if self._added.get(symbol) != epoch]
        self.epoch, self.next = epoch, dict.fromkeys(due, self._first_of(epoch))

    async def _on_end(self, end: pb.StreamTicksResponse.End) -> None:
        token = dict(end.resume_after_sequence)
        assert set(token) == self.symbols
        assert end.epoch == self.epoch
        for symbol, sequence in self.next.items():
            assert token[symbol] == sequence - 1 or (token[symbol] == 0 and sequence == self._first_of(self.epoch))
        if end.reason == "SHUTTING_DOWN":
            self.check_end()
        await self._close()
        if end.reason == "SLOW_CONSUMER":
            self.open(token)

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await self._reading
            self._reading = None
        if self._subscriber is not None:
            await self._stream.aclose()
            self.market.hub.remove(self._subscriber)
            self._subscriber = None

    def _first_of(self, epoch: str) -> int:
        return next((one.first for one in self.market.epochs if one.name == epoch), 1)


class LosslessClient(Client):
    """Nothing is missing, nothing comes twice, all in order."""

    def subscribe(self) -> Subscriber:
        hub = self.market.hub
        return LosslessSubscriber(
            f"s{id(self)}", "alice", frozenset(self.symbols), TickControlMessages(), 60.0, LIMIT, hub.on_capacity
        )

    def on_tick(self, symbol: str, sequence: int) -> None:
        assert self.next.get(symbol, sequence) == sequence
        self.next[symbol] = sequence + 1

    def on_gap(self, gap: pb.StreamTicksResponse.Gap) -> None:
        assert self.next.get(gap.symbol, gap.first_sequence) == gap.first_sequence
        assert gap.last_sequence >= gap.first_sequence
        self.next[gap.symbol] = gap.last_sequence + 1

    def check_end(self) -> None:
        self.check_end_of_epoch()

    def check_end_of_epoch(self) -> None:
        for symbol, last in self.market.lasts.get(self.epoch, {}).items():
            if symbol in self.next and symbol in self.symbols:
                assert self.next[symbol] > last


class ConflatedClient(Client):
    """Sequences only go on, and the last one is the symbol's last."""

    def subscribe(self) -> Subscriber:
        return ConflatedSubscriber(f"c{id(self)}", "alice", frozenset(self.symbols), TickControlMessages(), 60.0, 0.0)

    def on_tick(self, symbol: str, sequence: int) -> None:
        assert self.next.get(symbol, sequence) <= sequence
        self.next[symbol] = sequence + 1

    def on_gap(self, gap: pb.StreamTicksResponse.Gap) -> None:
        raise AssertionError("a conflated stream has no gaps")

    def check_end(self) -> None:
        for symbol, last in self.market.seen.get(self.epoch, {}).items():
            assert symbol not in self.symbols or self.next.get(symbol, 0) > last
