"""Five-level ticks of one symbol for benches, as batches: numbered, and stamped with the time of sending."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.quant.calendar import Calendar
from services.quant.ticks.frames import frame

SYMBOL = "IF2101.CFFEX"
BURST = 256
"""Ticks that a burst hands on at once, as an engine does whose reader is behind."""


class TickSource:
    """`count` ticks at `rate` a second, or as fast as they are taken (0). `pre_close_price` is when a tick was sent."""

    def __init__(self, count: int, rate: float) -> None:
        self.count = count
        self._rate = rate
        self._wall_ns = time.time_ns()
        levels, day = [3500.0 + n for n in range(5)], Calendar.load().trading_day(SYMBOL, self._wall_ns)
        self._fixed = pb.Tick(
            symbol=SYMBOL, last_price=3500, last_quantity=3, turnover=1e9, open_interest=5e5, open_price=3490,
            high_price=3510, low_price=3480, limit_up=3800, limit_down=3200, bid_prices=levels, bid_quantities=levels,
            ask_prices=levels, ask_quantities=levels, trading_day=day, gateway="SIM",
        ).SerializeToString()  # fmt: skip
        self._prepared: list[bytes] = []
        if not rate:
            # What an engine takes to encode ticks is another bench's figure.
            for first in range(1, count + 1, BURST):
                self._prepared.append(b"".join(map(self.tick, range(first, min(first + BURST, count + 1)))))

    def tick(self, number: int) -> bytes:
        """The frame of a tick."""
        # Fields in any order are one message (protobuf's encoding guide), so the rest is appended.
        fresh: dict[str, Any] = {"time_ns": self._wall_ns + number, "sequence": number, "volume": number}
        return frame(self._fixed + pb.Tick(pre_close_price=time.perf_counter_ns(), **fresh).SerializeToString())

    async def batches(self) -> AsyncIterator[bytes]:
        """The ticks, when they are due."""
        for batch in self._prepared:
            yield batch
            await asyncio.sleep(0)
        started, sent = time.perf_counter(), 0
        while self._rate and sent < self.count:
            due = min(int((time.perf_counter() - started) * self._rate) + 1, self.count)
            if due <= sent:
                # uvloop's shortest: for less than a millisecond it asks again at once, at a core's cost.
                await asyncio.sleep(0.001)
                continue
            yield b"".join(map(self.tick, range(sent + 1, due + 1)))
            sent = due
