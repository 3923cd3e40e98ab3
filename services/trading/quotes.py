"""The last prices of instruments that trading cares for, followed from MarketService."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.errors import NotFound, RedFireError
from services.kernel.tasks import Tasks

log = logging.getLogger(__name__)
SYMBOLS_PER_STREAM = 500


@dataclass(frozen=True, slots=True)
class Quote:
    """An instrument's last price and the day's limits; None without one."""

    last_price: Decimal
    limit_up: Decimal | None
    limit_down: Decimal | None


class Quotes:
    """Follows the ticks of watched symbols, the latest of each; `on_price` hears each new last price."""

    def __init__(self, market: MarketServiceStub, tasks: Tasks, last_prices: dict[str, Decimal]) -> None:
        self._market = market
        self._tasks = tasks
        self._last_prices = last_prices
        self._quotes: dict[str, Quote] = {}
        self._raw: dict[str, tuple[float, float, float]] = {}
        self._watched: set[str] = set()
        # Each stream follows up to 500 symbols; it is opened anew when one is added to it.
        self._streams: list[tuple[set[str], asyncio.Task[None]]] = []
        self._changed = asyncio.Event()
        self.on_price: Callable[[str, Decimal], None] = lambda symbol, price: None

    def watch(self, symbol: str) -> None:
        """Follow a symbol from now on."""
        if symbol not in self._watched:
            self._watched.add(symbol)
            self._changed.set()

    def find(self, symbol: str) -> Quote | None:
        """The last quote of a watched symbol."""
        return self._quotes.get(symbol)

    async def fetch(self, symbol: str) -> Quote | None:
        """The last quote; asks for it when none came yet. None when there is none, or market does not answer."""
        self.watch(symbol)
        quote = self._quotes.get(symbol)
        if quote is None:
            try:
                answer = await self._market.GetTick(market_pb2.GetTickRequest(symbol=symbol), timeout=1.0)
            except NotFound:
                return None
            except RedFireError as error:
                log.warning("no tick of %s is to be had: %s", symbol, error.message)
                return None
            self._take(answer.tick)
            quote = self._quotes.get(symbol)
        return quote

    async def follow(self) -> None:
        """Keep streams open for what is watched, for ever."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                followed = {symbol for symbols, _ in self._streams for symbol in symbols}
                fresh = sorted(self._watched - followed)
                while fresh:
                    symbols: set[str] = set()
                    if self._streams and len(self._streams[-1][0]) < SYMBOLS_PER_STREAM:
                        symbols, task = self._streams.pop()
                        task.cancel()
                    room = SYMBOLS_PER_STREAM - len(symbols)
                    symbols, fresh = symbols | set(fresh[:room]), fresh[room:]
                    self._streams.append((symbols, self._open(symbols)))
        finally:
            for _, task in self._streams:
                task.cancel()
            self._streams.clear()
            self._changed.set()

    def _open(self, symbols: set[str]) -> "asyncio.Task[None]":
        request = market_pb2.StreamTicksRequest(symbols=sorted(symbols), mode=market_pb2.DELIVERY_MODE_CONFLATED)

        async def stream() -> None:
            try:
                async for message in self._market.StreamTicks(request):
                    for tick in message.ticks:
                        self._take(tick)
            except RedFireError as error:
                log.warning("ticks are not to be had: %s", error.message)

        return self._tasks.forever("trading.ticks", stream)

    def _take(self, tick: market_pb2.Tick) -> None:
        raw = (tick.last_price, tick.limit_up, tick.limit_down)
        if raw == self._raw.get(tick.symbol) or not tick.last_price:
            return
        self._raw[tick.symbol] = raw
        price = _decimal(tick.last_price)
        limit_up = _decimal(tick.limit_up) if tick.limit_up else None
        limit_down = _decimal(tick.limit_down) if tick.limit_down else None
        self._quotes[tick.symbol] = Quote(price, limit_up, limit_down)
        self._last_prices[tick.symbol] = price
        self.on_price(tick.symbol, price)


def _decimal(price: float) -> Decimal:
    return Decimal(repr(round(price, 8)))
