"""SIM put together: the exchange with its store, the gateway before it, and the feed that moves its market."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vnpy.trader.object import SubscribeRequest

from services.engine.feeds.feed import Feed, FeedSpec, SimFeedSpec
from services.engine.feeds.replay import ReplayFeed
from services.engine.feeds.sim_hours import SimHours
from services.engine.feeds.simulated import SimFeed
from services.engine.models import SimOrderRow, SimPositionRow
from services.engine.repository import EngineRepository
from services.engine.settings import EngineSettings
from services.engine.sim.exchange import TRADING_DAY_KEY, SimExchange
from services.engine.sim.gateway import SimGateway
from services.engine.sim.market import MARKET_KEY, SimMarketRunner
from services.engine.sim.order import SimOrder, position_of_row
from services.engine.sim.order_ids import KEPT, SimOrderIds
from services.engine.sim.store import SimStore
from services.engine.sim.venue import SimVenue
from services.engine.streams.tick_stream import TickStream
from services.engine.updates import Update
from services.engine.vnpy.engine import VnpyEngine
from services.engine.vnpy.mapping import split_symbol
from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.quant.catalogue import Catalogue

log = logging.getLogger(__name__)

SIM = "SIM"
BEGAN_KEY = "began_ms"


class Simulation:
    """SIM from start to stop. Nothing moves before `restore`."""

    def __init__(
        self,
        engine: VnpyEngine,
        database: Database,
        catalogue: Catalogue,
        feed: FeedSpec,
        ticks: TickStream,
        clock: Clock,
        settings: Callable[[], EngineSettings],
        serves: Callable[[str], bool],
        publish: Callable[[Sequence[Update]], None],
        report_file: Path,
        *,
        enforces_sessions: bool,
    ) -> None:
        """`serves(symbol)`: whether the symbol is traded at SIM; `publish` takes the exchange's updates once they are
        durable, `report_file` a recording's unreadable rows."""
        self._main = engine.main
        self._catalogue = catalogue
        self._ticks = ticks
        self._clock = clock
        simulated = isinstance(feed, SimFeedSpec)
        # A recording keeps its own hours.
        hours = SimHours(clock, catalogue) if simulated and enforces_sessions else None
        self.store = SimStore(database)
        self._exchange = SimExchange(SIM, catalogue, self.store, clock, settings, hours, serves)
        self._feed = _make_feed(feed, catalogue, clock, settings, hours, ticks, report_file)
        self._order_ids = SimOrderIds()
        self.gateway: SimGateway = engine.add_gateway(
            partial(SimGateway, self._exchange, self._order_ids, lambda: list(catalogue)), SIM
        )
        self._market = SimMarketRunner(
            self._feed, self._exchange, self.gateway, self.store, ticks.wait_for_capacity, serves
        )
        if isinstance(self._feed, ReplayFeed):
            self._feed.on_minute(self.gateway.pass_watermark)
        self.store.on_committed(publish)
        self.gateway.on_connection(self._market.on_connection)
        self.gateway.on_subscribe(self._feed.subscribe)
        self.venue = SimVenue(
            self.gateway,
            self._exchange,
            self.store,
            self._order_ids,
            database.repositories(EngineRepository),
        )
        self._writer: asyncio.Task[None] | None = None

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Codes of the exchanges whose instruments SIM trades."""
        return tuple(exchange.value for exchange in self.gateway.exchanges)

    @property
    def is_running(self) -> bool:
        """True when SIM can be traded with: it was restored."""
        return self._writer is not None

    def watermark_ns(self) -> int | None:
        """The exchange time that no later tick is before, but for late ones; None while there is no saying."""
        return self._market.watermark_ns()

    async def restore(self, repository: EngineRepository, state: dict[str, Any]) -> None:
        """Go on where a run before this one stopped; `state` is SIM's by key."""
        orders = await repository.list_open_sim_orders()
        positions = await repository.list_sim_positions()
        self._order_ids.restore(await repository.list_recent_sim_order_ids(KEPT))
        self._restore(orders, positions, state, await repository.last_sim_ids())

    def _restore(
        self,
        order_rows: Sequence[SimOrderRow],
        positions: Iterable[SimPositionRow],
        state: dict[str, Any],
        last_ids: tuple[int, int],
    ) -> None:
        orders = [SimOrder.of_row(row, SIM) for row in order_rows]
        # Sequences and ids grow across restarts, even when the clock goes back or the database was made anew.
        began_ms = max(self._clock.now_ns() // 1_000_000, state.get(BEGAN_KEY, 0) + 1_000)
        self.store.put_state(BEGAN_KEY, began_ms)
        self._ticks.begin(began_ms << 10)
        first_id = max(*last_ids, *(order.priority for order in orders), began_ms << 10) + 1
        self._market.restore({key.removeprefix(MARKET_KEY): value for key, value in state.items()})
        self._exchange.positions.restore(position_of_row(row, SIM) for row in positions)
        self._writer = asyncio.create_task(self.store.run(), name="engine.sim_store")
        self._exchange.restore(orders, state.get(TRADING_DAY_KEY, 0), first_id)
        if orders:
            log.info("SIM resumes with %d open orders", len(orders))

    async def run(self) -> None:
        """Save the market's state and end orders by time until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._market.save())
            tasks.create_task(self._market.expire())

    def subscribe(self, symbol: str) -> None:
        """Ask for a symbol's ticks, as any client of vnpy does."""
        code, exchange = split_symbol(symbol)
        self._main.subscribe(SubscribeRequest(symbol=code, exchange=exchange), SIM)

    def withdraw(self, symbol: str) -> None:
        """End the orders of a symbol that a real gateway serves from now on."""
        self._exchange.withdraw(symbol)

    async def drain(self) -> None:
        """Stop the market, and wait until all that was made of its orders is durable and published."""
        await self._market.stop()
        if self.is_running:
            await self.store.flushed()

    async def stop(self) -> None:
        """Save what is left."""
        await self._market.stop()
        if self._writer is not None:
            self._market.save_now()
            self._writer.cancel()
            await asyncio.wait([self._writer])
            await self.store.flush()


def _make_feed(
    spec: FeedSpec,
    catalogue: Catalogue,
    clock: Clock,
    settings: Callable[[], EngineSettings],
    hours: SimHours | None,
    ticks: TickStream,
    report_file: Path,
) -> Feed:
    if isinstance(spec, SimFeedSpec):
        return SimFeed(catalogue.listed(), spec.seed, clock, lambda: settings().sim_ticks_per_second, hours=hours)
    lateness_ns = round(settings().tick_lateness_s * 1e9)
    feed = ReplayFeed(spec, catalogue, clock, ticks.wait_for_recorder, lateness_ns, report_file)
    for symbol in feed.symbols:
        catalogue.find(symbol)  # what is recorded is listed, too
    return feed
