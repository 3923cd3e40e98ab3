"""The market of the model: prices that a test moves, and instruments."""

import asyncio
import random

from redfire.market.v1 import market_pb2, market_pb2_grpc

from services.kernel.errors import NotFound
from services.kernel.rpc.silence import PROMPT_HEARTBEAT_S
from tests.harness import complete
from tests.heartbeats import beating
from tests.simulated_time import SimulatedClock
from tests.trading.model.exchange import LISTINGS


class Market:
    """Last prices, and who follows them."""

    def __init__(self, rng: random.Random, clock: SimulatedClock) -> None:
        self.rng, self.clock = rng, clock
        self.prices = {symbol: listing.price for symbol, listing in LISTINGS.items()}
        self.listeners: list[tuple[asyncio.Queue[str], frozenset[str]]] = []

    def price(self, symbol: str, price: int) -> None:
        self.prices[symbol] = price
        for queue, symbols in self.listeners:
            if symbol in symbols:
                queue.put_nowait(symbol)

    def tick(self, symbol: str) -> market_pb2.Tick:
        price = float(self.prices[symbol])
        tick = market_pb2.Tick(
            symbol=symbol, last_price=price, limit_up=round(LISTINGS[symbol].price * 1.5),
            limit_down=round(LISTINGS[symbol].price * 0.5),
        )  # fmt: skip
        now_ns = self.clock.now_ns()
        for name in ("exchange_time_ns", "receive_time_ns", "time_ns"):
            if name in tick.DESCRIPTOR.fields_by_name:
                setattr(tick, name, now_ns)
        if "gateway" in tick.DESCRIPTOR.fields_by_name:
            tick.gateway = LISTINGS[symbol].gateway
        return tick


@complete
class MarketApi(market_pb2_grpc.MarketServiceServicer):
    """MarketService: instruments and prices."""

    def __init__(self, market):
        self.market = market

    def instrument(self, symbol):
        listing = LISTINGS[symbol]
        return market_pb2.Instrument(
            symbol=symbol, exchange=symbol.split(".")[1], contract_size=listing.contract_size,
            price_tick=listing.price_tick, min_quantity="1", quantity_step="1", margin_rate="0.12",
            commission_rate="0.000023", close_today_commission_rate="0.000345", currency="CNY",
            gateway_name=listing.gateway,
        )  # fmt: skip

    async def ListInstruments(self, request, call):
        return market_pb2.ListInstrumentsResponse(instruments=[self.instrument(symbol) for symbol in LISTINGS])

    async def GetInstrument(self, request, call):
        await asyncio.sleep(self.market.rng.random() * 0.01)
        if request.symbol not in LISTINGS:
            raise NotFound("instrument", request.symbol)
        return market_pb2.GetInstrumentResponse(instrument=self.instrument(request.symbol))

    async def GetTick(self, request, call):
        await asyncio.sleep(self.market.rng.random() * 0.01)
        return market_pb2.GetTickResponse(tick=self.market.tick(request.symbol))

    async def StreamTicks(self, request, call):
        queue = asyncio.Queue()
        entry = (queue, frozenset(request.symbols))
        self.market.listeners.append(entry)
        try:
            yield market_pb2.StreamTicksResponse(ticks=[self.market.tick(symbol) for symbol in request.symbols])
            beat = market_pb2.StreamTicksResponse(heartbeat=market_pb2.StreamTicksResponse.Heartbeat())
            async with beating(queue, "", PROMPT_HEARTBEAT_S):
                while True:
                    symbol = await queue.get()
                    yield market_pb2.StreamTicksResponse(ticks=[self.market.tick(symbol)]) if symbol else beat
        finally:
            if entry in self.market.listeners:
                self.market.listeners.remove(entry)
