"""The store of the simulated exchange: changes become durable in groups, and only then are they published."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from services.engine.models import SimOrderRow, SimPositionRow, SimStateRow, SimTradeRow
from services.engine.sim.order import SimOrder
from services.engine.updates import PositionUpdate, TradeUpdate, Update
from services.kernel.data.database import Database
from services.kernel.data.writes import Write
from services.kernel.errors import Duplicate, RowRefused, Unavailable

log = logging.getLogger(__name__)

_RETRY_S = 0.2
# After a group of so many updates others are waited for: see kernel.data.group_commit.
_LOADS = ((8, 0.006), (3, 0.003))


class SimStore:
    """Gathers changes while a commit runs, and commits them as the next group.

    Updates are handed to the listeners in the order they were made, each after the commit of its change.
    """

    def __init__(self, database: Database) -> None:
        self._writer = database.writer()
        self._listeners: list[Callable[[Sequence[Update]], None]] = []
        self._order_upsert = database.upsert(SimOrderRow, ["venue_order_id"])
        self._trade_upsert = database.upsert(SimTradeRow, ["venue_trade_id"])
        self._position_upsert = database.upsert(SimPositionRow, ["symbol", "side"])
        self._state_upsert = database.upsert(SimStateRow, ["key"])
        self._orders: dict[int, SimOrder] = {}
        self._trades: list[dict[str, Any]] = []
        self._positions: dict[tuple[str, str], dict[str, Any]] = {}
        self._state: dict[str, Any] = {}
        self._updates: list[Update] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._busy = False
        self._flushed = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def on_committed(self, listener: Callable[[Sequence[Update]], None]) -> None:
        """Register a listener of updates that are durable."""
        self._listeners.append(listener)

    def order(self, order: SimOrder, update: Update) -> None:
        """An order changed."""
        self._orders[order.venue_order_id] = order
        self.publish(update)

    def trade(self, venue_trade_id: int, venue_order_id: int, trade: TradeUpdate) -> None:
        """An order was filled."""
        self._trades.append(
            {
                "venue_trade_id": venue_trade_id,
                "venue_order_id": venue_order_id,
                "order_id": trade.order_id,
                "symbol": trade.symbol,
                "side": trade.side.value,
                "position_effect": trade.position_effect.value,
                "price": trade.price,
                "quantity": trade.quantity,
                "time": trade.time,
                "trading_day": trade.trading_day,
            }
        )
        self.publish(trade)

    def position(self, position: PositionUpdate) -> None:
        """A position changed."""
        self._positions[position.symbol, position.side] = {
            "symbol": position.symbol,
            "side": position.side.value,
            "quantity": position.quantity,
            "yesterday_quantity": position.yesterday_quantity,
        }
        self.publish(position)

    def put_state(self, key: str, value: Any) -> None:
        """Keep a value under a key."""
        self._state[key] = value
        self._work.set()

    def publish(self, update: Update) -> None:
        """Publish an update once all that was written before it is durable."""
        self._updates.append(update)
        self._work.set()

    def flushed(self) -> "asyncio.Future[None]":
        """Resolves when all that was written until now is durable and published."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = self._loop.create_future()
        if self._work.is_set() or self._busy:
            self._waiting.append(future)
            self._work.set()
        else:
            future.set_result(None)
        return future

    async def run(self) -> None:
        """Commit what there is until cancelled. A database that fails is asked again: nothing is lost."""
        while True:
            await self._work.wait()
            if pause_s := next((pause_s for updates, pause_s in _LOADS if self._flushed >= updates), 0.0):
                await asyncio.sleep(pause_s)
            await self.flush()

    async def flush(self) -> None:
        """Commit and publish what has gathered."""
        self._work.clear()
        writes = self._take_writes()
        updates, self._updates = self._updates, []
        self._flushed = len(updates)
        waiting, self._waiting = self._waiting, []
        self._busy = True
        try:
            await self._commit(writes)
        except BaseException:
            _answer(waiting, Unavailable("the engine is stopping"))
            raise
        finally:
            self._busy = False
        if updates:
            for listener in self._listeners:
                listener(updates)
        _answer(waiting, None)

    async def _commit(self, writes: list[Write]) -> None:
        while writes:
            try:
                await self._writer.submit(writes)
                return
            except (Duplicate, RowRefused):
                if len(writes) == 1:
                    log.exception("SIM's database refuses a row, an internal error; it is left out")
                    return
                for write in writes:
                    await self._commit([write])
                return
            except Exception:
                log.exception("SIM's database cannot be written; it is tried again")
                await asyncio.sleep(_RETRY_S)

    def _take_writes(self) -> list[Write]:
        writes: list[Write] = [(self._order_upsert, o.row()) for o in self._orders.values()]
        writes += [(self._trade_upsert, row) for row in self._trades]
        writes += [(self._position_upsert, row) for row in self._positions.values()]
        writes += [(self._state_upsert, {"key": key, "value": value}) for key, value in self._state.items()]
        self._orders, self._trades, self._positions, self._state = {}, [], {}, {}
        return writes


def _answer(waiting: list["asyncio.Future[None]"], error: Exception | None) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
