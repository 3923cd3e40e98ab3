"""A symbol's history is of one market: which gateway serves it, and from when on what was recorded counts.

Where a real gateway takes a symbol over from a simulated one, the rows recorded before are read no more; where a
simulated one serves a symbol that a real one has served, it is not recorded.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from services.quant.ticks.tick_batch import Run

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Served:
    """A symbol's last tick: its gateway, and the latest time so far."""

    gateway: str = ""
    newest_ns: int = 0


class Takeovers:
    """Follows the gateways of symbols. `noticed` is called when there is a takeover to note on disk."""

    def __init__(self, noticed: Callable[[], None]) -> None:
        self._noticed = noticed
        self._served: dict[str, Served] = {}
        self._real_gateways: frozenset[str] = frozenset()
        # By symbol that a real gateway served: from when on what was recorded counts.
        self._real_from: dict[str, int] = {}
        self._unnoted: dict[str, int] = {}

    def restore(self, real_from: Mapping[str, int]) -> None:
        """Go on with the takeovers that are noted on disk."""
        self._real_from = dict(real_from)

    def follow(self, runs: Iterable[Run]) -> None:
        """Follow ticks, in order."""
        for run in runs:
            last = self._served.get(run.symbol)
            if last is None:
                last = self._served[run.symbol] = Served()
            if run.gateway != last.gateway:
                self.move(run.symbol, run.gateway)
            last.newest_ns = max(last.newest_ns, max(run.times_ns))

    @property
    def any(self) -> bool:
        """True when a real gateway has served a symbol."""
        return bool(self._real_from)

    def recorded(self, runs: Iterable[Run]) -> list[Run]:
        """Those ticks that are part of their symbol's history."""
        return [run for run in runs if run.symbol not in self._real_from or not self._is_simulated(run.gateway)]

    def records_bars(self, symbol: str) -> bool:
        """Return false for a symbol that a simulated gateway serves after a real one."""
        return symbol not in self._real_from or not self._is_simulated(self._served[symbol].gateway)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated; until they are known, all markets count as one."""
        self._real_gateways = frozenset(names)
        for symbol, last in self._served.items():
            if last.gateway in self._real_gateways and symbol not in self._real_from:
                self._begin_real(symbol, 0)

    def move(self, symbol: str, gateway: str) -> None:
        """Another gateway serves the symbol from now on."""
        last = self._served.get(symbol)
        if last is None:
            return
        before, last.gateway = last.gateway, gateway
        if gateway not in self._real_gateways or symbol in self._real_from:
            return
        if before and before not in self._real_gateways:
            _log.info(
                "%s is served by %s now: rows recorded from %s are no part of its history", symbol, gateway, before
            )
            self._begin_real(symbol, last.newest_ns + 1)
        else:
            self._begin_real(symbol, 0)

    def valid_from_ns(self, symbol: str) -> int:
        """The moment from which on recorded rows of a symbol count; 0 for all of them."""
        return self._real_from.get(symbol, 0)

    def has_seen(self, symbol: str) -> bool:
        """Return true when the last tick of this symbol is known."""
        return symbol in self._served

    @property
    def unnoted(self) -> dict[str, int]:
        """The takeovers that are not on disk yet: from when on a symbol's recorded rows count."""
        return dict(self._unnoted)

    def note(self, symbols: Iterable[str]) -> None:
        """Takeovers of these symbols are on disk."""
        for symbol in symbols:
            del self._unnoted[symbol]

    def _is_simulated(self, gateway: str) -> bool:
        return bool(self._real_gateways) and gateway not in self._real_gateways

    def _begin_real(self, symbol: str, from_ns: int) -> None:
        self._real_from[symbol] = self._unnoted[symbol] = from_ns
        self._noticed()
