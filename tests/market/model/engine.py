"""An engine whose ticks are all known: the real tick stream behind its contract, and what was published."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1 import engine_pb2_grpc as rpc
from redfire.market.v1 import market_pb2

from services.engine.streams.tick_stream import FeedEnded, FeedNature, Started, TickStream
from services.kernel.errors import Unavailable
from services.kernel.rpc.call import Call
from services.market.ticks.frames import frame
from tests.harness import complete
from tests.market.ticks import at

GATEWAY = "SIM"
SYMBOLS = tuple(f"IF21{month:02d}.CFFEX" for month in range(1, 7))
RING_BYTES = 60_000
SECOND_NS = 1_000_000_000
_SESSIONS = ((34_200, 41_400), (46_800, 54_000))
"""Seconds of the day in which CFFEX trades: 9:30 to 11:30, 13:00 to 15:00."""


@dataclass
class ModelTick:
    """A tick of a gateway, as the tick stream takes it."""

    vt_symbol: str
    message: market_pb2.Tick
    gateway_name: str = GATEWAY


@dataclass
class Epoch:
    """One run of the feed: the ticks of each symbol, in order of their sequence."""

    name: str
    first_sequence: int
    ticks: dict[str, list[market_pb2.Tick]] = field(default_factory=lambda: {symbol: [] for symbol in SYMBOLS})
    marks: dict[int, dict[str, int]] = field(default_factory=dict)
    """Of each watermark, the last sequences when it was published first."""

    def last(self, symbol: str) -> int:
        """The symbol's last sequence, one before the first when it has none."""
        return self.first_sequence + len(self.ticks[symbol]) - 1

    def tick(self, symbol: str, sequence: int) -> market_pb2.Tick:
        """A published tick."""
        return self.ticks[symbol][sequence - self.first_sequence]


class Exchange:
    """Exchange time, which goes from session to session, and each symbol's price and volume of the day."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._day = 20261116
        self._midnight_ns = at("2026-11-16 00:00:00")
        self._second = float(_SESSIONS[0][0])
        self._symbols: dict[str, tuple[float, float]] = dict.fromkeys(SYMBOLS, (5000.0, 0.0))

    @property
    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._midnight_ns + int(self._second * 1000) * 1_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass; breaks and nights are passed over."""
        self._second += seconds
        if _SESSIONS[0][1] <= self._second < _SESSIONS[1][0]:
            self._second = float(_SESSIONS[1][0])
        elif self._second >= _SESSIONS[1][1]:
            self._next_day()

    def tick(self, symbol: str) -> market_pb2.Tick:
        """The symbol's next tick; some are late by up to three seconds, and some bring no trade."""
        price, volume = self._symbols[symbol]
        price = max(price + self._rng.choice((-0.4, -0.2, 0.0, 0.2, 0.4)), 100.0)
        traded = float(self._rng.choice((0, 1, 1, 2, 5)))
        late_s = self._rng.choice((0.0,) * 9 + (self._rng.random() * 3,))
        self._symbols[symbol] = price, volume + traded
        return market_pb2.Tick(
            symbol=symbol,
            gateway=GATEWAY,
            time_ns=max(self.time_ns - int(late_s * 1000) * 1_000_000, self._midnight_ns + _SESSIONS[0][0] * SECOND_NS),
            last_price=price,
            last_quantity=traded,
            volume=volume + traded,
            turnover=(volume + traded) * 5000 * 300,
            open_interest=1000.0,
            trading_day=self._day,
            bid_prices=[price - 0.2],
            bid_quantities=[3.0],
            ask_prices=[price + 0.2],
            ask_quantities=[4.0],
        )

    def _next_day(self) -> None:
        day = datetime.strptime(str(self._day), "%Y%m%d")
        while day.weekday() >= 5:
            day += timedelta(days=1)
        self._day = int(day.strftime("%Y%m%d"))
        self._midnight_ns = at(day.strftime("%Y-%m-%d 00:00:00"))
        self._second = float(_SESSIONS[0][0])
        self._symbols = {symbol: (price, 0.0) for symbol, (price, _) in self._symbols.items()}


@complete
class ModelEngine(rpc.EngineServiceServicer):
    """One run of the feed after another; `epochs` have all that was published."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.exchange = Exchange(rng)
        self.epochs: list[Epoch] = []
        self.log: list[market_pb2.Tick | int | Epoch] = []
        """All that was published in order: epochs, ticks, and watermarks in nanoseconds."""
        self._broken = False
        self._begin()

    @property
    def epoch(self) -> Epoch:
        """The present run."""
        return self.epochs[-1]

    def publish(self, symbols: list[str]) -> None:
        """Publish the next ticks of these symbols, as one batch."""
        ticks = []
        for symbol in symbols:
            self.exchange.advance(self._rng.random() * 2)
            ticks.append(ModelTick(symbol, self.exchange.tick(symbol)))
        self._stream.publish(ticks)
        for tick in ticks:
            self.epoch.ticks[tick.vt_symbol].append(tick.message)
            self.log.append(tick.message)

    def pass_time(self) -> None:
        """Send a heartbeat with the exchange's time."""
        watermark_ns = self.exchange.time_ns - 3 * SECOND_NS
        self.log.append(watermark_ns)
        self.epoch.marks.setdefault(watermark_ns, {symbol: self.epoch.last(symbol) for symbol in SYMBOLS})
        message = pb.StreamTicksResponse(heartbeat={"watermarks_ns": {GATEWAY: watermark_ns}})
        self._stream.publish_heartbeat(message.SerializeToString())

    def restart(self, *, kill: bool) -> None:
        """Begin another run of the feed; readers of a killed one do not get what waits for them."""
        self._broken, broken = kill, self._stream
        broken.close()
        self._begin()

    async def ListContracts(self, request: pb.ListContractsRequest, call: Call) -> pb.ListContractsResponse:
        """All symbols."""
        return pb.ListContractsResponse(
            instruments=[
                market_pb2.Instrument(symbol=symbol, exchange="CFFEX", price_tick="0.2", gateway_name=GATEWAY)
                for symbol in SYMBOLS
            ]
        )

    async def ListGateways(self, request: pb.ListGatewaysRequest, call: Call) -> pb.ListGatewaysResponse:
        """SIM alone, which is recorded."""
        return pb.ListGatewaysResponse(gateways=[pb.Gateway(gateway_name=GATEWAY, simulated=True, recorded=True)])

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> pb.SubscribeResponse:
        """Nothing to do: all symbols are published."""
        return pb.SubscribeResponse()

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, call: Call) -> pb.UnsubscribeResponse:
        """Nothing to do: all symbols are published."""
        return pb.UnsubscribeResponse()

    async def StreamTicks(self, request: pb.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        """The real stream, broken off where the engine is killed."""
        stream = self._stream
        async for item in stream.read(request.epoch, request.position, records=request.records):
            if stream is not self._stream and self._broken:
                raise Unavailable("the engine is gone")
            if isinstance(item, Started):
                yield pb.StreamTicksResponse(
                    started={
                        "epoch": item.epoch,
                        "position": item.position,
                        "first_sequence": item.first_sequence,
                        "sequences": item.sequences,
                    }
                )
            elif not isinstance(item, FeedEnded):
                yield item

    def _begin(self) -> None:
        number = len(self.epochs) + 1
        epoch = Epoch(f"epoch-{number}", number * 1_000_000)
        self.epochs.append(epoch)
        self.log.append(epoch)
        self._stream = TickStream(
            epoch.name, FeedNature(paced=False, realtime=False, on_demand=False), _encode, lambda: 0, RING_BYTES
        )
        self._stream.begin(epoch.first_sequence)


def _encode(tick: ModelTick, sequence: int) -> bytes:
    tick.message.sequence = sequence
    return frame(tick.message.SerializeToString())
