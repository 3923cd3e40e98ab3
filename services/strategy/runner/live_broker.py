"""A strategy's orders on the live platform: sent in the order they were given, each exactly once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.clock import Clock
from services.kernel.errors import DeadlineExceeded, Internal, NotFound, RedFireError, Unauthenticated, Unavailable
from services.kernel.identifiers import new_id
from services.kernel.rpc.client import answer
from services.quant.sdk.broker import OrderRequest
from services.quant.sdk.events import (
    EXCHANGE_TIME,
    Bar,
    Instrument,
    Interval,
    Order,
    OrderState,
    Tick,
    Trade,
)
from services.strategy.runner.connections import Access, Connections
from services.strategy.runner.convert import order_from_pb, order_request_to_pb
from services.strategy.runner.history import History
from services.strategy.runner.recent_keys import RecentKeys

_TIMEOUT_S = 5.0
_PAUSE_S = 0.2
# How long an order is worth sending when trading does not answer: after that its moment is over.
_WORTH_S = 5.0
_NOTHING = 1e-9
_OUTCOME_UNKNOWN = (Unavailable, DeadlineExceeded, Internal)


class LiveBroker:
    """The broker of one strategy."""

    live = True

    def __init__(
        self,
        strategy_id: str,
        account_id: str,
        instrument: Instrument,
        connections: Connections,
        access: Access,
        clock: Clock,
        *,
        on_order: Callable[[Order], None],
        on_log: Callable[[str, str], None],
        on_change: Callable[[], None],
        alive: Callable[[], None],
    ) -> None:
        """`alive` is called while a strategy blocks its worker's loop by loading its history."""
        self.instrument = instrument
        self._strategy_id = strategy_id
        self._account_id = account_id
        self._connections = connections
        self._access = access
        self._clock = clock
        self._on_order = on_order
        self._on_log = on_log
        self._on_change = on_change
        self._history = History(connections, access, instrument.symbol, clock, alive)
        self._open: dict[str, Order] = {}
        self._client_ids: RecentKeys[str] = RecentKeys()
        self._cancelling: set[str] = set()
        # Filled quantity of orders less that of trades: updates of an order and of its trades come one by one.
        self._owed: dict[str, float] = {}
        self._outgoing: asyncio.Queue[pb.CreateOrderRequest | str] = asyncio.Queue()

    # What strategies do.

    def now(self) -> datetime:
        """The time, in the exchanges' zone."""
        return self._clock.now().astimezone(EXCHANGE_TIME)

    def send(self, request: OrderRequest) -> str:
        """Put an order in the queue; its id is chosen here, so that sending it twice makes one order."""
        client_order_id = new_id()
        made = order_request_to_pb(request, self.instrument, client_order_id, self._account_id, self._strategy_id)
        self._open[client_order_id] = Order(
            client_order_id,
            self.instrument.symbol,
            request.side,
            request.effect,
            request.kind,
            float(made.quantity),
            float(made.price or made.stop_price or 0),
            OrderState.PENDING_NEW,
            time=self.now(),
        )
        self._outgoing.put_nowait(made)
        return client_order_id

    def cancel(self, client_order_id: str) -> None:
        """Put a cancel in the queue, behind the order itself."""
        if client_order_id in self._open and client_order_id not in self._cancelling:
            self._cancelling.add(client_order_id)
            self._outgoing.put_nowait(client_order_id)

    def cancel_all(self) -> None:
        """Cancel all open orders of the strategy."""
        for client_order_id in list(self._open):
            self.cancel(client_order_id)

    def load_bars(self, days: float, interval: Interval) -> Sequence[Bar]:
        """Closed bars of the last days, oldest first."""
        return self._history.bars(days, interval)

    def load_ticks(self, days: float) -> Sequence[Tick]:
        """Ticks of the last days, oldest first."""
        return self._history.ticks(days)

    def log(self, message: str, level: str = "INFO") -> None:
        """Write a line into the strategy's log."""
        self._on_log(level, message)

    def changed(self) -> None:
        """Show the variables anew."""
        self._on_change()

    # What the runner does.

    def learn(self, order: Order) -> bool:
        """An order's state came from the platform; False when it says nothing new."""
        known_before = order.order_id in self._client_ids
        self._client_ids[order.order_id] = order.client_order_id
        known = self._open.get(order.client_order_id)
        if known is None and known_before and not order.is_open:
            return False
        if known is not None and known.order_id and (known.state, known.filled) == (order.state, order.filled):
            return False
        if known is not None:
            self._owe(order.client_order_id, order.filled - known.filled)
        if order.is_open:
            self._open[order.client_order_id] = order
        else:
            self._open.pop(order.client_order_id, None)
            self._cancelling.discard(order.client_order_id)
        return True

    def traded(self, trade: Trade) -> None:
        """A trade came from the platform."""
        self._owe(trade.client_order_id, -trade.quantity)

    @property
    def settled(self) -> bool:
        """True if no order is open and all trades of those that ended have come."""
        return not self._open and not self._owed

    def client_order_id(self, order_id: str) -> str | None:
        """The strategy's id of an order, when it has been seen."""
        return self._client_ids.get(order_id)

    def open_orders(self) -> list[Order]:
        """Orders that may still be filled, as far as is known."""
        return list(self._open.values())

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            item = await self._outgoing.get()
            try:
                if isinstance(item, str):
                    await self._cancel(item)
                else:
                    await self._create(item)
            finally:
                self._outgoing.task_done()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all that is queued was sent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._outgoing.join()

    async def _create(self, request: pb.CreateOrderRequest) -> None:
        client_order_id = request.client_order_id
        end = self._clock.monotonic() + _WORTH_S
        while True:
            try:
                call = self._connections.orders.CreateOrder(request, timeout=_TIMEOUT_S, metadata=self._access.metadata)
                self._accepted((await answer(call)).order)
                return
            except _OUTCOME_UNKNOWN as error:
                # The same id again: at most one order comes of it, however many times it is asked for.
                self._on_log("WARNING", f"trading does not answer: {error.message}; the order is tried again")
            except Unauthenticated:
                await self._access.wait_for_renewal(_PAUSE_S)
            except RedFireError as error:
                self._refused(client_order_id, f"{error.reason.value} {error.message}")
                return
            if self._clock.monotonic() > end:
                break
            await asyncio.sleep(_PAUSE_S)
        await self._look_up(client_order_id)

    async def _look_up(self, client_order_id: str) -> None:
        """Ask whether an order exists until it is known: a strategy must not send another meanwhile."""
        request = pb.LookupOrderRequest(client_order_id=client_order_id, account_id=self._account_id)
        while True:
            try:
                call = self._connections.orders.LookupOrder(request, timeout=_TIMEOUT_S, metadata=self._access.metadata)
                self._accepted((await answer(call)).order)
                return
            except NotFound:
                self._refused(client_order_id, "trading did not answer")
                return
            except RedFireError:
                await self._access.wait_for_renewal(_PAUSE_S * 5)

    async def _cancel(self, client_order_id: str) -> None:
        order = self._open.get(client_order_id)
        if order is None or not order.order_id:
            self._cancelling.discard(client_order_id)
            return
        request = pb.CancelOrderRequest(order_id=order.order_id)
        try:
            call = self._connections.orders.CancelOrder(request, timeout=_TIMEOUT_S, metadata=self._access.metadata)
            await answer(call)
        except RedFireError as error:
            # Finished meanwhile, or not reached: a later cancel asks again.
            self._cancelling.discard(client_order_id)
            if isinstance(error, _OUTCOME_UNKNOWN):
                self._on_log("WARNING", f"an order could not be cancelled: {error.message}")

    def _owe(self, client_order_id: str, quantity: float) -> None:
        owed = self._owed.pop(client_order_id, 0.0) + quantity
        if abs(owed) > _NOTHING:
            self._owed[client_order_id] = owed

    def _accepted(self, order: object) -> None:
        made = order_from_pb(order)  # type: ignore[arg-type]
        self._client_ids[made.order_id] = made.client_order_id
        known = self._open.get(made.client_order_id)
        if known is not None and not known.order_id:
            # Its id, so that it can be cancelled; its state comes by the stream, in the right order.
            self._open[made.client_order_id] = replace(known, order_id=made.order_id)

    def _refused(self, client_order_id: str, reason: str) -> None:
        order = self._open.pop(client_order_id, None)
        self._cancelling.discard(client_order_id)
        if order is not None:
            self._on_log("WARNING", f"order refused: {reason}")
            self._on_order(replace(order, state=OrderState.REJECTED, reason=reason))
