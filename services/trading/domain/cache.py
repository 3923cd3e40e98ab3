"""The books in memory: accounts, positions and open orders, and what orders hold of money and positions."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from redfire.enums import AccountKind, LedgerEntryKind, OrderStatus, TimeInForce

from services.trading.domain import ledger
from services.trading.domain.account import Account
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.currency_rates import CurrencyRates
from services.trading.domain.instrument import Instrument
from services.trading.domain.leg import needs_one_leg
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.order_states import move
from services.trading.domain.position import Position
from services.trading.domain.quote import LastPrices
from services.trading.domain.trading_day import TradingDays
from services.trading.settings import CloseFirst

log = logging.getLogger(__name__)
ONE = Decimal(1)


class TradingCache:
    """All that is open. It knows no database and awaits nothing: every change is one synchronous step."""

    def __init__(
        self,
        kept_finished: int = 5000,
        close_first: Callable[[], CloseFirst] = lambda: CloseFirst.AUTO,
        days: TradingDays | None = None,
        currencies: CurrencyRates | None = None,
        simulated: Mapping[str, bool] | None = None,
        time_in_forces: Mapping[str, frozenset[int]] | None = None,
        enforces_sessions: bool = False,
    ) -> None:
        """`simulated`: for each gateway that the engine reported, whether its money is simulated."""
        self.accounts: dict[str, Account] = {}
        self.accounts_of: dict[str, list[Account]] = {}
        self.orders: dict[str, Order] = {}
        # The orders that finished last: late reports and repeated requests come for these.
        self.finished: OrderedDict[str, Order] = OrderedDict()
        self.instruments: dict[str, Instrument] = {}
        # The times in force that each gateway keeps by itself, as it reports.
        self._time_in_forces = {} if time_in_forces is None else time_in_forces
        self.last_prices = LastPrices(simulated)
        self.days = days or TradingDays()
        self.currencies = currencies or CurrencyRates()
        self.simulated: Mapping[str, bool] = {} if simulated is None else simulated
        # Whether the exchanges' hours, settlements and expiries are kept.
        self.enforces_sessions = enforces_sessions
        # Those of which some order is open.
        self.groups: dict[str, OrderGroup] = {}
        self._groups_of: dict[str, dict[str, OrderGroup]] = {}
        self._kept_finished = kept_finished
        self._close_first = close_first
        self._by_client: dict[tuple[str, str], Order] = {}
        self._open_of: dict[str, dict[str, Order]] = {}

    def clear(self) -> None:
        """Forget everything but instruments and prices: it is read anew."""
        for kept in (self.accounts, self.accounts_of, self.orders, self.finished, self._by_client, self._open_of):
            kept.clear()
        self.groups.clear()
        self._groups_of.clear()
        self.days.clear()

    def drop_users(self, users: Collection[str]) -> None:
        """Forget users: another replica serves them."""
        for user_id in users:
            for account in self.accounts_of.pop(user_id, ()):
                self.accounts.pop(account.account_id, None)
                for order in self.open_orders(account.account_id):
                    self._forget(order)
                    self._by_client.pop((order.account_id, order.client_order_id), None)
                for group in self.groups_of(account.account_id):
                    self.forget_group(group)
        for order in [order for order in self.finished.values() if order.user_id in users]:
            del self.finished[order.order_id]
            self._by_client.pop((order.account_id, order.client_order_id), None)

    # Reading

    def groups_of(self, account_id: str) -> list[OrderGroup]:
        """An account's groups of which some order is open, oldest first."""
        return list(self._groups_of.get(account_id, {}).values())

    def live_account(self, gateway: str) -> Account | None:
        """The one LIVE account of a gateway."""
        accounts = self.accounts.values()
        return next((one for one in accounts if one.kind is AccountKind.LIVE and one.gateway == gateway), None)

    def find_order(self, order_id: str) -> Order | None:
        """An open order, or one that finished lately."""
        return self.orders.get(order_id) or self.finished.get(order_id)

    def find_position(self, order: Order) -> Position | None:
        """The position that an order opens or closes; None where there is none."""
        return self.accounts[order.account_id].positions.get((order.symbol, order.position_side))

    def find_by_client(self, account_id: str, client_order_id: str) -> Order | None:
        """An open order, or one that finished lately, by the client's id."""
        return self._by_client.get((account_id, client_order_id))

    def open_orders(self, account_id: str) -> list[Order]:
        """An account's open orders, oldest first."""
        return list(self._open_of.get(account_id, {}).values())

    def terms(self, account: Account, symbol: str) -> Instrument:
        """The instrument's terms in the account's currency.

        What is accepted has a rate. Should it be taken out of the settings later, fills are booked at the rate that
        the position was opened at.
        """
        instrument = self.instruments[symbol]
        if instrument.currency == account.currency:
            return instrument
        converted = self.currencies.terms(instrument, account.currency)
        if converted is not None:
            return converted
        log.error("there is no rate for %s/%s: %s", instrument.currency, account.currency, symbol)
        held = next((p for (name, _), p in account.positions.items() if name == symbol), None)
        rate = held.contract_size / instrument.contract_size if held is not None else ONE
        return self.currencies.at_rate(instrument, account.currency, rate)

    def terms_of(self, account: Account, instrument: Instrument) -> Instrument:
        """Terms of an instrument that may not be in the cache yet; as it is, where there is no rate."""
        if instrument.currency == account.currency:
            return instrument
        return self.currencies.terms(instrument, account.currency) or instrument

    def is_expired(self, gateway: str, instrument: Instrument) -> bool:
        """Return whether the instrument's last trading day is over, where the exchanges' hours are kept."""
        return (
            self.enforces_sessions
            and instrument.expire_date > 0
            and self.days.of(gateway, instrument.symbol) > instrument.expire_date
        )

    def keeps_overnight(self, gateway: str) -> bool:
        """Return whether a gateway keeps orders beyond the trading day, so that it ends and reports DAY orders itself.

        vnpy's gateways know DAY alone, and report no order's end of the day.
        """
        kept = self._time_in_forces.get(gateway)
        return not kept or TimeInForce.GTC in kept

    def closes_today_first(self, symbol: str) -> bool:
        """Return whether a CLOSE takes today's contracts first; where the exchange decides, it takes the oldest."""
        instrument = self.instruments[symbol]
        first = self._close_first()
        if not instrument.splits_close or first is CloseFirst.YESTERDAY:
            return False
        if first is CloseFirst.TODAY:
            return True
        price = self.last_prices.of(instrument.gateway).get(symbol) or ONE
        return instrument.commission(price, ONE, ONE) <= instrument.commission(price, ONE)

    # Filling

    def add_account(self, account: Account) -> None:
        """Put a new account, or one that was read, into the books."""
        self.accounts[account.account_id] = account
        self.accounts_of.setdefault(account.user_id, []).append(account)

    def withdraw_account(self, account: Account) -> None:
        """Forget a new account that could not be written."""
        if self.accounts.get(account.account_id) is account:
            del self.accounts[account.account_id]
            self.accounts_of[account.user_id].remove(account)

    def add_position(self, position: Position) -> None:
        """Put a position that was read into the books."""
        account = self.accounts[position.account_id]
        position.days = self.days
        account.positions[position.key] = position
        account.margin += position.margin
        # Written before positions had days: it was rolled by the day that its gateway had begun.
        position.trading_day = position.trading_day or self.days.reported(position.gateway)[0]
        if not self.days.reported(position.gateway)[1]:
            self.days.learn(position.gateway, position.symbol, position.trading_day)

    def add_order(self, order: Order) -> None:
        """Put an open order into the books, with what it holds."""
        self.orders[order.order_id] = order
        self._open_of.setdefault(order.account_id, {})[order.order_id] = order
        self._by_client[order.account_id, order.client_order_id] = order
        self.reserve(order)
        if order.is_closing:
            position = self.find_position(order)
            if position is not None:
                position.freeze(order.hold_today, order.hold_yesterday)

    def add_group(self, group: OrderGroup) -> None:
        """Put a group of which some order is open into the books."""
        self.groups[group.order_group_id] = group
        self._groups_of.setdefault(group.account_id, {})[group.order_group_id] = group

    def forget_group(self, group: OrderGroup) -> None:
        """Remove a group: all its orders are finished."""
        self.groups.pop(group.order_group_id, None)
        of_account = self._groups_of.get(group.account_id, {})
        of_account.pop(group.order_group_id, None)
        if not of_account:
            self._groups_of.pop(group.account_id, None)

    def remember_finished(self, order: Order) -> None:
        """Keep a finished order for a while."""
        self.finished[order.order_id] = order
        self.finished.move_to_end(order.order_id)
        self._by_client[order.account_id, order.client_order_id] = order
        while len(self.finished) > self._kept_finished:
            _, oldest = self.finished.popitem(last=False)
            self._by_client.pop((oldest.account_id, oldest.client_order_id), None)

    # Holding

    def reservation(
        self, order: Order, quantity: Decimal | None = None, reserve_price: Decimal | None = None
    ) -> Decimal:
        """The money that an order holds while `quantity` of it may trade: margin and commission at its reserve price.

        A closing order holds contracts instead: nobody is kept from closing for want of money.
        """
        leaves = order.leaves_quantity if quantity is None else quantity
        if order.is_closing or leaves <= 0:
            return ZERO
        instrument = self.terms(self.accounts[order.account_id], order.symbol)
        price = order.reserve_price if reserve_price is None else reserve_price
        return instrument.funds(price, leaves)

    def reserve(self, order: Order) -> None:
        """Make the order hold what it should now; while it is being replaced, enough for either outcome."""
        held = self.reservation(order)
        if order.is_open and order.pending_quantity is not None:
            price = (
                order.reserve_price if order.pending_price is None else max(order.pending_price, order.reserve_price)
            )
            held = max(held, self.reservation(order, order.pending_quantity - order.cumulative_quantity, price))
        if held != order.reserved:
            account = self.accounts[order.account_id]
            account.frozen += held - order.reserved
            if held > order.reserved and account.kind is AccountKind.LIVE:
                account.used.append((order.update_time_ns, held - order.reserved))
            order.reserved = held

    def accept(self, order: Order, changes: ChangeSet, holds: bool = True) -> None:
        """Put a new order into the books; what it needs was checked. A closing one may hold its contracts later."""
        order.trading_day = self.days.of(order.gateway, order.symbol)
        if order.is_closing and holds:
            position = self.accounts[order.account_id].positions[order.symbol, order.position_side]
            self.roll(position, changes)
            today_first = self.closes_today_first(order.symbol)
            hold = position.hold_for(order.position_effect, order.quantity, today_first)
            if needs_one_leg(order, self.instruments[order.symbol]):
                hold = position.hold_one_part(order.quantity, today_first) or hold
            assert hold is not None
            order.hold_today, order.hold_yesterday = hold
            changes.position(position)
        self.add_order(order)
        changes.created[order.order_id] = order
        changes.accounts[order.account_id] = self.accounts[order.account_id]

    def withdraw(self, order: Order) -> None:
        """Remove a new order as if it had never been: it could not be written."""
        self._release(order, None)
        self._forget(order)
        self._by_client.pop((order.account_id, order.client_order_id), None)

    def finish(
        self, order: Order, status: OrderStatus, changes: ChangeSet, reason: str = "", message: str = ""
    ) -> None:
        """End an order and release what it holds."""
        move(order, status)
        order.pending_quantity = order.pending_price = None
        order.hold_reason = ""
        order.reject_reason = reason or order.reject_reason
        order.reject_message = message or order.reject_message
        self._release(order, changes)
        self._forget(order)
        self.remember_finished(order)
        changes.order(order)
        changes.finished.append(order)
        changes.accounts[order.account_id] = self.accounts[order.account_id]

    def hold_more(self, order: Order, quantity: Decimal, changes: ChangeSet) -> bool:
        """Let a closing order that shall grow hold `quantity` more of the position; False when there is not enough."""
        position = self.find_position(order)
        if position is None:
            return False
        hold = position.hold_for(order.position_effect, quantity, self.closes_today_first(order.symbol))
        if hold is None:
            return False
        self.roll(position, changes)
        order.hold_today += hold[0]
        order.hold_yesterday += hold[1]
        position.freeze(*hold)
        changes.position(position)
        return True

    def trim_hold(self, order: Order, changes: ChangeSet) -> None:
        """Release what a closing order holds beyond what may still trade of it."""
        needed = max(order.leaves_quantity, (order.pending_quantity or ZERO) - order.cumulative_quantity)
        self.release_hold(order, order.hold_today + order.hold_yesterday - needed, changes)

    def release_hold(self, order: Order, quantity: Decimal, changes: ChangeSet) -> Decimal:
        """Release at most so much of what a closing order holds; how much it was."""
        position = self.find_position(order)
        released = min(quantity, order.hold_today + order.hold_yesterday)
        if position is None or released <= 0:
            return ZERO
        self.roll(position, changes)
        yesterday = min(released, order.hold_yesterday)
        today = released - yesterday
        order.hold_yesterday -= yesterday
        order.hold_today -= today
        position.freeze(-today, -yesterday)
        changes.position(position)
        changes.order(order)
        return released

    def trim_holds(self, position: Position, changes: ChangeSet) -> None:
        """Let open orders, the newest first, hold no more than there is: a venue filled more than it was asked for."""
        beyond_day, beyond_older = (
            max(position.frozen_day - position.day_quantity, ZERO),
            max(position.frozen_older - position.older_quantity, ZERO),
        )
        if not beyond_day and not beyond_older:
            return
        for order in reversed(self._closing_orders(position)):
            today, yesterday = min(order.hold_today, beyond_day), min(order.hold_yesterday, beyond_older)
            if today or yesterday:
                order.hold_today -= today
                order.hold_yesterday -= yesterday
                position.freeze(-today, -yesterday)
                beyond_day, beyond_older = beyond_day - today, beyond_older - yesterday
                changes.order(order)
        changes.position(position)

    def _closing_orders(self, position: Position) -> list[Order]:
        """Open orders that close a position, oldest first."""
        return [
            order
            for order in self._open_of.get(position.account_id, {}).values()
            if order.is_closing and order.symbol == position.symbol and order.position_side is position.side
        ]

    # Trading days

    def roll(self, position: Position, changes: ChangeSet, trading_day: int = 0) -> None:
        """Bring a position into a trading day, today when 0, with what open orders hold of it: before it changes."""
        day = trading_day or self.days.of(position.gateway, position.symbol)
        had_holds = position.frozen_day
        if self.enforces_sessions and 0 < position.trading_day < day:
            self._settle(position, changes)
        if not position.roll(day):
            return
        changes.position(position)
        for order in self._closing_orders(position) if had_holds else ():
            if order.hold_today:
                order.hold_yesterday += order.hold_today
                order.hold_today = ZERO
                changes.order(order)

    def _settle(self, position: Position, changes: ChangeSet) -> None:
        """Mark a position to the settlement price of the day that it was in; a gateway settles its live accounts."""
        account, price = self.accounts[position.account_id], self.last_prices.of(position.gateway).get(position.symbol)
        if price is None or not position.quantity or account.kind is AccountKind.LIVE:
            return
        account.margin -= position.margin
        realized = position.settle(price)
        account.margin += position.margin
        reference = f"{ledger.SETTLEMENT}{position.symbol}:{position.side}:{position.trading_day}"
        changes.entries += ledger.post(account, LedgerEntryKind.SETTLEMENT, realized, reference, changes.now_ns)
        changes.account(account)

    def begin_day(self, gateway: str, trading_day: int, now_ns: int, asked_ns: int = 0) -> list[ChangeSet]:
        """The step that writes a gateway's trading day, as reported or answered; none when it is known.

        Positions come into it when they are read or changed.
        """
        if not self.days.begin(gateway, trading_day, asked_ns):
            return []
        return [ChangeSet("", now_ns, gateways={gateway: self.days.reported(gateway)})]

    def learn_day(self, gateway: str, symbol: str, trading_day: int, changes: ChangeSet) -> int:
        """The trading day of a fill: its own, else today."""
        if not trading_day:
            return self.days.of(gateway, symbol)
        if self.days.learn(gateway, symbol, trading_day):
            changes.gateways[gateway] = self.days.reported(gateway)
        return trading_day

    def _forget(self, order: Order) -> None:
        self.orders.pop(order.order_id, None)
        of_account = self._open_of.get(order.account_id)
        if of_account is not None:
            of_account.pop(order.order_id, None)
            if not of_account:
                del self._open_of[order.account_id]

    def _release(self, order: Order, changes: ChangeSet | None) -> None:
        account = self.accounts[order.account_id]
        account.frozen -= order.reserved
        order.reserved = ZERO
        if order.hold_today or order.hold_yesterday:
            position = account.positions.get((order.symbol, order.position_side))
            if position is not None:
                position.freeze(-order.hold_today, -order.hold_yesterday)
                if changes is not None:
                    changes.position(position)
            order.hold_today = order.hold_yesterday = ZERO
