"""The simulated feed: a seeded random market of the catalogue's symbols; it closes only where hours are kept."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

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

LEAST_PAUSE_S = 0.004
"""Ticks come together rather than with shorter pauses: each wakes everybody who is on their way."""
LONGEST_TURN_S, MOST_IN_TURN = 0.002, 64
"""After so long, and so many, ticks that are due wait for the loop's next turn."""


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


class _Prices(dict[int, float]):
    """The price of each number of ticks, computed once."""

    def __init__(self, instrument: Instrument) -> None:
        super().__init__()
        self._tick = float(instrument.price_tick)
        self._digits = max(0, -int(instrument.price_tick.normalize().as_tuple().exponent))

    def __missing__(self, ticks: int) -> float:
        price = self[ticks] = round(ticks * self._tick, self._digits)
        return price


class _Walk(NamedTuple):
    """Movement of the fair price in a span of time."""

    elapsed_s: float
    fade: float
    jitter: float
    step: float
    back: float

    @classmethod
    def over(cls, elapsed_s: float) -> "_Walk":
        fade = math.exp(-elapsed_s / _JITTER_RETURN_S)
        jitter = _JITTER * math.sqrt(1 - fade * fade)
        step = _WALK_PER_ROOT_SECOND * math.sqrt(elapsed_s)
        return cls(elapsed_s, fade, jitter, step, min(1.0, elapsed_s / _WALK_RETURN_S))


class SimMarket:
    """One symbol's random market."""

    def __init__(self, instrument: Instrument, seed: int, state: MarketState | None = None) -> None:
        self.symbol = instrument.symbol
        look = instrument.simulated or SimulatedMarket(price=instrument.price_tick * 5000)
        self._tick = float(instrument.price_tick)
        self._prices = _Prices(instrument)
        self._walk = _Walk.over(0.1)
        self._size = float(instrument.contract_size)
        self._lot = float(max(instrument.min_quantity, instrument.quantity_step))
        self._depth = look.depth
        # Most that a level shows, less one lot: more, the farther from the market it is.
        self._shown = [look.depth * (0.4 + 0.25 * level) * 2 for level in range(LEVELS)]
        self._limit_ratio = float(instrument.price_limit_ratio)
        self._base = round(look.price / instrument.price_tick)
        self.state = state or MarketState(
            last=self._base, pre_close=self._base, open_interest=look.open_interest, walk=0.0
        )
        # The count of steps goes into the seed: a market that goes on does not repeat what it did.
        self._random = random.Random(f"{seed}:{self.symbol}:{self.state.steps}")  # noqa: S311 - a market, not a secret # nosec B311

    def step(self, elapsed_s: float, now_ns: int, trading_day: int) -> Quote:
        """The market after `elapsed_s` more seconds."""
        state, chance = self.state, self._random
        state.steps += 1
        state.last_ns = max(now_ns, state.last_ns + 1_000)
        first = state.trading_day != trading_day
        if first:
            self._begin_day(trading_day)
        if elapsed_s != self._walk.elapsed_s:
            self._walk = _Walk.over(elapsed_s)
        walk = self._walk
        state.jitter = state.jitter * walk.fade + walk.jitter * chance.gauss(0, 1)
        state.walk += walk.step * chance.gauss(0, 1)
        state.walk -= state.walk * walk.back
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
        state, price, lot, chance = self.state, self._prices, self._lot, self._random.random
        return Quote(
            symbol=self.symbol,
            time_ns=state.last_ns,
            trading_day=state.trading_day,
            last_price=price[state.last],
            last_quantity=quantity * lot,
            volume=state.volume * lot,
            turnover=round(state.turnover, 2),
            open_interest=state.open_interest * lot,
            open_price=price[state.open],
            high_price=price[state.high],
            low_price=price[state.low],
            pre_close_price=price[state.pre_close],
            limit_up=price[up],
            limit_down=price[down],
            bids=[
                (price[bid - i], (1 + int(most * chance())) * lot)
                for i, most in enumerate(self._shown)
                if bid - i >= down
            ],
            asks=[
                (price[ask + i], (1 + int(most * chance())) * lot)
                for i, most in enumerate(self._shown)
                if ask + i <= up
            ],
        )


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
            step_s = 1 / (rate * len(self._markets))
            due += step_s
            await wait_for_capacity()
            ahead = due - self._clock.monotonic()
            if ahead > 0:
                await asyncio.sleep(max(ahead, LEAST_PAUSE_S))
            else:
                if ahead < -1:
                    due -= ahead  # the process stood still: a market does not make good for it
                await asyncio.sleep(0)  # on a machine that is too slow for the rate, all others have their turn
            # And those that became due in the meantime: at an exchange, too, ticks come several at once.
            began = self._clock.monotonic()
            for _ in range(MOST_IN_TURN):
                if self._is_open(self._markets[turn]):
                    deliver(self._step(self._markets[turn], 1 / rate))
                turn = (turn + 1) % len(self._markets)
                if due + step_s > began or self._clock.monotonic() - began > LONGEST_TURN_S:
                    break
                due += step_s

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
