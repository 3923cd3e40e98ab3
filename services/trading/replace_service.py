"""Replacing orders: in place where the venue can, else the old one is canceled first; never are two live."""

import asyncio
import logging
from dataclasses import dataclass, replace
from decimal import Decimal

from redfire.enums import OrderStatus, OrderType
from redfire.reasons import Reason

from services.kernel.audit.draft import describe
from services.kernel.decimals import plain
from services.kernel.errors import Invalid, RedFireError, ShardMoved
from services.kernel.tasks import Tasks
from services.trading.domain.money import ZERO
from services.trading.domain.order import LIMIT_TYPES, STOP_TYPES, NewOrder, Order, ReplaceStep
from services.trading.domain.order_states import move
from services.trading.domain.pre_trade_checks import InsufficientFunds, InsufficientPosition, PreTradeChecks
from services.trading.domain.replacement import abandon_replacement
from services.trading.emulation.stops import Stops
from services.trading.peers.engine_client import EngineClient
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskClient
from services.trading.service import OrderNotOpen
from services.trading.state.store import TradingStore
from services.trading.venue.order_router import REFUSALS

log = logging.getLogger(__name__)
_DESCRIBED = "quantity", "price", "stop_price"
_WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True)
class ReplaceRequest:
    """The values that an order shall have; None: as it is."""

    quantity: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None


class ReplaceService:
    """Gives open orders other values."""

    def __init__(
        self,
        store: TradingStore,
        instruments: Instruments,
        quotes: Quotes,
        pre_trade_checks: PreTradeChecks,
        risk: RiskClient,
        stops: Stops,
        engine: EngineClient,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._instruments = instruments
        self._quotes = quotes
        self._pre_trade_checks = pre_trade_checks
        self._risk = risk
        self._stops = stops
        self._engine = engine
        self._tasks = tasks

    async def replace_order(self, user_id: str, order_id: str, request: ReplaceRequest) -> Order:
        """Change an open order to the requested values; these again change nothing.

        Waits for an order that is not confirmed yet, as long as the caller does. Raises NotFound, OrderNotOpen,
        Invalid for values that this order cannot have, and what refuses a new order.
        """
        while True:
            self._store.require_open(user_id)
            order = await self._store.get_order(user_id, order_id)
            order = self._store.cache.find_order(order_id) or order
            if not order.is_open or order.status is OrderStatus.PENDING_CANCEL:
                raise OrderNotOpen(f"the order is {order.status.name}", status=order.status.name)
            if self._has_values(order, request):
                return order
            if order.is_held or (order.status in _WORKING and order.replace_step is ReplaceStep.NONE):
                break
            await self._store.changed(order_id)
        new = self._with(order, request)
        self._require_own_quantity(order, new)
        await self._check(order, new)
        # Risk was awaited: look again.
        self._store.require_open(user_id)
        current = self._store.cache.orders.get(order_id)
        if current is None or not (current.is_held or current.status in _WORKING):
            raise OrderNotOpen
        order = current
        values = (
            {"quantity": each.quantity, "price": each.price, "stop_price": each.stop_price} for each in (order, new)
        )
        describe(f"orders/{order_id}", before=next(values), after=next(values))
        if order.is_held:
            return await self._replace_held(order, new)
        return await self._replace_at_venue(order, new)

    @staticmethod
    def _has_values(order: Order, request: ReplaceRequest) -> bool:
        quantity = order.quantity if order.pending_quantity is None else order.pending_quantity
        price = order.price if order.pending_price is None else order.pending_price
        return (
            request.quantity in (None, quantity)
            and request.price in (None, price)
            and request.stop_price in (None, order.stop_price)
        )

    @staticmethod
    def _with(order: Order, request: ReplaceRequest) -> NewOrder:
        if request.price is not None and order.type not in LIMIT_TYPES:
            raise Invalid("price: only LIMIT and STOP_LIMIT orders have one", field="price")
        if request.stop_price is not None and not (order.type in STOP_TYPES and order.is_held and not order.triggered):
            raise Invalid("stop_price: only a stop that waits for its trigger has one", field="stop_price")
        quantity = order.quantity if request.quantity is None else request.quantity
        if quantity <= order.cumulative_quantity:
            done = plain(order.cumulative_quantity)
            raise Invalid(f"quantity: more than what is filled, {done}", field="quantity")
        price = order.price if request.price is None else request.price
        stop_price = request.stop_price
        if stop_price is None and order.type is not OrderType.TRAILING_STOP:
            stop_price = order.stop_price  # where a trailing one is now need not be on a tick of its own accord
        return replace(order.asked_again(), quantity=quantity, price=price, stop_price=stop_price)

    def _require_own_quantity(self, order: Order, new: NewOrder) -> None:
        """Raises Invalid for another quantity of an order of a group, except an entry: the group decides it."""
        group = self._store.cache.groups.get(order.order_group_id)
        if group is not None and order is not group.entry and new.quantity != order.quantity:
            raise Invalid("quantity: an order of a group has the group's", field="quantity")

    async def _check(self, order: Order, new: NewOrder) -> None:
        instrument = await self._instruments.require(order.symbol)
        quote = self._quotes.find(order.symbol, order.gateway)
        if violations := self._pre_trade_checks.value_violations(instrument, quote, new):
            raise violations[0]
        price = self._pre_trade_checks.reserve_price_of(order, new, quote)
        answer = await self._risk.check(
            order.user_id, order.account_id, order.order_id, new, price, instrument, order.gateway, replaces=True
        )
        if answer.refusals:
            raise answer.refusals[0]

    def _contracts_needed(self, order: Order, new: NewOrder, price: Decimal) -> Decimal:
        """Return what the new values need of the position beyond what the order holds; check the money for them.

        Raises InsufficientFunds, InsufficientPosition.
        """
        cache = self._store.cache
        if order.is_closing and (order.order_group_id or (order.reduce_only and order.is_held)):
            return ZERO  # its group holds the position, or nothing does until it triggers
        if order.is_closing:
            more = new.quantity - order.cumulative_quantity - order.hold_today - order.hold_yesterday
            if more <= 0:
                return ZERO
            position = cache.find_position(order)
            first = cache.closes_today_first(order.symbol)
            if position is None or position.hold_for(order.position_effect, more, first) is None:
                raise InsufficientPosition
            return more
        more = cache.reservation(order, new.quantity - order.cumulative_quantity, price) - order.reserved
        account = cache.accounts[order.account_id]
        available = account.available(cache.last_prices.of(account.gateway))
        if more > max(available, ZERO):
            raise InsufficientFunds(needed=plain(more), available=plain(available))
        return ZERO

    async def _replace_held(self, order: Order, new: NewOrder) -> Order:
        """A stop that waits here is changed here."""
        quote = self._quotes.find(order.symbol, order.gateway)
        price = self._pre_trade_checks.reserve_price_of(order, new, quote)
        more = self._contracts_needed(order, new, price)
        with self._store.begin(order.user_id) as changes:
            if more:
                self._store.cache.hold_more(order, more, changes)
            order.quantity, order.price, order.reserve_price = new.quantity, new.price, price
            if new.stop_price is not None:
                order.stop_price = new.stop_price
            self._store.cache.reserve(order)
            self._store.cache.trim_hold(order, changes)
            changes.order(order)
            changes.accounts[order.account_id] = self._store.cache.accounts[order.account_id]
            written = self._store.commit(changes)
        await written
        if order.is_open and order.is_held and order.type in STOP_TYPES and not order.held_day:
            self._stops.add(order)
        return order

    async def _replace_at_venue(self, order: Order, new: NewOrder) -> Order:
        price = order.reserve_price if new.price is None else new.price
        more = self._contracts_needed(order, new, max(price, order.reserve_price))
        with self._store.begin(order.user_id) as changes:
            if more:
                self._store.cache.hold_more(order, more, changes)
            move(order, OrderStatus.PENDING_REPLACE)
            # Several legs are never amended: which of them had which quantity would depend on who answers first.
            amends = len(order.legs) == 1
            order.replace_step = ReplaceStep.AMENDING if amends else ReplaceStep.CANCELING
            order.pending_quantity, order.pending_price = new.quantity, new.price
            self._store.cache.reserve(order)
            changes.order(order)
            changes.accounts[order.account_id] = self._store.cache.accounts[order.account_id]
            if not amends:
                changes.cancels.append(order.order_id)
            written = self._store.commit(changes)
        await written
        if not amends:
            return order
        # A task of its own: what is asked of the venue is seen through though the caller leaves.
        await asyncio.shield(self._tasks.spawn("trading.amend", self._amend(order.order_id, new), awaited=True))
        return self._store.cache.find_order(order.order_id) or order

    async def _amend(self, order_id: str, new: NewOrder) -> None:
        order = self._amending(order_id)
        if order is None:
            return
        try:
            leg = order.legs[0]
            quantity = leg.quantity + new.quantity - order.quantity
            await self._engine.amend(order, leg, quantity, new.price, self._store.fence(order.user_id))
        except REFUSALS as refusal:
            if refusal.reason is Reason.STALE_EPOCH:
                self._store.lose(order.user_id)
                raise ShardMoved from None
            order = self._amending(order_id)
            if order is None:
                return
            with self._store.begin(order.user_id) as changes:
                if refusal.reason == Reason.UNSUPPORTED:
                    order.replace_step = ReplaceStep.CANCELING
                    changes.order(order)
                    changes.cancels.append(order_id)
                else:
                    abandon_replacement(self._store.cache, order, changes)
                written = self._store.commit(changes)
            await written
            if refusal.reason != Reason.UNSUPPORTED:
                raise
        except RedFireError as error:
            # The venue may have it or not: reconciliation decides.
            log.warning("order %s: amended, and the outcome is not known: %s", order_id, error.message)

    def _amending(self, order_id: str) -> Order | None:
        order = self._store.cache.orders.get(order_id)
        return (
            order
            if order is not None
            and order.replace_step is ReplaceStep.AMENDING
            and len(order.legs) == 1
            and self._store.is_open
            else None
        )
