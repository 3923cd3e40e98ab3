"""Follows the market: the catalogue of instruments, and the last prices of what is traded and held."""

import asyncio
import logging
import math
from collections.abc import Callable
from decimal import Decimal

from google.protobuf import duration_pb2
from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.decimals import from_text
from services.kernel.errors import NotFound, RedFireError
from services.kernel.tasks import wait_for_event
from services.quant.calendar import Calendar
from services.risk.domain.portfolio import Portfolio

log = logging.getLogger(__name__)
# The most symbols that one stream of the contract takes. A smaller catalogue is followed as a whole.
MAX_SYMBOLS = 500
PAUSE_S = 0.2
# How often the catalogue is read again: soon after an unknown symbol was met, then ever less often.
SOON_S = 1.0
PRESENT_NS = 60 * 10**9
REFRESH_S = 60.0
FETCH_S = 0.5


class PriceFeed:
    """Fills the portfolio's prices and contract sizes for as long as it runs."""

    def __init__(
        self,
        market: MarketServiceStub,
        engine: EngineServiceStub,
        portfolio: Portfolio,
        calendar: Calendar,
        clock: Clock,
        interval_s: float,
        rate: Callable[[str], Decimal],
    ) -> None:
        """`rate(currency)` is the value of a unit of an instrument's currency in that of the accounts."""
        self._market = market
        self._engine = engine
        self._portfolio = portfolio
        self._prices = portfolio.prices
        self._calendar = calendar
        self._clock = clock
        # The symbol that ticked last, while ticks are of now: a recording keeps days of its own.
        self._present = ""
        self._interval_s = interval_s
        self._rate = rate
        self._own_sizes: dict[str, tuple[Decimal, str]] = {}  # the contract size in the instrument's currency, and that
        self._listed: set[str] = set()
        # Each stream follows up to MAX_SYMBOLS symbols; it is opened anew when one is added to it.
        self._streams: list[tuple[set[str], asyncio.Task[None]]] = []
        self._followed: set[str] = set()
        self._without_price: TtlCache[str, bool] = TtlCache(1000, SOON_S)
        self.catalogue_loaded = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled, whatever breaks."""
        self._streams, self._followed, pause_s = [], set(), SOON_S
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._load_catalogue()
                    self.catalogue_loaded.set()
                except RedFireError as error:
                    log.debug("the catalogue is unavailable: %s", error.message)
                    await asyncio.sleep(PAUSE_S)
                    continue
                unlisted = self._prices.used - self._listed
                pause_s = min(pause_s * 2, REFRESH_S) if unlisted or self._prices.unsized else REFRESH_S
                if await self._met_unlisted(tasks, pause_s, unlisted):
                    pause_s = SOON_S

    async def fetch(self, symbol: str) -> None:
        """Ask for a symbol's last price, which has not come by itself yet; not again at once when there is none."""
        if self._without_price.get(symbol):
            return
        try:
            answer = await self._market.GetTick(market_pb2.GetTickRequest(symbol=symbol), timeout=FETCH_S)
            self._apply(answer.tick)
        except RedFireError as error:
            log.debug("there is no last price of %s: %s", symbol, error.message)
        self._without_price.put(symbol, True)

    def revalue(self) -> None:
        """The rates of currencies may have changed."""
        sizes = {symbol: size * self._rate(currency) for symbol, (size, currency) in self._own_sizes.items()}
        self._portfolio.learn_sizes(sizes)

    async def _load_catalogue(self) -> None:
        token, listed = "", set[str]()
        while True:
            request = market_pb2.ListInstrumentsRequest(page_size=1000, page_token=token)
            page = await self._market.ListInstruments(request)
            for instrument in page.instruments:
                listed.add(instrument.symbol)
                self._prices.gateways[instrument.symbol] = instrument.gateway_name
                if size := from_text(instrument.contract_size):
                    self._own_sizes[instrument.symbol] = size, instrument.currency
            token = page.next_page_token
            if not token:
                break
        self._listed = listed
        await self._load_gateways()
        self.revalue()

    async def _load_gateways(self) -> None:
        try:
            answer = await self._engine.ListGateways(engine_pb2.ListGatewaysRequest(page_size=1000), timeout=1.0)
        except RedFireError as error:
            log.debug("gateways are unavailable: %s", error.message)
            return
        self._portfolio.learn_real_gateways(g.gateway_name for g in answer.gateways if not g.simulated)

    async def _met_unlisted(self, tasks: asyncio.TaskGroup, seconds: float, unlisted: set[str]) -> bool:
        """Follow what is used, also what comes into use; so long, or until a symbol is used that is not listed yet."""
        loop = asyncio.get_running_loop()
        end, soon = loop.time() + seconds, loop.time() + SOON_S
        met = False
        while (left := end - loop.time()) > 0:
            self._prices.used_more.clear()
            self._follow(tasks)
            # Contracts of a live gateway come late.
            if not met and not self._prices.used <= self._listed | unlisted:
                met, end = True, min(end, soon)
                continue
            await wait_for_event(self._prices.used_more, left)
        return met

    def _follow(self, tasks: asyncio.TaskGroup) -> None:
        to_follow = self._listed if len(self._listed) <= MAX_SYMBOLS else self._prices.used & self._listed
        fresh = sorted(to_follow - self._followed)
        self._followed.update(fresh)
        while fresh:
            symbols: set[str] = set()
            if self._streams and len(self._streams[-1][0]) < MAX_SYMBOLS:
                symbols, stream = self._streams.pop()
                stream.cancel()
            free = MAX_SYMBOLS - len(symbols)
            symbols, fresh = symbols | set(fresh[:free]), fresh[free:]
            self._streams.append((symbols, tasks.create_task(self._stream(symbols), name="risk.prices")))

    async def _stream(self, symbols: set[str]) -> None:
        interval = duration_pb2.Duration()
        interval.FromNanoseconds(int(self._interval_s * 1e9))
        while True:
            # What is not listed any more, for instance an expired contract, would end the whole stream.
            request = market_pb2.StreamTicksRequest(
                symbols=sorted(symbols & self._listed), mode=market_pb2.DELIVERY_MODE_CONFLATED, min_interval=interval
            )
            try:
                if request.symbols:
                    async for response in self._market.StreamTicks(request):
                        for tick in response.ticks:
                            self._apply(tick)
                        self._begin_day()
                else:
                    await asyncio.sleep(SOON_S)
            except NotFound as error:
                self._listed.discard(error.metadata.get("symbol", ""))
            except RedFireError as error:
                log.debug("prices are unavailable: %s", error.message)
            await asyncio.sleep(PAUSE_S)

    def _apply(self, tick: market_pb2.Tick) -> None:
        if tick.last_price and math.isfinite(tick.last_price):
            # str gives the shortest decimal that is this double: the price as the exchange wrote it.
            price = Decimal(str(tick.last_price))
            calendars = self._calendar.trading_day(tick.symbol, tick.time_ns)
            trading_day = tick.trading_day or calendars
            if trading_day > self._portfolio.trading_day:
                # A day that no clock has reached would hold back all days to come.
                present = self._calendar.trading_day(tick.symbol, self._clock.now_ns())
                trading_day = min(trading_day, present)
            self._portfolio.apply_price(tick.symbol, price, tick.time_ns, trading_day, tick.gateway)
            is_present = trading_day == calendars and abs(self._clock.now_ns() - tick.time_ns) < PRESENT_NS
            self._present = tick.symbol if is_present else ""

    def _begin_day(self) -> None:
        """Trading days begin while nothing ticks: orders of an auction are the new day's."""
        if self._present:
            self._portfolio.begin_day(self._calendar.trading_day(self._present, self._clock.now_ns()))
