"""Sinks of published ticks, isolated from delivery and from each other."""

import logging
from collections.abc import Callable, Mapping, Sequence

from services.market import metrics
from services.quant.ticks.tick_batch import TickBatch
from services.quant.ticks.variant import variant

_log = logging.getLogger(__name__)

_MOST_LOGGED = 10_000


class SinkFailures:
    """Failures of sinks: each is counted, and logged once per sink and symbol."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def report(self, sink: str, symbol: str) -> None:
        """Report the exception that is being handled."""
        metrics.sink_failures.labels(sink).inc()
        if (sink, symbol) not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add((sink, symbol))
            _log.exception("%s failed on ticks of %s", sink, symbol)


class Sinks:
    """Listeners of published batches, of symbols that move to another gateway, and of the exchanges' time.

    A listener of batches takes a batch whole, or raises and takes nothing of it: then it is given the parts of it, so
    that it loses no tick but those that it cannot take.
    """

    def __init__(self) -> None:
        self.failures = SinkFailures()
        self._scan = variant().scanner().scan
        self._published: list[tuple[str, Callable[[TickBatch], None]]] = []
        self._moved: list[tuple[str, Callable[[str, str], None]]] = []
        self._watermarks: list[tuple[str, Callable[[Mapping[str, int]], None]]] = []

    def on_published(self, listener: Callable[[TickBatch], None]) -> None:
        """Register a listener of published batches."""
        self._published.append((listener.__qualname__, listener))

    def on_moved(self, listener: Callable[[str, str], None]) -> None:
        """Register a listener of symbols that another gateway serves from now on: symbol, name of the gateway."""
        self._moved.append((listener.__qualname__, listener))

    def on_watermarks(self, listener: Callable[[Mapping[str, int]], None]) -> None:
        """Register a listener of watermarks by gateway, nanoseconds of exchange time."""
        self._watermarks.append((listener.__qualname__, listener))

    def publish(self, batch: TickBatch) -> None:
        """Give a batch to every listener."""
        for name, listener in self._published:
            try:
                listener(batch)
            except Exception:
                if len(batch) == 1:
                    self.failures.report(name, batch.symbols[0])
                else:
                    self._publish_in_halves(name, listener, batch.frames())

    def _publish_in_halves(self, name: str, listener: Callable[[TickBatch], None], frames: Sequence[bytes]) -> None:
        """Give a batch that was refused to its listener again, in parts."""
        half = len(frames) // 2
        for part in (frames[:half], frames[half:]):
            batch = self._scan(b"".join(part))
            try:
                listener(batch)
            except Exception:
                if len(part) == 1:
                    self.failures.report(name, batch.symbols[0])
                else:
                    self._publish_in_halves(name, listener, part)

    def move(self, symbol: str, gateway: str) -> None:
        """Tell every listener that another gateway serves the symbol."""
        for name, listener in self._moved:
            try:
                listener(symbol, gateway)
            except Exception:
                self.failures.report(name, symbol)

    def pass_time(self, watermarks_ns: Mapping[str, int]) -> None:
        """Give watermarks to every listener."""
        for name, listener in self._watermarks:
            try:
                listener(watermarks_ns)
            except Exception:
                self.failures.report(name, "")
