"""Sinks of published ticks, isolated from delivery and from each other."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from services.market import metrics

_log = logging.getLogger(__name__)

_MOST_LOGGED = 10_000


class Tick(Protocol):
    """The fields of a parsed tick that routing reads."""

    symbol: str
    sequence: int
    gateway: str


T = TypeVar("T", bound=Tick)


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


class Sinks(Generic[T]):
    """Listeners of published batches, of symbols that move to another gateway, and of the exchanges' time."""

    def __init__(self) -> None:
        self.failures = SinkFailures()
        self._published: list[tuple[str, Callable[[Sequence[bytes], Sequence[T]], None]]] = []
        self._moved: list[tuple[str, Callable[[str, str], None]]] = []
        self._watermarks: list[tuple[str, Callable[[Mapping[str, int]], None]]] = []

    def on_published(self, listener: Callable[[Sequence[bytes], Sequence[T]], None]) -> None:
        """Register a listener of published batches: frames, and the same parsed."""
        self._published.append((listener.__qualname__, listener))

    def on_moved(self, listener: Callable[[str, str], None]) -> None:
        """Register a listener of symbols that another gateway serves from now on: symbol, name of the gateway."""
        self._moved.append((listener.__qualname__, listener))

    def on_watermarks(self, listener: Callable[[Mapping[str, int]], None]) -> None:
        """Register a listener of watermarks by gateway, nanoseconds of exchange time."""
        self._watermarks.append((listener.__qualname__, listener))

    def publish(self, frames: Sequence[bytes], ticks: Sequence[T]) -> None:
        """Give a batch to every listener."""
        for name, listener in self._published:
            try:
                listener(frames, ticks)
            except Exception:
                self.failures.report(name, ticks[0].symbol if len(ticks) == 1 else "")

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
