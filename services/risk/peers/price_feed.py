"""Follows the market: the catalogue of instruments, and the last prices of what is traded and held."""

import asyncio
import logging
import math
from collections.abc import Callable, Set
from contextlib import aclosing
from decimal import Decimal

from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.decimals import from_text
from services.kernel.errors import NotFound, RedFireError
from services.kernel.rpc.silence import HEARTBEAT_S, StreamSilent, until_silent
from services.kernel.tasks import wait_for_event
from services.quant.calendar import Calendar
from services.risk.domain.market_status import MarketStatus, StreamStatus
from services.risk.domain.portfolio import Portfolio

log = logging.getLogger(__name__)
# The most symbols that one stream of the contract takes. No more that are simulated are followed as a whole.
MAX_SYMBOLS = 500
PAUSE_S = 0.2
# A new feed is picked up so soon after one that ended.
FEED_ENDED_PAUSE_S = 3.0
# How often the catalogue is read again: soon after an unknown symbol was met, then ever less often.
SOON_S = 1.0
REFRESH_S = 60.0
FETCH_S = 0.5


class PriceFeed:
    """Fills the portfolio's prices and contract sizes for as long as it runs, and the market's status.

    A stream that ends is opened anew rather than resumed: it begins with the latest ticks, whatever the epoch.
    """

    def __init__(
        self,
        market: MarketServiceStub,
        engine: EngineServiceStub,
        portfolio: Portfolio,
        calendar: Calendar,
        clock: Clock,
        interval_s: float,
        rate: Callable[[str], Decimal],
        status: MarketStatus,
    ) -> None:
        """`rate(currency)` is the value of a unit of an instrument's currency in that of the accounts."""
        self._market = market
        self._engine = engine
        self._portfolio = portfolio
        self._prices = portfolio.prices
        self._calendar = calendar
        self._clock = clock
        self._status = status
        # Of each gateway whether its market is a recording, which keeps days of its own.
        self._recorded: dict[str, bool] = {}
        # By market, the symbol that ticked last at a gateway that is none.
        self._live_symbols: dict[str, str] = {}
        self._epochs: dict[str, str] = {}  # of markets that are recordings, by which their days are told
        self._interval_s = interval_s
        self._rate = rate
        self._own_sizes: dict[str, tuple[Decimal, str]] = {}  # the contract size in the instrument's currency, and that
        self._listed: set[str] = set()
        # Each stream follows up to MAX_SYMBOLS symbols; it is opened anew when one is added to it.
        self._streams: list[tuple[StreamStatus, asyncio.Task[None]]] = []
        self._followed: set[str] = set()
        self._without_price: TtlCache[str, bool] = TtlCache(1000, SOON_S)
        self.catalogue_loaded = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled, whatever breaks."""
        self._streams, self._followed, pause_s = [], set(), SOON_S
        self._status.clear()
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
                unknown = unlisted or self._prices.unsized or not self._recorded
                pause_s = min(pause_s * 2, REFRESH_S) if unknown else REFRESH_S
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
        self._recorded = {gateway.gateway_name: gateway.recorded for gateway in answer.gateways}
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
        to_follow = self._prices.used & self._listed
        # Ticks of a simulated market come anyway; real gateways are asked for what somebody follows.
        simulated = {symbol for symbol in self._listed if self._is_simulated(symbol)}
        if len(simulated) <= MAX_SYMBOLS:
            to_follow |= simulated
        fresh = sorted(to_follow - self._followed)
        self._followed.update(fresh)
        while fresh:
            if self._streams and len(self._streams[-1][0].symbols) < MAX_SYMBOLS:
                status, stream = self._streams.pop()
                stream.cancel()
            else:
                status = self._status.add_stream()
            free = MAX_SYMBOLS - len(status.symbols)
            self._status.carry(status, fresh[:free])
            fresh = fresh[free:]
            self._streams.append((status, tasks.create_task(self._stream(status), name="risk.prices")))

    def _is_simulated(self, symbol: str) -> bool:
        gateway = self._prices.gateways.get(symbol, "")
        return gateway in self._recorded and bool(self._prices.market_of(gateway))

    async def _stream(self, status: StreamStatus) -> None:
        while True:
            # What is not listed any more, for instance an expired contract, would end the whole stream.
            symbols, pause_s = status.symbols & self._listed, PAUSE_S
            try:
                if not symbols:
                    pause_s = SOON_S
                elif await self._read(symbols, status) == Reason.FEED_ENDED.value:
                    pause_s = FEED_ENDED_PAUSE_S
                else:
                    self._status.broke(status)
            except NotFound as error:
                self._listed.discard(error.metadata.get("symbol", ""))
            except RedFireError as error:
                log.debug("prices are unavailable: %s", error.message)
                self._status.broke(status, silent=isinstance(error, StreamSilent))
            await asyncio.sleep(pause_s)

    async def _read(self, symbols: Set[str], status: StreamStatus) -> str:
        """Apply what a stream of these symbols brings until it ends; answer the reason that it states."""
        request = market_pb2.StreamTicksRequest(symbols=sorted(symbols), mode=market_pb2.DELIVERY_MODE_CONFLATED)
        request.min_interval.FromNanoseconds(int(self._interval_s * 1e9))
        request.heartbeat_interval.seconds = HEARTBEAT_S
        epoch = ""
        async with aclosing(until_silent(self._market.StreamTicks(request))) as messages:
            async for message in messages:
                kind = message.WhichOneof("event")
                if kind == "end":
                    return str(message.end.reason)
                if kind == "feed_state":
                    self._status.state(status, message.feed_state.connected, message.feed_state.stale_symbols)
                elif kind != "started":
                    self._status.heard(status, beat=kind == "heartbeat")
                if kind == "started":
                    epoch = message.started.epoch
                elif kind == "new_epoch":
                    epoch = message.new_epoch.epoch
                for tick in message.ticks:
                    self._apply(tick, epoch)
                self._begin_day()
        return ""

    def _apply(self, tick: market_pb2.Tick, epoch: str = "") -> None:
        if tick.last_price and math.isfinite(tick.last_price):
            # str gives the shortest decimal that is this double: the price as the exchange wrote it.
            price = Decimal(str(tick.last_price))
            calendars = self._calendar.trading_day(tick.symbol, tick.time_ns)
            trading_day = tick.trading_day or calendars
            gateway = tick.gateway or self._prices.gateways.get(tick.symbol, "")
            market, recorded = self._prices.market_of(gateway), self._recorded.get(gateway)
            if trading_day > self._portfolio.trading_days.of(market):
                # A day that no clock has reached would hold back all days to come.
                present = self._calendar.trading_day(tick.symbol, self._clock.now_ns())
                trading_day = min(trading_day, present)
            if recorded and epoch and self._epochs.get(market) != epoch and self._is_later_tick(tick, market):
                self._epochs[market] = epoch
                self._portfolio.begin_day(trading_day, market, again=True)
            self._portfolio.apply_price(tick.symbol, price, tick.time_ns, trading_day, tick.gateway, tick.sequence)
            if recorded is False:
                self._live_symbols[market] = tick.symbol if trading_day == calendars else ""

    def _is_later_tick(self, tick: market_pb2.Tick, market: str) -> bool:
        """Return whether it came after another tick of its symbol: a first one may be long gone, and of another day."""
        last = self._prices.find(market, tick.symbol)
        return last is not None and 0 < last.sequence < tick.sequence

    def _begin_day(self) -> None:
        """Trading days begin while nothing ticks: orders of an auction are the new day's."""
        for market, symbol in self._live_symbols.items():
            if symbol:
                self._portfolio.begin_day(self._calendar.trading_day(symbol, self._clock.now_ns()), market)
