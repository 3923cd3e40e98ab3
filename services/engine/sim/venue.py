"""SIM as the engine's service sees it: like any gateway, but with exact answers."""

from decimal import Decimal
from typing import Any

from redfire.reasons import Reason

from services.engine.repository import EngineRepository, row_number
from services.engine.sim.exchange import SimExchange
from services.engine.sim.gateway import SimGateway
from services.engine.sim.order import SimOrder, position_of_row, trade_of_row
from services.engine.sim.order_ids import SimOrderIds
from services.engine.sim.store import SimStore
from services.engine.updates import OrderRequest, VenueState
from services.kernel.data.repositories import Repositories
from services.kernel.errors import NotFound

TRADES_PAGE = 2_000


class SimVenue:
    """Orders at SIM. Its answers are durable."""

    def __init__(
        self,
        gateway: SimGateway,
        exchange: SimExchange,
        store: SimStore,
        order_ids: SimOrderIds,
        repositories: Repositories[EngineRepository],
    ) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._store = store
        self._order_ids = order_ids
        self._repositories = repositories

    async def sent_before(self, order_id: str) -> str:
        """SIM's id of an order that it has or had."""
        known = self._order_ids.find(order_id)
        if known is None and self._order_ids.may_be_older(order_id):
            row = await self._find_row(order_id)
            known = None if row is None else row.venue_order_id
        return "" if known is None else str(known)

    def is_sending(self, order_id: str) -> bool:
        """Never: SIM has an order at once."""
        return False

    def settle(self) -> None:
        """Do nothing: SIM sends all it has at once."""

    def cut(self) -> None:
        """Do nothing: SIM's orders stay as they are."""

    def renew(self) -> None:
        """Do nothing: SIM is not made anew."""

    async def send(self, request: OrderRequest) -> str:
        """SIM's id of the order, once it is in the database."""
        known = self._order_ids.find(request.order_id)
        if known is None and self._order_ids.may_be_older(request.order_id):
            row = await self._find_row(request.order_id)
            if row is not None:
                return str(row.venue_order_id)
        if not self._gateway.connected:
            return ""
        venue_order_id = self._gateway.place(request)
        await self._store.flushed()
        return str(venue_order_id)

    async def cancel(self, order_id: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a cancel; a finished order's end is published once more."""
        order = await self._find(order_id, venue_order_id)
        if order.status.is_open:
            self._exchange.cancel(order.venue_order_id)
        else:
            self._store.publish(order.update())

    async def amend(self, order_id: str, venue_order_id: str, quantity: Decimal | None, price: Decimal | None) -> None:
        """Change an order in place; a finished order's end is published once more, as a refusal of the amendment."""
        order = await self._find(order_id, venue_order_id)
        if not self._exchange.amend(order.venue_order_id, quantity, price):
            self._store.publish(
                order.update(amend_rejected=True, reason=Reason.ORDER_NOT_OPEN, message="the order is finished")
            )

    async def state(self, order_ids: list[str], trades_cursor: str = "") -> VenueState:
        """State of SIM in the database."""
        await self._store.flushed()
        async with self._repositories.read() as repository:
            rows = {row.venue_order_id: row for row in await repository.list_open_sim_orders()}
            # Nearly all that is asked for is open, and read already.
            open_ids = {row.order_id for row in rows.values()}
            asked = [order_id for order_id in order_ids if order_id not in open_ids]
            rows.update((row.venue_order_id, row) for row in await repository.list_sim_orders(asked))
            day, after = self._exchange.trading_day, row_number(trades_cursor)
            of_day = list(await repository.list_sim_trades_of_day(day, after, TRADES_PAGE + 1))
            more, of_day = len(of_day) > TRADES_PAGE, of_day[:TRADES_PAGE]
            trades = {row.venue_trade_id: row for row in [*of_day, *await repository.list_sim_trades(rows)]}
            # Of the same moment: the exchange's own have moved on since.
            positions = await repository.list_sim_positions()
        return VenueState(
            orders=[SimOrder.of_row(row, self._name).update() for row in rows.values()],
            trades=[trade_of_row(row, self._name) for _, row in sorted(trades.items())],
            positions=[position_of_row(row, self._name) for row in positions if row.quantity],
            trading_day=day,
            complete=self._gateway.connected,
            trades_cursor=str(of_day[-1].venue_trade_id) if of_day else trades_cursor,
            more_trades=more,
        )

    @property
    def _name(self) -> str:
        return str(self._gateway.gateway_name)

    async def _find(self, order_id: str, venue_order_id: str) -> SimOrder:
        number = row_number(venue_order_id) or self._order_ids.find(order_id)
        order = None if number is None else self._exchange.find(number)
        if order is not None:
            return order
        await self._store.flushed()
        row = await self._find_row(order_id, number or 0)
        if row is None:
            raise NotFound("order", order_id)
        return SimOrder.of_row(row, self._name)

    async def _find_row(self, order_id: str, venue_order_id: int = 0) -> Any:
        async with self._repositories.read() as repository:
            return await repository.find_sim_order(order_id=order_id, venue_order_id=venue_order_id)
