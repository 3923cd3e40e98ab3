"""Actions of the market, the venue, the lines and the machine."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D

from redfire.common.v1 import common_pb2 as common

from tests.trading.model.base import Base
from tests.trading.model.exchange import CLOSES, GATEWAYS, LISTINGS, SYMBOLS, VenueOrder, VenueTrade
from tests.trading.model.line import BAD, GOOD

SHANGHAI = timedelta(hours=8)


class World(Base):
    """Operations that nobody asked for."""

    kill_at: int
    kill_moment: str
    writes_to_fail: int

    async def price(self, a: int, b: int) -> None:
        """Prices move."""
        symbol = SYMBOLS[a % len(SYMBOLS)]
        tick = int(LISTINGS[symbol].price_tick)
        self.venue.market.price(symbol, self.venue.market.prices[symbol] + (b % 13 - 6) * tick)

    async def fill(self, a: int, b: int) -> None:
        """The venue trades some of an order."""
        orders = [order for order in self.venue.exchange.orders.values() if order.is_open]
        orders = [order for order in orders if self.venue.is_trading(order.symbol)]
        if orders:
            order = orders[a % len(orders)]
            whole = b % 3 == 0
            self.venue.fill(order, order.leaves if whole else D(1 + b % 2))

    async def venue_ends(self, a: int, b: int) -> None:
        """The venue ends an order by itself."""
        orders = [order for order in self.venue.exchange.orders.values() if order.is_open]
        if orders:
            order = orders[a % len(orders)]
            self.venue.end(order, (common.ORDER_STATUS_CANCELED, common.ORDER_STATUS_EXPIRED)[b % 2])

    async def foreign(self, a: int, b: int) -> None:
        """Trade of another client on our connection."""
        symbol = SYMBOLS[a % len(SYMBOLS)]
        order = VenueOrder(
            "", self.venue.exchange.next_id("x"), LISTINGS[symbol].gateway, symbol, 1 + b % 2, common.ORDER_TYPE_LIMIT,
            common.TIME_IN_FORCE_DAY, common.POSITION_EFFECT_OPEN, D(2), D(self.venue.market.prices[symbol]),
        )  # fmt: skip
        self.venue.exchange.accept(order)
        self.venue.report_order(order)
        if b % 3 == 0:
            self.venue.fill(order, D(1 + b % 2))

    async def bust(self, a: int, b: int) -> None:
        """The venue takes one of the day's trades back, or corrects it."""
        trades = [trade for trade in self.venue.exchange.trades if self._may_bust(trade)]
        if trades:
            trade = trades[a % len(trades)]
            self.venue.bust(trade, corrects=b % 2 == 1 and not trade.corrected)

    def _may_bust(self, trade: VenueTrade) -> bool:
        """Return whether what it opened is still there, in the account and at the venue."""
        exchange = self.venue.exchange
        if trade.busted or trade.trading_day != exchange.trading_day or not exchange.orders[trade.venue_order_id].owner:
            return False
        order = exchange.orders[trade.venue_order_id]
        intent = self.by_order.get(order.owner)
        if order.is_open or intent is None:
            return False
        if trade.effect in CLOSES:
            return True
        # What was opened by it must not be on its way to be closed: then it would be missing, here and there.
        if any(
            one.account_id == order.account_id
            and one.request.symbol == trade.symbol
            and (one.close or one.request.position_effect in CLOSES)
            for one in self.intents.values()
        ):
            return False
        holding = exchange.holding(trade.symbol, exchange.held_side(order))
        return holding.today - holding.frozen_today >= trade.quantity

    async def day(self, a: int) -> None:
        """The clock goes on: to the afternoon's end, to the night session, or to the next morning."""
        for _ in range(100):  # no request is on its way for hours
            if not self.venue.line.in_flight:
                break
            await asyncio.sleep(0.01)
        local = self.clock.now() + SHANGHAI
        target = local.replace(hour=(15, 21, 9, 9)[a % 4], minute=(10, 5, 5, 5)[a % 4], second=0, microsecond=0)
        while target <= local or target.weekday() > 4:
            target += timedelta(days=1)
        self.clock.advance((target - local).total_seconds())
        self.venue.time_has_passed()

    async def line(self, a: int, b: int) -> None:
        """A gateway is cut from its venue for a while."""
        name = GATEWAYS[a % len(GATEWAYS)]
        if not self.venue.line.up or not self.venue.connected[name]:
            return
        self.venue.connect(name, False)

        async def again() -> None:
            await asyncio.sleep(self.rng.choice([0.05, 1.0, 8.0]))
            if not self.venue.connected[name]:
                self.venue.connect(name, True)

        self.platform.spawn(again())

    async def faults(self, a: int) -> None:
        """The lines get bad, or good."""
        self.venue.line.faults = BAD if a % 3 else GOOD

    async def streams(self) -> None:
        """The engine's event stream breaks."""
        self.venue.line.drop_streams()

    async def engine(self, a: int) -> None:
        """The engine stops for a while; its exchange does not."""
        if self.venue.line.up:
            self.venue.line.stop()
            self._start_engine()

    async def engine_forgets(self) -> None:
        """The engine dies with the next order it sends, before it wrote down which one that is at the venue."""
        self.venue.forgets_next = True

    def _start_engine(self) -> None:
        async def again() -> None:
            await asyncio.sleep(self.rng.choice([0.05, 1.0, 8.0]))
            if not self.venue.line.up:
                self.venue.line.start()

        self.platform.spawn(again())

    # What happens to trading

    async def kill(self, a: int) -> None:
        """Trading is killed, so many callbacks from now."""
        self.kill_at = self.loop.steps + a

    async def kill_at_commit(self, a: int) -> None:
        """Trading is killed just before or after the next commit."""
        self.kill_moment = ("before commit", "after commit")[a % 2]

    async def write_fails(self, a: int) -> None:
        """The next transactions cannot be written."""
        self.writes_to_fail = 1 + a % 2
