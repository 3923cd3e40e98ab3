"""The venues of all gateways but SIM: made from the settings, restored, and run until stop."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial

from services.engine.repository import EngineRepository
from services.engine.settings import EngineSettings
from services.engine.updates import Update
from services.engine.vnpy.engine import VnpyEngine
from services.engine.vnpy.gateways import Gateways
from services.engine.vnpy.venue import VnpyVenue
from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.quant.calendar import Calendar

# What a venue sends again after a login is of its trading day, which lasts from Friday's night to Monday.
_DAYS_KEPT = timedelta(days=4)
_FLUSH_S = 1.0


class VnpyVenues:
    """Venues by the name of their gateway. All of them number their trades from one sequence."""

    def __init__(
        self,
        engine: VnpyEngine,
        settings: EngineSettings,
        database: Database,
        clock: Clock,
        calendar: Calendar,
        gateways: Gateways,
        publish: Callable[[Update], None],
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._trade_numbers: Iterator[int] = itertools.count(1)
        self._venues = {
            name: VnpyVenue(
                engine.main,
                name,
                database,
                clock,
                calendar,
                lambda: next(self._trade_numbers),
                settings.send_timeout_s,
                gateway_settings.limit_only,
                publish,
                partial(gateways.report_error, name),
                partial(gateways.last_log, name),
            )
            for name, gateway_settings in settings.gateways.items()
        }
        for name, gateway_settings in settings.gateways.items():
            gateways.add(name, self._venues[name], simulated=False, exchanges=(), settings=gateway_settings)

    @property
    def by_name(self) -> Mapping[str, VnpyVenue]:
        """All venues."""
        return self._venues

    async def restore(self, repository: EngineRepository, seen_ns: Mapping[str, int]) -> None:
        """Go on where a run before this one stopped; `seen_ns` is when each gateway was last seen connected."""
        since = self._clock.now() - _DAYS_KEPT
        orders = await repository.list_gateway_orders(since)
        first = self._calendar.chinese_trading_day(int(since.timestamp() * 1e9))
        trades = await repository.list_recent_gateway_trades(list(self._venues), first)
        self._trade_numbers = itertools.count(await repository.last_gateway_trade() + 1)
        for name, venue in self._venues.items():
            venue.restore(orders, trades, seen_ns.get(name, 0))

    async def run(self) -> None:
        """Write and publish the reports of all of them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for venue in self._venues.values():
                tasks.create_task(venue.reports.run())

    async def drain(self) -> None:
        """Wait a moment until the reports that came are written and published."""
        for venue in self._venues.values():
            await venue.reports.flushed(_FLUSH_S)

    async def stop(self) -> None:
        """End the calls that run."""
        for venue in self._venues.values():
            await venue.stop()
