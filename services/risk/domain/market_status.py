"""Status of market's feed: the symbols whose prices it confirms, and the events when that changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.risk.domain.prices import Prices

Record = Callable[[Reason, str, dict[str, str]], None]
BREAK_S = 1.0
"""A stream that is back within so long was not lost: another replica took over, or market was started again."""
_ENGINE_LOST = "market hears nothing from the engine"
_NAMED = 20
"""The most symbols that an event names."""


@dataclass(eq=False, slots=True)
class StreamStatus:
    """A stream of ticks of these symbols, and what was heard on it."""

    heard_s: float  # monotonic, as is broke_s
    broke_s: float = 0.0
    broken: bool = False
    connected: bool = True
    whole: bool = False  # ever: a market that only starts has lost nothing
    symbols: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()

    @property
    def is_lost(self) -> bool:
        """True while nothing that the stream carries is confirmed."""
        return self.broken or not self.connected


class MarketStatus:
    """Notes in the prices which of them are not confirmed, and records each change once, whatever the streams."""

    def __init__(self, prices: Prices, clock: Clock, record: Record) -> None:
        """`record(reason, message, metadata)` records an event to everybody."""
        self._prices = prices
        self._clock = clock
        self._record = record
        self._streams: list[StreamStatus] = []
        self._lost_recorded = False

    def add_stream(self) -> StreamStatus:
        """The status of another stream."""
        self._streams.append(StreamStatus(self._clock.monotonic()))
        return self._streams[-1]

    def clear(self) -> None:
        """Forget all streams: they are opened anew."""
        self._streams.clear()

    def carry(self, stream: StreamStatus, symbols: Iterable[str]) -> None:
        """The stream carries these symbols from now on, besides those that it carries already."""
        stream.symbols = stream.symbols.union(symbols)
        if stream.is_lost:
            self._settle(stream, stream.stale)

    def heard(self, stream: StreamStatus, *, beat: bool = False) -> None:
        """A message came that is no word on the feed's state, perhaps a heartbeat: the stream is whole again."""
        stream.heard_s = self._clock.monotonic()
        if stream.broken:
            stream.broken, stream.connected = False, True
            self._settle(stream, frozenset())
        if stream.connected:
            stream.whole = True
        elif beat:
            self._record_lost("engine", _ENGINE_LOST)

    def broke(self, stream: StreamStatus, *, silent: bool = False) -> None:
        """The stream broke or fell silent, or still could not be opened again."""
        now_s = self._clock.monotonic()
        if not stream.broken:
            stream.broken, stream.broke_s = True, stream.heard_s if silent else now_s
            self._settle(stream, stream.stale)
        if now_s - stream.broke_s >= BREAK_S:
            self._record_lost("market", "market is not heard")

    def state(self, stream: StreamStatus, connected: bool, stale: Iterable[str]) -> None:
        """Take market's word on the feed, and on the stream's symbols that are silent for too long."""
        stream.heard_s = self._clock.monotonic()
        stream.broken, stream.connected = False, connected
        if connected:
            stream.whole = True
        elif stream.whole:
            self._record_lost("engine", _ENGINE_LOST)
        self._settle(stream, frozenset(stale))

    def _settle(self, stream: StreamStatus, stale: frozenset[str]) -> None:
        unconfirmed, before, stream.stale = self._prices.unconfirmed, stream.stale, stale
        for symbol in stream.symbols:
            if stream.is_lost or symbol in stale:
                unconfirmed.setdefault(symbol, stream.heard_s)
            else:
                unconfirmed.pop(symbol, None)
        if self._lost_recorded and not any(one.is_lost for one in self._streams):
            self._lost_recorded = False
            self._record(Reason.MARKET_DATA_RECOVERED, "prices are heard again", {})
        used = self._prices.used
        if fresh := sorted((stale - before) & used):
            self._record_symbols(Reason.MARKET_DATA_STALE, fresh, "silent for longer than is usual in the session")
        if not stream.is_lost and (back := sorted((before - stale) & used)):
            self._record_symbols(Reason.MARKET_DATA_RECOVERED, back, "heard again")

    def _record_lost(self, peer: str, why: str) -> None:
        if not self._lost_recorded:
            self._lost_recorded = True
            self._record(Reason.MARKET_DATA_LOST, f"prices are lost: {why}", {"peer": peer})

    def _record_symbols(self, reason: Reason, symbols: list[str], what: str) -> None:
        more = "" if len(symbols) <= _NAMED else f" and {len(symbols) - _NAMED} more"
        names = ", ".join(symbols[:_NAMED]) + more
        self._record(reason, f"{what}: {names}", {"symbols": names, "count": str(len(symbols))})
