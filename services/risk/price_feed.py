"""Follows the market: the catalogue of instruments, and the last prices of what is traded."""

import asyncio
import logging
import math
from decimal import Decimal

from google.protobuf import duration_pb2
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.errors import RedFireError
from services.quant.calendar import Calendar
from services.risk.portfolio import Portfolio

log = logging.getLogger(__name__)
# The most symbols that one stream of the contract takes.
MAX_SYMBOLS = 500
PAUSE_S = 0.2
HEARTBEAT_S = 1


class PriceFeed:
    """Fills the portfolio's prices and contract sizes for as long as it runs."""

    def __init__(self, market: MarketServiceStub, portfolio: Portfolio, interval_s: float) -> None:
        self._market = market
        self._portfolio = portfolio
        self._interval_s = interval_s
        self._calendar = Calendar.load()
        self._used: set[str] = set()
        self._followed: frozenset[str] = frozenset()
        self.catalogue_loaded = asyncio.Event()

    def use(self, symbol: str) -> None:
        """This symbol is traded: its price is wanted."""
        if symbol not in self._followed:
            self._used.add(symbol)

    async def run(self) -> None:
        """Follow, whatever breaks."""
        while True:
            try:
                await self._load_catalogue()
                self.catalogue_loaded.set()
                await self._follow()
            except RedFireError as error:
                log.debug("the market is not to be had: %s", error.message)
            await asyncio.sleep(PAUSE_S)

    async def _load_catalogue(self) -> None:
        token = ""
        while True:
            request = market_pb2.ListInstrumentsRequest(page_size=1000, page_token=token)
            page = await self._market.ListInstruments(request)
            for instrument in page.instruments:
                self._portfolio.sizes[instrument.symbol] = Decimal(instrument.contract_size or 1)
            token = page.next_page_token
            if not token:
                return

    def _wanted(self) -> frozenset[str]:
        """The whole catalogue, so that a first order has a price to be compared with; of a big one what is in use."""
        wanted = set(self._portfolio.sizes)
        if len(wanted) > MAX_SYMBOLS:
            wanted &= self._used.union(*(book.symbols() for book in self._portfolio.books()))
        return frozenset(sorted(wanted)[:MAX_SYMBOLS])

    async def _follow(self) -> None:
        self._followed = self._wanted()
        if not self._followed:
            return
        interval, heartbeat = duration_pb2.Duration(), duration_pb2.Duration(seconds=HEARTBEAT_S)
        interval.FromNanoseconds(int(self._interval_s * 1e9))
        request = market_pb2.StreamTicksRequest(
            symbols=sorted(self._followed),
            mode=market_pb2.DELIVERY_MODE_CONFLATED,
            min_interval=interval,
            heartbeat_interval=heartbeat,
        )
        async for response in self._market.StreamTicks(request):
            for tick in response.ticks:
                self._apply(tick)
            # The heartbeat brings us here at least every second, so that a newly traded symbol is soon followed.
            if response.HasField("end") or (self._used - self._followed and self._wanted() != self._followed):
                return

    def _apply(self, tick: market_pb2.Tick) -> None:
        if tick.last_price and math.isfinite(tick.last_price):
            # str gives the shortest decimal that is this double: the price as the exchange wrote it.
            price = Decimal(str(tick.last_price))
            trading_day = tick.trading_day or self._calendar.trading_day(tick.symbol, tick.time_ns)
            self._portfolio.apply_price(tick.symbol, price, tick.time_ns, trading_day)
