"""All accounts in memory: their exposure, owners, last prices, and the trading day's profit and loss."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.kernel.clock import Clock
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.daily import DailyPnl
from services.risk.domain.limits import NO_CHANGES, NO_LIMITS, AccountLimits, Limits, strictest_of
from services.risk.domain.market_days import MarketDays
from services.risk.domain.prices import Prices
from services.risk.domain.resting import RestingOrders

_DAY_NS = 86_400 * 10**9
# Of an account that trading has not sent yet: it is being opened now.
_NOT_YET_NS = 2**63


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class AccountUpdate:
    """An account as trading sends it."""

    account_id: str
    user_id: str
    realized_pnl: Decimal
    commission: Decimal
    create_time_ns: int
    gateway: str = ""


class Portfolio:
    """Exposure of all accounts. All of it can be made anew from trading's snapshot, but for the day's beginning."""

    def __init__(self, clock: Clock, defaults: Limits) -> None:
        self._clock = clock
        self._defaults = defaults
        self._loss_listeners: list[Callable[[AccountExposure, Decimal], None]] = []
        self._accounts: dict[str, AccountExposure] = {}
        self._fresh: dict[str, AccountExposure] | None = None
        self._owned: dict[str, list[AccountExposure]] = {}
        # By account or user: what differs from the defaults, and what is about to; the strictest counts.
        self._limits: dict[str, Sequence[AccountLimits]] = {}
        # Accounts with max_daily_loss: only these have to be looked at with each price.
        self._loss_limited: set[str] = set()
        # Resting orders by user, of those who have self-trades prevented.
        self._resting: dict[str, RestingOrders] = {}
        self.days: dict[str, DailyPnl] = {}
        # Accounts that have reached max_daily_loss on this trading day.
        self.lost: set[str] = set()
        self.trading_days = MarketDays()
        self.prices = Prices()
        self._arrival = asyncio.Event()

    def on_loss_reached(self, listener: Callable[[AccountExposure, Decimal], None]) -> None:
        """Register a listener of accounts that reach max_daily_loss; it is called with the day's profit and loss."""
        self._loss_listeners.append(listener)

    # Accounts ---------------------------------------------------------------------------------------------------

    def find(self, account_id: str) -> AccountExposure | None:
        """An account's exposure; None when it is not known."""
        return self._accounts.get(account_id)

    def find_first(self, user_id: str) -> AccountExposure | None:
        """A user's first account."""
        owned = self._owned.get(user_id)
        return owned[0] if owned else None

    def owned_by(self, user_id: str) -> Sequence[AccountExposure]:
        """A user's accounts, the first one first."""
        return self._owned.get(user_id, ())

    def siblings(self, account: AccountExposure) -> list[str]:
        """Ids of the user's other accounts."""
        return [one.account_id for one in self._owned.get(account.user_id, ()) if one is not account]

    def accounts(self) -> Iterable[AccountExposure]:
        """All accounts."""
        return list(self._accounts.values())

    def account_for_check(self, account_id: str, user_id: str, gateway: str = "") -> AccountExposure:
        """An account's exposure; one that trading has not sent yet begins empty."""
        account = self._accounts.get(account_id)
        if account is None:
            account = AccountExposure(account_id, user_id, provisional=True)
            account.gateway, account.market = gateway, self.prices.market_of(gateway)
            self._accounts[account_id] = account
            self._set_limits(account)
        return account

    async def arrival(self) -> None:
        """Wait until another account is there."""
        await self._arrival.wait()

    # Updates of trading ---------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> None:
        """Begin a snapshot of everything; until it is complete the old accounts count."""
        self._fresh = {}

    def complete_snapshot(self) -> None:
        """End a snapshot: its accounts replace the old ones."""
        if self._fresh is None:
            return
        old, self._accounts, self._fresh = self._accounts, self._fresh, None
        for account_id, before in old.items():
            if account_id in self._accounts:
                self._accounts[account_id].adopt(before)
            elif before.provisional and before.reservations:
                self._accounts[account_id] = before
        self._owned, self._resting = {}, {}
        for account in self._accounts.values():
            if not account.provisional:
                self._enter(account)
        for account in self._accounts.values():
            self.settle(account)
        for account in self._accounts.values():
            self._prevent_self_trades(account)

    def drop(self, is_gone: Callable[[str], bool]) -> None:
        """Forget the users for whom `is_gone(user_id)`: another replica serves them."""
        for account in [account for account in self._accounts.values() if is_gone(account.user_id)]:
            del self._accounts[account.account_id]
            self._owned.pop(account.user_id, None)
            self._resting.pop(account.user_id, None)
            self._loss_limited.discard(account.account_id)
        for day in [day for day in self.days.values() if is_gone(day.user_id)]:
            del self.days[day.account_id]
            self.lost.discard(day.account_id)

    def account_for_update(self, account_id: str, user_id: str) -> AccountExposure:
        """The exposure that an update of an account applies to; made with the first one."""
        accounts = self._accounts if self._fresh is None else self._fresh
        account = accounts.get(account_id)
        if account is None:
            account = accounts[account_id] = AccountExposure(account_id, user_id, provisional=True)
            self._set_limits(account)
        return account

    def apply_account(self, update: AccountUpdate) -> None:
        """An account as it is now."""
        account = self.account_for_update(update.account_id, update.user_id)
        account.user_id = update.user_id
        account.create_time_ns = update.create_time_ns
        account.realized_pnl, account.commission = update.realized_pnl, update.commission
        account.gateway, account.market = update.gateway, self.prices.market_of(update.gateway)
        first, account.provisional = account.provisional, False
        if self._fresh is None and first:
            self._enter(account)

    def changed(self, account: AccountExposure, time_ns: int) -> None:
        """Bring up to date what depends on an account, after an update was applied to it."""
        account.update_time_ns = max(account.update_time_ns, time_ns)
        if self._fresh is None:
            self.settle(account)

    # Updates of the market ------------------------------------------------------------------------------------------

    def apply_price(
        self, symbol: str, price: Decimal, time_ns: int, trading_day: int, gateway: str = "", sequence: int = 0
    ) -> None:
        """A symbol's last price. A later trading day's first price ends the day before at the prices before it."""
        market = self.prices.market_of(gateway or self.prices.gateways.get(symbol, ""))
        self.begin_day(trading_day, market)
        self.trading_days.confirm(market, trading_day)
        self.prices.put(gateway, symbol, price, time_ns, self._clock.monotonic(), sequence)
        for account_id in self._loss_limited:
            account = self._accounts.get(account_id)
            if account is None or account.market != market:
                continue
            if (symbol, True) in account.positions or (symbol, False) in account.positions:
                self.settle(account)

    def begin_day(self, trading_day: int, market: str = "", *, again: bool = False) -> None:
        """A trading day of a market begins, unless it or a later one has begun; `again`: its recording begins again."""
        if not self.trading_days.begins(market, trading_day, again=again):
            return
        accounts = [account for account in self._accounts.values() if account.market == market]
        self.total_up(accounts)
        self.trading_days.begin(market, trading_day, again=again)
        for account in accounts:
            self.settle(account)

    def learn_sizes(self, sizes: Mapping[str, Decimal]) -> None:
        """Take contract sizes; what was valued without them, or with others, is valued anew."""
        changed = {symbol for symbol, size in sizes.items() if self.prices.set_size(symbol, size)} & self.prices.used
        if not changed:
            return
        for account in (*self._accounts.values(), *(self._fresh or {}).values()):
            if not changed.isdisjoint(account.symbols()):
                account.revalue(changed, self.prices.sizes)
        for account in self._accounts.values():
            if not changed.isdisjoint(account.symbols()):
                self.settle(account)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Take the names of the gateways that trade for real."""
        self.prices.set_real_gateways(names)
        self.trading_days.move(self.prices.market_of)
        for account in (*self._accounts.values(), *(self._fresh or {}).values()):
            account.market = self.prices.market_of(account.gateway)

    def unsized(self, account: AccountExposure) -> set[str]:
        """Symbols of an account whose contract size is not known: its exposure is not known either."""
        return self.prices.unsized & account.symbols() if self.prices.unsized else set()

    # Limits -----------------------------------------------------------------------------------------------------

    @property
    def defaults(self) -> Limits:
        """The limits of accounts without own ones."""
        return self._defaults

    def set_defaults(self, defaults: Limits) -> None:
        """Let other defaults count from now on."""
        self._defaults = defaults
        for account in (*self._accounts.values(), *(self._fresh or {}).values()):
            self._set_limits(account)
            self.settle(account, limits_changed=True)

    def set_limits(self, user_id: str, account_id: str, limits: Sequence[AccountLimits]) -> None:
        """Let the strictest of these count for an account, or for a user's where both ids are the user's."""
        self._limits[account_id] = limits
        for account in (*self._accounts.values(), *(self._fresh or {}).values()):
            if account.user_id == user_id:
                self._set_limits(account)
                self.settle(account, limits_changed=True)

    def limits_of(self, account_id: str, account: AccountExposure | None = None) -> Limits:
        """The limits in force for an account, also for one that is not known here."""
        limits = strictest_of(one.in_force(self._defaults) for one in self._limits.get(account_id, (NO_CHANGES,)))
        account = account or self._accounts.get(account_id)
        if account is None or not self._limits:
            return limits
        return limits.strictest(self.limits_of_user(account.user_id)).strictest(self._inherited(account))

    def _inherited(self, account: AccountExposure) -> Limits:
        """Limits that an administrator had granted the user's other accounts when this one was opened."""
        limits, opened_ns = NO_LIMITS, account.create_time_ns or _NOT_YET_NS
        for sibling in self._owned.get(account.user_id, ()):
            for one in self._limits.get(sibling.account_id, ()) if sibling is not account else ():
                if (one.granted_time_ns or sibling.create_time_ns) <= opened_ns:
                    limits = limits.strictest(one.granted)
        return limits

    def _together(self, account: AccountExposure) -> Limits | None:
        """Limits of all accounts of the user together, as far as they concern this account.

        It is what an administrator set for the user; of programme trading also what the account has of earlier ones,
        and the defaults where it was granted nothing else.
        """
        limits, defaults = self.limits_of_user(account.user_id), self._defaults.of_programme()
        if self._limits:
            limits = limits.strictest(self._inherited(account).of_programme())
        if defaults != NO_LIMITS:
            granted = strictest_of(one.granted for one in self._limits.get(account.account_id, ()))
            kept = {name: value for name, value in defaults.given().items() if getattr(granted, name) is None}
            limits = limits.strictest(Limits(**kept))
        return None if limits == NO_LIMITS else limits

    def limits_of_user(self, user_id: str) -> Limits:
        """The limits that an administrator set for a user; none where the user has none."""
        if user_id not in self._limits:
            return NO_LIMITS
        return strictest_of(one.in_force(NO_LIMITS) for one in self._limits[user_id])

    def unconfirmed_position(self, account: AccountExposure, now_s: float, most_s: float) -> str:
        """A symbol of a position that max_daily_loss is reckoned by, whose price market has not confirmed for more than
        `most_s`; empty where there is none."""
        prices = self.prices
        if not prices.unconfirmed or account.limits.max_daily_loss is None:
            return ""
        held = {symbol for symbol, _ in account.positions if symbol in prices.unconfirmed}
        return min((one for one in held if prices.unconfirmed_s(account.market, one, now_s) > most_s), default="")

    def oldest_price(self, account: AccountExposure, now_s: float) -> dict[str, str]:
        """The oldest of the last prices that positions are valued by, as an event states it."""
        views = ((self.prices.view(account.market, symbol, now_s), symbol) for symbol, _ in account.positions)
        age_s, symbol = max(((view.age_s, symbol) for view, symbol in views if view is not None), default=(0.0, ""))
        return {"oldest_price_symbol": symbol, "oldest_price_age_s": f"{age_s:.3f}"} if symbol else {}

    # Sums -------------------------------------------------------------------------------------------------------

    def price_of(self, account: AccountExposure, symbol: str, long: bool) -> Decimal:
        """The price that a position is valued at: the last price, else trading's, else what it was opened at."""
        price = self.prices.last(account.market, symbol)
        if price is not None:
            return price
        position = account.positions[symbol, long]
        return position.average_price if position.last_price is None else position.last_price

    def notional(self, account: AccountExposure, symbol: str, long: bool) -> Decimal:
        """Notional of one position: price × quantity × contract size; 0 where the size is not known (see `unsized`)."""
        quantity = account.positions[symbol, long].quantity
        return quantity * self.price_of(account, symbol, long) * self.prices.sizes.get(symbol, ZERO)

    def gross_notional(self, account: AccountExposure) -> Decimal:
        """Notional of all positions."""
        return sum((abs(self.notional(account, symbol, long)) for symbol, long in account.positions), ZERO)

    def unrealized_pnl(self, account: AccountExposure, symbol: str, long: bool) -> Decimal:
        """Unrealised result of one position at the last price; trading's own where price or size are not known."""
        position = account.positions[symbol, long]
        last, size = self.prices.last(account.market, symbol), self.prices.sizes.get(symbol)
        if last is None or size is None:
            return position.unrealized_pnl
        move = (last - position.average_price) * position.quantity * size
        return move if long else -move

    def total_pnl(self, account: AccountExposure) -> Decimal:
        """Result since the account was opened: realised and unrealised, less commission."""
        unrealized = sum((self.unrealized_pnl(account, symbol, long) for symbol, long in account.positions), ZERO)
        return account.realized_pnl - account.commission + unrealized

    def daily_pnl(self, account: AccountExposure) -> Decimal:
        """Result since the trading day began."""
        return self.total_pnl(account) - self._day_of(account).baseline

    # The day ----------------------------------------------------------------------------------------------------

    def load_days(self, days: Iterable[DailyPnl]) -> None:
        """Load stored days, before anything else comes of their accounts."""
        for day in days:
            self.days[day.account_id] = day
            if day.loss_reached:
                self.lost.add(day.account_id)

    def loss_reached(self, account: AccountExposure) -> bool:
        """Return true when max_daily_loss was reached on this trading day, also when some of it has come back since."""
        return account.account_id in self.lost

    def settle(self, account: AccountExposure, *, limits_changed: bool = False) -> None:
        """Check whether the day's loss has reached the limit; looser limits may also set the account free again."""
        if account.provisional:
            return
        day, limit = self._day_of(account), account.limits.max_daily_loss
        if limit is None:
            self._set_lost(day, False)
            return
        reached = self.daily_pnl(account) <= -limit
        if day.loss_reached and not reached and limits_changed:
            self._set_lost(day, False)
        elif reached and not day.loss_reached:
            self._set_lost(day, True)
            daily_pnl = self.daily_pnl(account)
            for listener in self._loss_listeners:
                listener(account, daily_pnl)

    def _set_lost(self, day: DailyPnl, lost: bool) -> None:
        if day.loss_reached != lost:
            day.loss_reached = lost
            (self.lost.add if lost else self.lost.discard)(day.account_id)

    def total_up(self, accounts: Iterable[AccountExposure]) -> list[DailyPnl]:
        """Bring the last totals of these accounts' days up to date; answer those that must be written."""
        days = []
        for account in accounts:
            if not account.provisional:
                day = self._day_of(account)
                if self.trading_days.is_confirmed(account.market, day.trading_day):
                    day.last_total = self.total_pnl(account)
                if day.changed:
                    days.append(day)
        return days

    def _day_of(self, account: AccountExposure) -> DailyPnl:
        """The day of an account, begun anew where its market is in another one."""
        day, today = self.days.get(account.account_id), self.trading_days.of(account.market)
        if day is not None and self.trading_days.is_over(account.market, day.trading_day):
            day.begin(today)
            if not day.loss_reached:
                self.lost.discard(day.account_id)
        if day is None:
            # An account that is new began the day with nothing; of an old one that is first seen now nothing is known.
            new = self._clock.now_ns() - account.create_time_ns < _DAY_NS
            baseline = ZERO if new else self.total_pnl(account)
            day = DailyPnl(account.account_id, account.user_id, today, baseline, baseline)
            self.days[account.account_id] = day
        return day

    def _set_limits(self, account: AccountExposure) -> None:
        account.limits = self.limits_of(account.account_id, account)
        account.together = self._together(account)
        account.watched = account.limits.watches_behaviour
        if account.limits.max_daily_loss is None:
            self._loss_limited.discard(account.account_id)
        else:
            self._loss_limited.add(account.account_id)
        if self._accounts.get(account.account_id) is account:
            self._prevent_self_trades(account)

    def _prevent_self_trades(self, account: AccountExposure) -> None:
        """Match an account's orders with its user's others, once any of the user's accounts prevents self-trades."""
        resting = self._resting.get(account.user_id)
        if resting is None and account.limits.self_trade_prevention:
            resting = self._resting[account.user_id] = RestingOrders()
            for owned in {*self._owned.get(account.user_id, ()), account}:
                owned.rest_among(resting)
        elif resting is not None and account.resting_orders is not resting:
            account.rest_among(resting)

    def _enter(self, account: AccountExposure) -> None:
        owned = self._owned.setdefault(account.user_id, [])
        if account not in owned:
            owned.append(account)
        owned.sort(key=lambda one: (one.create_time_ns, one.account_id))
        if self._limits and len(owned) > 1:
            for one in owned:
                self._set_limits(one)  # by what it has of earlier ones
        arrived, self._arrival = self._arrival, asyncio.Event()
        arrived.set()
