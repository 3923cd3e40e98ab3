"""Instruments: the engine's contracts, kept here and refreshed."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.errors import NotFound, Unavailable

REFRESH_PAUSE_S = 1.0


class Instrument(Protocol):
    """The fields of an instrument that are read here."""

    @property
    def symbol(self) -> str:
        """vnpy's vt_symbol."""

    @property
    def display_name(self) -> str:
        """Its name for people."""

    @property
    def exchange(self) -> str:
        """vnpy's exchange code."""

    @property
    def gateway_name(self) -> str:
        """The gateway it is traded by."""

    @property
    def product(self) -> int:
        """The kind, a number of market.v1.Product."""


I = TypeVar("I", bound=Instrument)  # noqa: E741


class UnknownSymbol(NotFound):
    """The instrument does not exist."""

    reason = Reason.UNKNOWN_SYMBOL


class Instruments(Generic[I]):
    """All instruments by symbol; `fetch` asks the engine."""

    def __init__(self, fetch: Callable[[], Awaitable[Iterable[I]]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetched_at = -1e9
        self._by_symbol: dict[str, I] = {}

    @property
    def symbols(self) -> list[str]:
        """All symbols, sorted."""
        return list(self._by_symbol)

    def all(self) -> Iterable[I]:
        """All instruments, by symbol."""
        return self._by_symbol.values()

    async def refresh(self) -> None:
        """Ask the engine. Instruments that it no longer lists are kept while we run: streams may be open on it."""
        self._fetched_at = self._clock.monotonic()
        fetched = {instrument.symbol: instrument for instrument in await self._fetch()}
        self._by_symbol = dict(sorted({**self._by_symbol, **fetched}.items()))

    def find(self, symbol: str) -> I | None:
        """The instrument, None when there is none."""
        return self._by_symbol.get(symbol)

    async def get(self, symbol: str) -> I:
        """The instrument.

        Raises: UnknownSymbol, Unavailable when the engine has not sent its instruments yet.
        """
        await self.require((symbol,))
        return self._by_symbol[symbol]

    async def require(self, symbols: Iterable[str]) -> None:
        """Make sure that all of them exist; raises as get() does. An unknown one is asked for, now and then."""
        unknown = [symbol for symbol in symbols if symbol not in self._by_symbol]
        if unknown and self._clock.monotonic() - self._fetched_at >= REFRESH_PAUSE_S:
            try:
                await self.refresh()
            except Unavailable:
                if not self._by_symbol:
                    raise
            unknown = [symbol for symbol in unknown if symbol not in self._by_symbol]
        if not self._by_symbol:
            raise Unavailable("the engine has not sent its instruments yet")
        if unknown:
            raise UnknownSymbol("instrument", unknown[0], symbol=unknown[0])

    def list_after(self, after: str, limit: int, exchange: str, product: int, query: str) -> Sequence[I]:
        """Instruments, at most `limit`, by symbol, after the symbol `after`; empty filters let everything through."""
        text = query.casefold()
        matches: list[I] = []
        for symbol, instrument in self._by_symbol.items():
            if symbol <= after or (exchange and instrument.exchange != exchange):
                continue
            if product and instrument.product != product:
                continue
            if text and text not in symbol.casefold() and text not in instrument.display_name.casefold():
                continue
            matches.append(instrument)
            if len(matches) == limit:
                break
        return matches
