"""Contract sizes and last prices, and which gateways' prices count for an account."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal


class Prices:
    """Market data as far as risk needs it. Nothing here is guessed: what is not known is not there.

    Real gateways trade one market: the price of any of them counts for accounts at all of them. A simulated gateway is
    a market of its own, and so is one of which it is not known yet whether it is real.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, Decimal] = {}  # units of currency per point and contract
        self.gateways: dict[str, str] = {}  # the gateway that an instrument is traded by
        # Symbols that are traded or held, and those of them whose contract size is not known.
        self.used: set[str] = set()
        self.unsized: set[str] = set()
        self.used_more = asyncio.Event()
        self._last: dict[tuple[str, str], Decimal] = {}  # by market and symbol
        self._times_ns: dict[tuple[str, str], int] = {}
        self._real: frozenset[str] = frozenset()

    def use(self, symbol: str) -> None:
        """Note a symbol that is traded or held: its price and size are needed."""
        if symbol not in self.used:
            self.used.add(symbol)
            if symbol not in self.sizes:
                self.unsized.add(symbol)
            self.used_more.set()

    def set_size(self, symbol: str, size: Decimal) -> bool:
        """Take a contract size; answer whether it is another than before."""
        if self.sizes.get(symbol) == size:
            return False
        self.sizes[symbol] = size
        self.unsized.discard(symbol)
        return True

    def set_real_gateways(self, names: Iterable[str]) -> None:
        """Take the names of the gateways that trade for real."""
        real = frozenset(names)
        if real != self._real:
            self._real = real
            self._last = {(self.market_of(market), symbol): p for (market, symbol), p in self._last.items()}
            self._times_ns = {(self.market_of(market), symbol): t for (market, symbol), t in self._times_ns.items()}

    def market_of(self, gateway: str) -> str:
        """The market that a gateway trades: empty for all real ones."""
        return "" if gateway in self._real else gateway

    def put(self, gateway: str, symbol: str, price: Decimal, time_ns: int) -> str:
        """Take a last price; answer the market that it is of."""
        key = self.market_of(gateway or self.gateways.get(symbol, "")), symbol
        self._last[key] = price
        self._times_ns[key] = time_ns
        return key[0]

    def last(self, market: str, symbol: str) -> Decimal | None:
        """The last price in a market; None where there is none."""
        return self._last.get((market, symbol))

    def time_ns(self, market: str, symbol: str) -> int:
        """The time of the last price; 0 where there is none."""
        return self._times_ns.get((market, symbol), 0)
