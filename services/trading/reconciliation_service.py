"""Administrators' decisions about what venues have and the books do not."""

from decimal import Decimal

from redfire.enums import OrderStatus, OrderType, PositionEffect, PositionSide, Side, TimeInForce
from redfire.reasons import Reason

from services.kernel.data.repositories import Repositories
from services.kernel.decimals import plain
from services.kernel.errors import Aborted, Conflict, FailedPrecondition, NotFound
from services.kernel.paging import Page, PageResult
from services.trading.domain import apply_reports
from services.trading.domain.account import Account, net_quantities
from services.trading.domain.external_booking import reverse_trade
from services.trading.domain.external_order import ExternalOrder, ExternalTrade, fill_report, status_report
from services.trading.domain.money import ZERO
from services.trading.domain.order import FINISHED, Delivery, Leg, Order, fingerprint
from services.trading.domain.order_ids import new_order_id
from services.trading.domain.pre_trade_checks import InsufficientPosition
from services.trading.domain.report import FillReport, TradeKind
from services.trading.domain.trade import Trade
from services.trading.external_repository import ExternalFilter, ExternalRepository
from services.trading.peers.engine_client import EngineClient
from services.trading.peers.instruments import Instruments
from services.trading.service import ClientOrderIdReused, OrderNotOpen, require_same
from services.trading.state.store import TradingStore
from services.trading.venue.externals import Externals
from services.trading.venue.position_adjustments import PositionDifference
from services.trading.venue.reconciliation import Reconciliation


class ExternalOrderAdopted(Conflict):
    """The external order was adopted as another order."""

    reason = Reason.EXTERNAL_ACTIVITY


class OrdersDiffer(FailedPrecondition):
    """The external order cannot be this one."""

    reason = Reason.EXTERNAL_ACTIVITY


class OutcomeKnown(FailedPrecondition):
    """The order's outcome is known, or its venue reports it."""

    reason = Reason.EXTERNAL_ACTIVITY


class DifferenceChanged(Aborted):
    """The positions differ by another quantity by now."""

    reason = Reason.EXTERNAL_ACTIVITY


class ReconciliationService:
    """External orders, trades and positions, and orders whose outcome is unknown; of all users."""

    def __init__(
        self,
        store: TradingStore,
        externals: Externals,
        repositories: Repositories[ExternalRepository],
        reconciliation: Reconciliation,
        instruments: Instruments,
        engine: EngineClient,
    ) -> None:
        self._store = store
        self._externals = externals
        self._repositories = repositories
        self._reconciliation = reconciliation
        self._instruments = instruments
        self._engine = engine

    async def list_external_orders(self, external_filter: ExternalFilter, page: Page) -> PageResult[ExternalOrder]:
        """External orders, newest first."""
        await self._store.commit_log.durable()
        async with self._repositories.read() as repository:
            return await repository.list_orders(external_filter, page)

    async def list_external_trades(self, external_filter: ExternalFilter, page: Page) -> PageResult[ExternalTrade]:
        """External trades, newest first."""
        await self._store.commit_log.durable()
        async with self._repositories.read() as repository:
            return await repository.list_trades(external_filter, page)

    def list_position_differences(self, gateway: str, page: Page) -> PageResult[PositionDifference]:
        """Differences, by gateway, symbol and side."""

        def key(difference: PositionDifference) -> list[str]:
            return [difference.gateway, difference.symbol, str(int(difference.side))]

        differences = sorted(self._reconciliation.position_differences, key=key)
        if gateway:
            differences = [difference for difference in differences if difference.gateway == gateway]
        return page.slice(
            [one for one in differences if page.after is None or key(one) > page.after][: page.size + 1], key
        )

    def list_uncertain_orders(self, gateway: str, page: Page) -> PageResult[Order]:
        """Uncertain orders, oldest first."""
        self._store.require_open()
        orders = [
            order
            for order_id, order in sorted(self._store.cache.orders.items())
            if is_uncertain(order)
            and (not gateway or order.gateway == gateway)
            and (page.after is None or order_id > page.after[0])
        ]
        return page.slice(orders[: page.size + 1], lambda order: [order.order_id])

    async def reconcile(self) -> list[str]:
        """Ask all gateways what they have and book what is missing; those that have not answered yet."""
        self._store.require_open()
        unanswered = await self._reconciliation.reconcile_day()
        await self._store.commit_log.durable()
        return unanswered

    async def adopt_external_order(
        self, external_order_id: str, account_id: str, order_id: str
    ) -> tuple[ExternalOrder, Order]:
        """Make it an order of the account, or the one at the venue of the uncertain order; its trades are booked.

        Raises: NotFound, ExternalOrderAdopted, OrdersDiffer, OutcomeKnown, InsufficientPosition where it closes what
        the account does not have.
        """
        self._store.require_open()
        # Before the lock: what venues report meanwhile does not wait for market's answer.
        instrument = await self._instruments.require((await self._get(external_order_id)).symbol)
        async with self._externals.lock:
            external = await self._get(external_order_id)
            if external.order_id:
                return external, await self._adopted_as(external, account_id, order_id)
            async with self._repositories.read() as repository:
                trades = [one for one in await repository.trades_of(external_order_id) if one.kind is TradeKind.NEW]
            if not order_id:
                key = self._account(account_id, external.gateway).user_id, account_id, _client_order_id(external)
                if await self._store.find_by_client(*key) is not None:
                    raise ClientOrderIdReused(client_order_id=_client_order_id(external))
            self._store.require_open()
            if order_id:
                order = self._uncertain(order_id)
                leg = _leg_for(order, external)
            else:
                order, leg = self._as_order(external, trades, account_id), None
            account = self._store.cache.accounts[order.account_id]
            with self._store.begin(order.user_id) as changes:
                if leg is None:
                    if self._store.cache.instruments.get(instrument.symbol) is not instrument:
                        self._store.cache.instruments[instrument.symbol] = instrument
                    changes.instruments.append(instrument)
                    if order.is_closing:
                        for booked in _booked(account, trades):  # as hand trades; as the order's they come again
                            reverse_trade(self._store.cache, account, booked, changes)
                    self._store.cache.accept(order, changes)
                    leg = Leg(0, order.position_effect, order.quantity, trading_day=order.trading_day)
                    order.legs, order.leg_count = [leg], 1
                leg.delivery, leg.venue_order_id = Delivery.SENT, external.venue_order_id
                order.hold_reason = ""
                reference = order.reference(leg)
                for trade in trades:
                    apply_reports.apply_trade_report(self._store.cache, order, fill_report(trade, reference), changes)
                report = status_report(external, reference)
                if external.status is not OrderStatus.UNKNOWN:
                    apply_reports.apply_order_report(self._store.cache, order, report, changes)
                changes.order(order)
                adopted = self._externals.adopt(external, reference, order.account_id, changes)
                written = self._store.commit(changes)
        await written
        # Its fills may have been busted or corrected since, and others of it passed by.
        self._reconciliation.request_all_trades(order.gateway)
        return adopted, order

    async def cancel_external_order(self, external_order_id: str) -> ExternalOrder:
        """Ask the venue; of a finished one nothing is asked. Raises NotFound, ExternalOrderAdopted, the engine's."""
        external = await self._get(external_order_id)
        if external.order_id:
            raise ExternalOrderAdopted("cancel the order that it is", order_id=external.order_id)
        if external.status not in FINISHED:
            await self._engine.cancel_external(external.gateway, external.venue_order_id, external.symbol)
        return external

    async def close_position_difference(
        self,
        client_order_id: str,
        difference: tuple[str, str, PositionSide],
        account_id: str,
        price: Decimal,
        quantity: Decimal,
    ) -> Order:
        """Book the venue's position less the books' to an account, as an order that is filled at the price.

        `difference` is (gateway, symbol, side). Raises: NotFound, DifferenceChanged, InsufficientPosition,
        ClientOrderIdReused.
        """
        gateway, symbol, side = difference
        account = self._account(account_id, gateway)
        digest = fingerprint("difference", gateway, symbol, int(side), price, quantity)
        key = account.user_id, account_id, client_order_id
        earlier = await self._store.find_by_client(*key)
        if earlier is not None:
            return require_same(earlier, digest)
        differences = {(one.gateway, one.symbol, one.side): one for one in self._reconciliation.position_differences}
        current = differences.get(difference)
        if current is None:
            raise NotFound("position difference", f"{gateway} {symbol} {side.name}")
        if current.quantity != quantity:
            raise DifferenceChanged(quantity=plain(current.quantity))
        instrument = await self._instruments.require(symbol)
        # Others may have booked it meanwhile, and it is compared again only after that.
        if (earlier := await self._store.find_by_client(*key)) is not None:
            return require_same(earlier, digest)
        self._store.require_open()
        account = self._account(account_id, gateway)
        held = net_quantities(self._store.cache.accounts.values(), gateway).get((symbol, side), ZERO)
        if held != current.book_quantity:
            raise DifferenceChanged(quantity=plain(current.venue_quantity - held))
        opens = quantity > 0
        order = _order(
            account,
            client_order_id,
            digest,
            symbol,
            Side.BUY if opens == (side is PositionSide.LONG) else Side.SELL,
            PositionEffect.OPEN if opens else PositionEffect.CLOSE,
            abs(quantity),
            price,
            self._store.clock.now_ns(),
        )
        self._require_position(order)
        self._store.cache.instruments.setdefault(symbol, instrument)
        report = FillReport(
            gateway, order.order_id, f"difference:{order.order_id}", symbol, price, abs(quantity), order.create_time_ns
        )
        with self._store.begin(order.user_id) as changes:
            changes.instruments.append(instrument)
            self._store.cache.accept(order, changes)
            order.legs = [Leg(0, order.position_effect, order.quantity, Delivery.SENT, trading_day=order.trading_day)]
            order.leg_count = 1
            apply_reports.apply_trade_report(self._store.cache, order, report, changes)
            written = self._store.commit(changes)
        await written
        self._reconciliation.request()
        return order

    async def resolve_uncertain_order(self, order_id: str, status: OrderStatus, reason: str) -> Order:
        """End what of an order has an outcome that its venue does not report; what works there works on.

        Raises NotFound, OutcomeKnown, OrderNotOpen.
        """
        self._store.require_open()
        order = await self._store.recall(order_id)
        self._store.require_open()
        if order is None:
            raise NotFound("order", order_id)
        if not order.is_open:
            if order.reject_reason == Reason.OUTCOME_UNKNOWN:
                return order
            raise OrderNotOpen(f"the order is {order.status.name}", status=order.status.name)
        if not is_uncertain(order):
            raise OutcomeKnown
        with self._store.begin(order.user_id) as changes:
            missing = self._reconciliation.missing_references
            apply_reports.resolve(self._store.cache, order, missing, status, reason, changes)
            written = self._store.commit(changes)
        await written
        return order

    async def _get(self, external_order_id: str) -> ExternalOrder:
        external = await self._externals.find_order(external_order_id)
        if external is None:
            raise NotFound("external order", external_order_id)
        return external

    async def _adopted_as(self, external: ExternalOrder, account_id: str, order_id: str) -> Order:
        order = await self._store.recall(external.order_id)
        if order is None or order_id not in ("", external.order_id) or account_id not in ("", external.account_id):
            raise ExternalOrderAdopted(order_id=external.order_id)
        await self._store.commit_log.durable()
        return order

    def _uncertain(self, order_id: str) -> Order:
        order = self._store.cache.orders.get(order_id)
        if order is None:
            raise NotFound("order", order_id)
        if not is_uncertain(order):
            raise OutcomeKnown
        return order

    def _account(self, account_id: str, gateway: str) -> Account:
        self._store.require_open()
        account = self._store.cache.accounts.get(account_id)
        if account is None:
            raise NotFound("account", account_id)
        if account.gateway != gateway:
            raise OrdersDiffer(f"the account trades at {account.gateway}", gateway=account.gateway)
        return account

    def _as_order(self, external: ExternalOrder, trades: list[ExternalTrade], account_id: str) -> Order:
        account = self._account(account_id, external.gateway)
        if external.side is None:
            raise OrdersDiffer("the venue does not report whether it buys or sells")
        traded = sum((trade.quantity for trade in trades), ZERO)
        price = external.price or (trades[-1].price if trades else None)
        last_prices = self._store.cache.last_prices.of(external.gateway)
        order = _order(
            account,
            _client_order_id(external),
            fingerprint("external", external.external_order_id),
            external.symbol,
            external.side,
            external.position_effect,
            max(external.quantity, external.cumulative_quantity, traded),
            last_prices.get(external.symbol, ZERO) if price is None else price,
            self._store.clock.now_ns(),
        )
        if external.type is OrderType.MARKET or external.price is None:
            order.type, order.price = OrderType.MARKET, None
        booked = _booked(self._store.cache.accounts[account_id], trades)
        self._require_position(order, sum((trade.quantity for trade in booked), ZERO))
        return order

    def _require_position(self, order: Order, closed: Decimal = ZERO) -> None:
        """Require that what closes is there to be closed, or `closed` by it already. Raises InsufficientPosition."""
        if not order.is_closing:
            return
        position = self._store.cache.find_position(order)
        closable = closed + (position.closable(order.position_effect) if position is not None else ZERO)
        if closable < order.quantity:
            raise InsufficientPosition(closable=plain(closable), quantity=plain(order.quantity))


def _client_order_id(external: ExternalOrder) -> str:
    return f"external:{external.external_order_id}"


def is_uncertain(order: Order) -> bool:
    """Return whether the outcome of an open order is known to the venue alone."""
    return order.is_open and (
        order.status is OrderStatus.UNKNOWN or order.hold_reason == Reason.OUTCOME_UNKNOWN or order.has_uncertain_leg
    )


def _booked(account: Account, trades: list[ExternalTrade]) -> list[Trade]:
    """Hand trades in the account's books that are trades of an external order."""
    trades_booked = (account.external_trades.get(trade.venue_trade_id) for trade in trades)
    return [trade for trade in trades_booked if trade is not None]


def _leg_for(order: Order, external: ExternalOrder) -> Leg:
    """The leg of an uncertain order that the external order is. Raises OrdersDiffer."""
    if (order.gateway, order.symbol) == (external.gateway, external.symbol) and external.side in (None, order.side):
        for leg in order.legs:
            unnamed = leg.venue_order_id in ("", external.venue_order_id)
            if leg.is_live and unnamed and leg.quantity >= max(external.quantity, external.cumulative_quantity):
                return leg
    raise OrdersDiffer("gateway, symbol, side and quantity must agree")


def _order(
    account: Account,
    client_order_id: str,
    digest: str,
    symbol: str,
    side: Side,
    effect: PositionEffect,
    quantity: Decimal,
    price: Decimal,
    now_ns: int,
) -> Order:
    return Order(
        order_id=new_order_id(account.user_id),
        client_order_id=client_order_id,
        user_id=account.user_id,
        account_id=account.account_id,
        gateway=account.gateway,
        symbol=symbol,
        side=side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        position_effect=effect,
        quantity=quantity,
        price=price,
        stop_price=None,
        trailing_offset=None,
        expire_time_ns=0,
        strategy_id="",
        trace_id="",
        fingerprint=digest,
        create_time_ns=now_ns,
        update_time_ns=now_ns,
        reserve_price=price,
        status=OrderStatus.NEW,
    )
