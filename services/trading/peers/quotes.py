"""The last prices of instruments that trading cares for, followed from MarketService."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from decimal import Decimal

from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.clock import Clock
from services.kernel.errors import NotFound, RedFireError
from services.kernel.rpc.silence import PROMPT_HEARTBEAT_S, PROMPT_SILENCE_S, until_silent
from services.kernel.tasks import Tasks
from services.trading.domain.quote import PRICELESS, LastPrices, Quote

log = logging.getLogger(__name__)
SYMBOLS_PER_STREAM = 500
# A price that is published again after so long is passed to listeners, too: it may have been too old for them before.
CONFIRMED_AFTER_S = 1.0
# How often a symbol is asked for that market does not list: contracts of a real gateway come after its login.
LISTING_S = 5.0


class Quotes:
    """Follows the ticks of watched symbols, the latest of each; listeners get each new last price.

    A stream that breaks, ends or falls silent is opened anew rather than resumed: it begins with the latest ticks, and
    what was between, in this epoch or another, is not needed.
    """

    def __init__(
        self,
        market: MarketServiceStub,
        tasks: Tasks,
        last_prices: LastPrices,
        clock: Clock,
        simulated: Mapping[str, bool],
        recorded: Mapping[str, bool],
    ) -> None:
        """For each gateway that the engine reported, whether its money is simulated, and its market a recording."""
        self._market = market
        self._tasks = tasks
        self._last_prices = last_prices
        self._clock = clock
        self._simulated = simulated
        self._recorded = recorded
        self._quotes: dict[str, Quote] = {}
        self._raw: dict[str, tuple[float, float, float, str]] = {}
        self._sequences: dict[str, int] = {}
        self._watched: set[str] = set()
        self._unlisted: set[str] = set()
        # Each stream follows up to 500 symbols; it is opened anew when one is added to it.
        self._streams: list[tuple[set[str], asyncio.Task[None]]] = []
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[str, Quote], None]] = []

    def on_price(self, listener: Callable[[str, Quote], None]) -> None:
        """Call `listener(symbol, quote)` at each new last price, and at one that is published again after a while."""
        self._listeners.append(listener)

    def watch(self, symbol: str) -> None:
        """Follow a symbol from now on."""
        if symbol not in self._watched:
            self._watched.add(symbol)
            self._changed.set()

    def find(self, symbol: str, gateway: str) -> Quote | None:
        """The last quote of a watched symbol, if it counts for orders at this gateway."""
        quote = self._quotes.get(symbol)
        return quote if quote is not None and self.counts_for(quote, gateway) else None

    def same_market(self, one: str, other: str) -> bool:
        """Return whether two gateways trade the same: real ones the same exchanges, simulated ones only themselves."""
        return one == other or (self._simulated.get(one) is False and self._simulated.get(other) is False)

    def counts_for(self, quote: Quote, gateway: str) -> bool:
        """Return whether orders at this gateway may go by the quote: simulated prices and real ones never mix."""
        return not quote.gateway or self.same_market(quote.gateway, gateway)

    def age_s(self, quote: Quote) -> float:
        """Seconds since the last tick came, or since the exchange sent it, where its time is not a recording's.

        What is read first after a start may be old: the last tick that market has.
        """
        age_s = self._clock.monotonic() - quote.received_s
        if quote.time_ns and self._recorded.get(quote.gateway) is False:
            # An exchange's clock that is ahead of ours makes no price younger.
            return max(age_s, (self._clock.now_ns() - quote.time_ns) / 1e9)
        return age_s

    async def fetch(self, symbol: str, gateway: str) -> Quote | None:
        """Like `find`, but requests the quote when none came yet. None when market has none or does not answer."""
        self.watch(symbol)
        if symbol not in self._quotes:
            try:
                answer = await self._market.GetTick(market_pb2.GetTickRequest(symbol=symbol), timeout=1.0)
            except NotFound:
                return None
            except RedFireError as error:
                log.warning("tick of %s: unavailable: %s", symbol, error.message)
                return None
            self._apply_tick(answer.tick)
        return self.find(symbol, gateway)

    async def follow(self) -> None:
        """Keep streams open for what is watched, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                followed = {symbol for symbols, _ in self._streams for symbol in symbols}
                fresh = sorted(self._watched - followed - self._unlisted)
                while fresh:
                    symbols: set[str] = set()
                    if self._streams and len(self._streams[-1][0]) < SYMBOLS_PER_STREAM:
                        symbols, task = self._streams.pop()
                        task.cancel()
                    capacity = SYMBOLS_PER_STREAM - len(symbols)
                    symbols, fresh = symbols | set(fresh[:capacity]), fresh[capacity:]
                    self._streams.append((symbols, self._open(symbols)))
        finally:
            for _, task in self._streams:
                task.cancel()
            self._streams.clear()
            self._changed.set()

    def _open(self, symbols: set[str]) -> "asyncio.Task[None]":
        async def stream() -> None:
            while symbols:
                try:
                    await self._read(symbols)
                    return
                except RedFireError as error:
                    unlisted = error.metadata.get("symbol", "") if isinstance(error, NotFound) else ""
                    if unlisted not in symbols:
                        log.warning("ticks: unavailable: %s", error.message)
                        return
                    # An expired contract, or one that comes later, keeps no others from their prices.
                    symbols.discard(unlisted)
                    self._unlisted.add(unlisted)
                    self._tasks.spawn("trading.listing", self._await_listing(unlisted))

        return self._tasks.supervise("trading.ticks", stream)

    async def _read(self, symbols: set[str]) -> None:
        request = market_pb2.StreamTicksRequest(symbols=sorted(symbols), mode=market_pb2.DELIVERY_MODE_CONFLATED)
        request.heartbeat_interval.seconds = PROMPT_HEARTBEAT_S
        async with aclosing(until_silent(self._market.StreamTicks(request), PROMPT_SILENCE_S)) as messages:
            async for message in messages:
                for tick in message.ticks:
                    self._apply_tick(tick)

    async def _await_listing(self, symbol: str) -> None:
        """Follow the symbol once there is such an instrument."""
        log.warning("ticks of %s: market does not list it", symbol)
        request = market_pb2.GetInstrumentRequest(symbol=symbol)
        while symbol in self._unlisted:
            await asyncio.sleep(LISTING_S)
            with suppress(RedFireError):
                await self._market.GetInstrument(request, timeout=1.0)
                self._unlisted.discard(symbol)
                self._changed.set()

    def _apply_tick(self, tick: market_pb2.Tick) -> None:
        symbol = tick.symbol
        raw = (tick.last_price, tick.limit_up, tick.limit_down, tick.gateway)
        quote = self._quotes.get(symbol)
        if quote is not None and raw == self._raw[symbol]:
            # A stream that is opened anew begins with the tick that is known already: that makes it no younger.
            if not tick.sequence or tick.sequence != self._sequences.get(symbol):
                was_old = self.age_s(quote) > CONFIRMED_AFTER_S
                self._touch(quote, tick)
                if was_old:
                    self._notify(symbol, quote)
            return
        last_price = _price(tick.last_price)
        if last_price is None:
            return
        quote = self._quotes[symbol] = Quote(
            last_price, _price(tick.limit_up), _price(tick.limit_down), gateway=tick.gateway
        )
        self._raw[symbol] = raw
        self._touch(quote, tick)
        self._last_prices.of(tick.gateway)[symbol] = quote.last_price
        self._notify(symbol, quote)

    def _notify(self, symbol: str, quote: Quote) -> None:
        for listener in self._listeners:
            listener(symbol, quote)

    def _touch(self, quote: Quote, tick: market_pb2.Tick) -> None:
        quote.bid = tick.bid_prices[0] if tick.bid_prices else 0.0
        quote.ask = tick.ask_prices[0] if tick.ask_prices else 0.0
        quote.received_s, quote.time_ns = self._clock.monotonic(), tick.time_ns
        self._sequences[tick.symbol] = tick.sequence


def _price(value: float) -> Decimal | None:
    """A price as a decimal; None for 0, NaN, infinity and CTP's largest double, which all mean that there is none."""
    return Decimal(repr(round(value, 8))) if 0 < abs(value) < PRICELESS else None
