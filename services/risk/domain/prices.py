"""Contract sizes and last prices, and which gateways' prices count for an account."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


# Not frozen, as one is made for each tick: that would take four times as long.
@dataclass(slots=True)
class LastPrice:
    """A last price, and its source."""

    price: Decimal
    time_ns: int  # the exchange's
    received_s: float  # monotonic
    gateway: str
    sequence: int


@dataclass(frozen=True, slots=True)
class PriceView:
    """A last price at one moment."""

    last: LastPrice
    age_s: float
    unconfirmed_s: float  # 0 while it is the present price


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
        # Since when, in monotonic seconds, market has not confirmed the prices of these symbols.
        self.unconfirmed: dict[str, float] = {}
        self._last: dict[tuple[str, str], LastPrice] = {}  # by market and symbol
        self._ticking: dict[str, str] = {}  # the market that a symbol's last tick is of
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
            self._ticking = {symbol: self.market_of(market) for symbol, market in self._ticking.items()}

    def market_of(self, gateway: str) -> str:
        """The market that a gateway trades: empty for all real ones."""
        return "" if gateway in self._real else gateway

    def put(
        self, gateway: str, symbol: str, price: Decimal, time_ns: int, now_s: float = 0.0, sequence: int = 0
    ) -> str:
        """Take a last price, received now; answer the market that it is of."""
        gateway = gateway or self.gateways.get(symbol, "")
        key = market, _ = self.market_of(gateway), symbol
        self._ticking[symbol] = market
        before = self._last.get(key)
        # A stream that is opened anew begins with the tick that is known already: that makes it no younger.
        if before is None or not sequence or sequence != before.sequence or price != before.price:
            self._last[key] = LastPrice(price, time_ns, now_s, gateway, sequence)
        return market

    def find(self, market: str, symbol: str) -> LastPrice | None:
        """The last price in a market, with its source; None where there is none."""
        return self._last.get((market, symbol))

    def view(self, market: str, symbol: str, now_s: float) -> PriceView | None:
        """The last price in a market as it is now; None where there is none."""
        last = self._last.get((market, symbol))
        if last is None:
            return None
        return PriceView(last, now_s - last.received_s, self.unconfirmed_s(market, symbol, now_s))

    def last(self, market: str, symbol: str) -> Decimal | None:
        """The last price in a market; None where there is none."""
        last = self._last.get((market, symbol))
        return None if last is None else last.price

    def time_ns(self, market: str, symbol: str) -> int:
        """The time of the last price; 0 where there is none."""
        last = self._last.get((market, symbol))
        return 0 if last is None else last.time_ns

    def unconfirmed_s(self, market: str, symbol: str, now_s: float) -> float:
        """Seconds for which market has not confirmed the last price; 0 while it is the present one, however quiet."""
        if self._ticking.get(symbol, market) != market and (last := self._last.get((market, symbol))) is not None:
            return now_s - last.received_s  # the symbol ticks at another gateway now
        since_s = self.unconfirmed.get(symbol)
        return 0.0 if since_s is None else now_s - since_s
