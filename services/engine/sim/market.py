"""Runs the feed of the simulated exchange: quotes go to the matching first, then to the gateway as ticks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from services.engine.feeds.feed import Feed
from services.engine.feeds.quote import Quote
from services.engine.feeds.simulated import SimFeed
from services.engine.sim.exchange import SimExchange
from services.engine.sim.gateway import SimGateway
from services.engine.sim.store import SimStore

log = logging.getLogger(__name__)

MARKET_KEY = "market:"
_SAVE_EVERY_S = 5.0
_EXPIRE_EVERY_S = 0.25
_RETRY_S = 1.0


class SimMarketRunner:
    """The market's clockwork. While the gateway is disconnected the market stands still, and so do the orders."""

    def __init__(
        self,
        feed: Feed,
        exchange: SimExchange,
        gateway: SimGateway,
        store: SimStore,
        wait_for_readers: Callable[[bool], Awaitable[None]],
        serves: Callable[[str], bool] = lambda symbol: True,
    ) -> None:
        """`wait_for_readers(needs_recorder)` returns when the ticks' readers can take more of a replay.

        `serves(symbol)`: whether the symbol is traded here, and at no other gateway.
        """
        self._feed = feed
        self._exchange = exchange
        self._gateway = gateway
        self._store = store
        self._wait_for_readers = wait_for_readers
        self._serves = serves
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.ended = False

    def restore(self, saved: dict[str, dict[str, Any]]) -> None:
        """Let simulated prices go on where they stood, by symbol."""
        if isinstance(self._feed, SimFeed):
            self._feed.restore(saved)

    def on_connection(self, connected: bool) -> None:
        """The gateway is connected, or not any more."""
        if connected:
            self._connected.set()
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="engine.feed")
        else:
            self._connected.clear()

    async def save(self) -> None:
        """Save simulated prices every few seconds, so that they go on from there after a restart."""
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            self.save_now()

    def save_now(self) -> None:
        """Save the state of simulated prices."""
        if isinstance(self._feed, SimFeed):
            for symbol, state in self._feed.state().items():
                self._store.put_state(MARKET_KEY + symbol, state)

    async def expire(self) -> None:
        """GTD orders end at their time whether the market moves or not."""
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            if self._connected.is_set():
                self._exchange.expire()

    async def stop(self) -> None:
        """End the feed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (error := self._task.exception()):
                log.error("the feed failed", exc_info=error)

    async def _run(self) -> None:
        while True:
            try:
                await self._feed.run(self._deliver, self._wait_for_capacity)
            except Exception:
                log.exception("the feed failed")
                if self._feed.realtime:
                    await asyncio.sleep(_RETRY_S)
                    continue
                # A recording is not played twice: its readers would see time go back.
            self.ended = True
            self._gateway.feed_ended()
            return

    def watermark_ns(self) -> int | None:
        """The exchange time that no later tick is before, but for late ones; None while there is no saying."""
        return self._feed.watermark_ns()

    def _deliver(self, quote: Quote) -> bool:
        if not self._serves(quote.symbol):
            return False
        try:
            self._exchange.quote(quote)
        except Exception:
            log.exception("SIM cannot match by a quote of %s", quote.symbol)
        self._gateway.market(quote)
        return True

    async def _wait_for_capacity(self) -> None:
        if not self._connected.is_set():
            await self._connected.wait()
        if not self._feed.realtime:
            await self._wait_for_readers(self._feed.paced and self._feed.needs_recorder)
