"""The simulated feed: a seeded random market of the catalogue's symbols; it closes only where hours are kept."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from services.engine.feeds.quote import Quote
from services.engine.feeds.sim_hours import SimHours
from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState
from services.quant.catalogue import Instrument, SimulatedMarket

LEVELS = 5
# The fair price is a slow random walk that returns to its start, plus fast jitter; all in ticks and seconds. With these
# an order one tick above the market is reached within half a minute 97 times out of 100.
_WALK_PER_ROOT_SECOND = 1.0
_WALK_RETURN_S = 600.0
_JITTER = 2.5
_JITTER_RETURN_S = 1.5
_TRADE_PROBABILITY = 0.7
_WIDE_SPREAD_PROBABILITY = 0.15
_CLOCK_STEP_NS = 100_000_000


@dataclass(slots=True)
class MarketState:
    """State of a symbol's market; saved so that prices go on after a restart. Prices are in ticks."""

    steps: int = 0
    walk: float = 0.0
    jitter: float = 0.0
    last: int = 0
    last_ns: int = 0
    trading_day: int = 0
    pre_close: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    volume: int = 0
    turnover: float = 0.0
    open_interest: int = 0


class SimMarket:
    """One symbol's random market."""

    def __init__(self, instrument: Instrument, seed: int, state: MarketState | None = None) -> None:
        self.symbol = instrument.symbol
        look = instrument.simulated or SimulatedMarket(price=instrument.price_tick * 5000)
        self._tick = float(instrument.price_tick)
        self._digits = max(0, -int(instrument.price_tick.normalize().as_tuple().exponent))
        self._size = float(instrument.contract_size)
        self._lot = float(max(instrument.min_quantity, instrument.quantity_step))
        self._depth = look.depth
        self._limit_ratio = float(instrument.price_limit_ratio)
        self._base = round(look.price / instrument.price_tick)
        self.state = state or MarketState(
            last=self._base, pre_close=self._base, open_interest=look.open_interest, walk=0.0
        )
        # The count of steps goes into the seed: a market that goes on does not repeat what it did.
        self._random = random.Random(f"{seed}:{self.symbol}:{self.state.steps}")  # noqa: S311 - a market, not a secret

    def step(self, elapsed_s: float, now_ns: int, trading_day: int) -> Quote:
        """The market after `elapsed_s` more seconds."""
        state, chance = self.state, self._random
        state.steps += 1
        state.last_ns = max(now_ns, state.last_ns + 1_000)
        first = state.trading_day != trading_day
        if first:
            self._begin_day(trading_day)
        fade = math.exp(-elapsed_s / _JITTER_RETURN_S)
        state.jitter = state.jitter * fade + _JITTER * math.sqrt(1 - fade * fade) * chance.gauss(0, 1)
        state.walk += _WALK_PER_ROOT_SECOND * math.sqrt(elapsed_s) * chance.gauss(0, 1)
        state.walk -= state.walk * min(1.0, elapsed_s / _WALK_RETURN_S)
        up, down = self._limits()
        spread = 2 if chance.random() < _WIDE_SPREAD_PROBABILITY else 1
        bid = min(max(math.floor(self._base + state.walk + state.jitter), down), up - spread)
        ask = bid + spread
        quantity = 0
        if first or chance.random() < _TRADE_PROBABILITY:
            quantity = 1 + min(int(chance.expovariate(4 / self._depth)), self._depth)
            self._trade(ask if chance.random() < 0.5 else bid, quantity)
        return self._quote(bid, ask, quantity, up, down)

    def _begin_day(self, trading_day: int) -> None:
        state = self.state
        state.trading_day = trading_day
        state.pre_close = state.last
        state.open = state.high = state.low = 0
        state.volume = 0
        state.turnover = 0.0

    def _trade(self, price: int, quantity: int) -> None:
        state = self.state
        state.last = price
        if not state.open:
            state.open = state.high = state.low = price
        state.high = max(state.high, price)
        state.low = min(state.low, price)
        state.volume += quantity
        state.turnover += quantity * self._lot * price * self._tick * self._size
        change = self._random.randint(-quantity, quantity)
        state.open_interest = max(state.open_interest + change, self._depth)

    def _limits(self) -> tuple[int, int]:
        close = self.state.pre_close
        return math.floor(close * (1 + self._limit_ratio)), math.ceil(close * (1 - self._limit_ratio))

    def _quote(self, bid: int, ask: int, quantity: int, up: int, down: int) -> Quote:
        state, price = self.state, self._price
        return Quote(
            symbol=self.symbol,
            time_ns=state.last_ns,
            trading_day=state.trading_day,
            last_price=price(state.last),
            last_quantity=quantity * self._lot,
            volume=state.volume * self._lot,
            turnover=round(state.turnover, 2),
            open_interest=state.open_interest * self._lot,
            open_price=price(state.open),
            high_price=price(state.high),
            low_price=price(state.low),
            pre_close_price=price(state.pre_close),
            limit_up=price(up),
            limit_down=price(down),
            bids=[(price(bid - i), self._shown(i)) for i in range(LEVELS) if bid - i >= down],
            asks=[(price(ask + i), self._shown(i)) for i in range(LEVELS) if ask + i <= up],
        )

    def _shown(self, level: int) -> float:
        return (1 + int(self._depth * (0.4 + 0.25 * level) * 2 * self._random.random())) * self._lot

    def _price(self, ticks: int) -> float:
        return round(ticks * self._tick, self._digits)


class SimFeed:
    """The random markets of several symbols, each ticking `ticks_per_second()` times a second.

    Round the clock, or with `hours` in continuous sessions only.
    """

    paced = False
    realtime = True
    needs_recorder = False

    def __init__(
        self,
        instruments: Iterable[Instrument],
        seed: int,
        clock: Clock,
        ticks_per_second: Callable[[], float],
        hours: SimHours | None = None,
    ) -> None:
        self._clock = clock
        self._hours = hours
        self._calendar = Calendar.load()
        self._rate = ticks_per_second
        self._instruments = list(instruments)
        self._seed = seed
        self._markets = [SimMarket(instrument, seed) for instrument in self._instruments]

    def restore(self, saved: dict[str, dict[str, Any]]) -> None:
        """Go on from states that `state` returned, before the feed runs."""
        self._markets = [
            SimMarket(instrument, self._seed, restored_state(saved.get(instrument.symbol)))
            for instrument in self._instruments
        ]

    def subscribe(self, symbol: str) -> None:
        """All symbols tick anyway."""

    def watermark_ns(self) -> int:
        """The present time, but for the clock's smallest steps back."""
        return self._clock.now_ns() - _CLOCK_STEP_NS

    def state(self) -> dict[str, dict[str, Any]]:
        """States to save, by symbol."""
        return {market.symbol: asdict(market.state) for market in self._markets}

    async def run(self, deliver: Callable[[Quote], bool], wait_for_capacity: Callable[[], Awaitable[None]]) -> None:
        """Tick until cancelled. All symbols tick once at first, so that there is a market at once; then in turn."""
        for market in self._markets:
            if self._is_open(market):
                deliver(self._step(market, 0.1))
        turn = 0
        due = self._clock.monotonic()
        while self._markets:
            rate = self._rate()
            due += 1 / (rate * len(self._markets))
            await wait_for_capacity()
            ahead = due - self._clock.monotonic()
            if ahead > 0:
                await asyncio.sleep(max(ahead, 0.001))
            else:
                if ahead < -1:
                    due -= ahead  # the process stood still: a market does not make good for it
                await asyncio.sleep(0)  # on a machine that is too slow for the rate, all others have their turn
            if self._is_open(self._markets[turn]):
                deliver(self._step(self._markets[turn], 1 / rate))
            turn = (turn + 1) % len(self._markets)

    def _is_open(self, market: SimMarket) -> bool:
        return self._hours is None or self._hours.state(market.symbol) is SessionState.OPEN

    def _step(self, market: SimMarket, elapsed_s: float) -> Quote:
        now_ns = self._clock.now_ns()
        return market.step(elapsed_s, now_ns, self._calendar.trading_day(market.symbol, now_ns))


def restored_state(saved: dict[str, Any] | None) -> MarketState | None:
    """A saved state, or None when there is none or it is of another version."""
    if not saved or set(saved) != set(MarketState.__dataclass_fields__):
        return None
    return MarketState(**saved)
