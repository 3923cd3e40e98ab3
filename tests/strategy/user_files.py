"""Strategies of users, good and bad, as files."""

GOOD = '''
from services.strategy import BaseStrategy, Tick, Trade


class Counter(BaseStrategy):
    """Buys one at the third tick."""

    parameters = ["quantity", "note"]
    variables = ["ticks", "trades", "note_seen"]
    quantity = 1
    note = "x"
    ticks = 0
    trades = 0
    note_seen = ""
    bar_seconds = 0

    async def on_tick(self, tick: Tick) -> None:
        self.ticks += 1
        self.note_seen = self.note
        if self.ticks == 3:
            await self.buy(tick.ask, self.quantity)
        self.put_event()

    async def on_trade(self, trade: Trade) -> None:
        self.trades += 1
        self.write_log(f"position {self.position:g}")


class Rester(BaseStrategy):
    """Leaves an order far from the market."""

    bar_seconds = 0
    sent = ""

    async def on_tick(self, tick: Tick) -> None:
        if not self.sent:
            self.sent = await self.buy(tick.bid - 100, 1)
'''

BAD = """
import os
import time

from services.strategy import BaseStrategy, Tick


class Raiser(BaseStrategy):
    async def on_tick(self, tick: Tick) -> None:
        await self.buy(tick.bid - 100, 1)
        raise ValueError("no such luck")


class Blocker(BaseStrategy):
    async def on_tick(self, tick: Tick) -> None:
        time.sleep(60)


class Exiter(BaseStrategy):
    async def on_tick(self, tick: Tick) -> None:
        os._exit(3)


class PoliteExiter(BaseStrategy):
    async def on_tick(self, tick: Tick) -> None:
        raise SystemExit(1)
"""
