"""Routes: each symbol's ring and the subscribers that its ticks go to."""

from collections import deque
from collections.abc import Iterable, Mapping

from services.market.ticks.chunk import Chunk
from services.market.ticks.conflated import ConflatedSubscriber, Conflation
from services.market.ticks.subscriber import LosslessSubscriber, Subscriber
from services.market.ticks.tick_ring import UNKNOWN, RingMemory, TickRing
from services.quant.ticks.tick_batch import TickBatch

KNOWN_EPOCHS = 256


class Group:
    """The lossless subscribers of one set of symbols: they share what is joined for them."""

    __slots__ = ("subscribers", "symbols")

    def __init__(self, symbols: frozenset[str]) -> None:
        self.symbols = symbols
        self.subscribers: dict[LosslessSubscriber, None] = {}

    def offer(self, batch: TickBatch, sequences: Mapping[str, int], bounded: bool) -> None:
        """Queue a batch's ticks for every subscriber; `sequences` are the last ones of all its symbols."""
        symbols = self.symbols
        data, count = batch.select(symbols)
        if count != len(batch):
            sequences = {symbol: sequence for symbol, sequence in sequences.items() if symbol in symbols}
        chunk = Chunk(data, count, sequences)
        for subscriber in self.subscribers:
            subscriber.offer(chunk, bounded=bounded, wake=False)

    def offer_control(self, chunk: Chunk) -> None:
        """Queue a control message for every subscriber, in its place between the ticks."""
        for subscriber in self.subscribers:
            subscriber.offer_control(chunk)


class Route:
    """A symbol's ring and its lossless subscribers."""

    __slots__ = ("groups", "ring")

    def __init__(self, ring: TickRing) -> None:
        self.ring = ring
        self.groups: list[Group] = []


class Routes:
    """Routes by symbol; a route is opened for a symbol that is published or subscribed."""

    def __init__(self, ring_bytes: int) -> None:
        self.by_symbol: dict[str, Route] = {}
        self.memory = RingMemory(ring_bytes)
        self.conflation = Conflation()
        self.epoch: str | None = None
        """The epoch that the rings are of, None while none is known."""
        self.past_epochs: deque[str] = deque(maxlen=KNOWN_EPOCHS)
        """Epochs from before the present one."""
        self.first_sequence = 0
        """The epoch's; 0 while it is not known."""
        self.confirmed = False
        """True when upstream named the epoch, False while it is that of an earlier run of ours."""
        self.connected = True
        """False while upstream is not heard."""
        self.feed_ended = False
        """True when nothing more comes of this epoch, but of `live_symbols`."""
        self.live_symbols: frozenset[str] = frozenset()
        """Symbols of gateways that replay no recording."""
        self.watermarks_ns: dict[str, int] = {}
        """The epoch's time by gateway: of those that said it."""
        self._groups: dict[frozenset[str], Group] = {}

    def has_ended(self, symbols: frozenset[str]) -> bool:
        """Return whether nothing more comes of any of these symbols."""
        return self.feed_ended and symbols.isdisjoint(self.live_symbols)

    def find(self, symbol: str) -> Route:
        """The symbol's route, opened when there is none."""
        route = self.by_symbol.get(symbol)
        if route is None:
            route = self.by_symbol[symbol] = Route(TickRing(symbol, self._before_first))
        return route

    def begin_epoch(self, epoch: str, first_sequence: int) -> None:
        """Begin all rings anew; what is the last tick of an earlier epoch stays the last tick that is known."""
        if self.epoch is not None:
            self.past_epochs.append(self.epoch)
        self.epoch, self.first_sequence = epoch, first_sequence
        self.watermarks_ns = {}
        self.memory.clear()
        for route in self.by_symbol.values():
            old = route.ring
            route.ring = TickRing(old.symbol, self._before_first, old.frame, old.gateway)
            old.clear()  # so that backlogs of it become gaps

    def learn_first_sequence(self, first_sequence: int) -> None:
        """Learn where the epoch's sequences begin, which was not known when it was restored."""
        self.first_sequence = first_sequence
        for route in self.by_symbol.values():
            if route.ring.sequence == UNKNOWN:
                route.ring.sequence = self._before_first

    def route(self, subscriber: Subscriber, symbols: Iterable[str]) -> None:
        """Deliver the ticks of these symbols from now on, and of no others."""
        routed = frozenset(symbols)
        if isinstance(subscriber, ConflatedSubscriber):
            for symbol in routed:
                self.find(symbol)
            self.conflation.route(subscriber, routed)
        elif isinstance(subscriber, LosslessSubscriber) and routed != subscriber.routed:
            self._leave(subscriber)
            if routed:
                self._enter(subscriber, routed)
        subscriber.routed = routed

    def _enter(self, subscriber: LosslessSubscriber, symbols: frozenset[str]) -> None:
        group = self._groups.get(symbols)
        if group is None:
            group = self._groups[symbols] = Group(symbols)
            for symbol in symbols:
                self.find(symbol).groups.append(group)
        group.subscribers[subscriber] = None

    def _leave(self, subscriber: LosslessSubscriber) -> None:
        group = self._groups.get(subscriber.routed)
        if group is None:
            return
        group.subscribers.pop(subscriber, None)
        if not group.subscribers:
            del self._groups[subscriber.routed]
            for symbol in group.symbols:
                self.by_symbol[symbol].groups.remove(group)

    @property
    def _before_first(self) -> int:
        return self.first_sequence - 1 if self.first_sequence else UNKNOWN
