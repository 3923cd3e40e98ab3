"""All accounts in memory: their books, owners, last prices, and the trading day's profit and loss."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.kernel.clock import Clock
from services.risk.domain.book import ZERO, AccountBook
from services.risk.domain.daily import DailyPnl
from services.risk.domain.limits import NO_CHANGES, AccountLimits, Limits
from services.risk.domain.prices import Prices
from services.risk.domain.resting import RestingOrders

_DAY_NS = 86_400 * 10**9


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class AccountNews:
    """An account as trading tells of it."""

    account_id: str
    user_id: str
    realized_pnl: Decimal
    commission: Decimal
    create_time_ns: int
    gateway: str = ""


class Portfolio:
    """What everybody has at stake. All of it can be made anew from trading's snapshot, but for the day's beginning."""

    def __init__(self, clock: Clock, defaults: Limits, on_loss: Callable[[AccountBook, Decimal], None]) -> None:
        self._clock = clock
        self._defaults = defaults
        self._on_loss = on_loss
        self._books: dict[str, AccountBook] = {}
        self._fresh: dict[str, AccountBook] | None = None
        self._owned: dict[str, list[AccountBook]] = {}
        # By account: what differs from the defaults, and what is about to; the strictest counts.
        self._limits: dict[str, Sequence[AccountLimits]] = {}
        # Accounts with max_daily_loss: only these have to be looked at with each price.
        self._loss_limited: set[str] = set()
        # Resting orders by user, of those who have self-trades prevented.
        self._resting: dict[str, RestingOrders] = {}
        self.days: dict[str, DailyPnl] = {}
        # Accounts that have reached max_daily_loss on this trading day.
        self.lost: set[str] = set()
        self.trading_day = 0
        # Whether a tick of the trading day was seen. Before, after a restart, it may be over already: then what was
        # kept of it is its end, not what positions are worth now.
        self._day_confirmed = False
        self.prices = Prices()
        self._arrival = asyncio.Event()

    # Accounts ---------------------------------------------------------------------------------------------------

    def find(self, account_id: str) -> AccountBook | None:
        """An account's book."""
        return self._books.get(account_id)

    def find_first(self, user_id: str) -> AccountBook | None:
        """A user's first account."""
        owned = self._owned.get(user_id)
        return owned[0] if owned else None

    def owned_ids(self, user_id: str) -> list[str]:
        """A user's accounts, the first one first."""
        return [book.account_id for book in self._owned.get(user_id, ())]

    def books(self) -> Iterable[AccountBook]:
        """All accounts."""
        return list(self._books.values())

    def book_for_check(self, account_id: str, user_id: str, gateway: str = "") -> AccountBook:
        """An account's book; one that trading has not told of yet begins empty."""
        book = self._books.get(account_id)
        if book is None:
            book = AccountBook(account_id, user_id, provisional=True)
            book.gateway, book.market = gateway, self.prices.market_of(gateway)
            self._books[account_id] = book
            self._set_limits(book)
        return book

    async def arrival(self) -> None:
        """Wait until another account is there."""
        await self._arrival.wait()

    # Trading's news ---------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> None:
        """What comes now is everything there is; until it is complete the old books count."""
        self._fresh = {}

    def complete_snapshot(self) -> None:
        """From now on the new books count."""
        if self._fresh is None:
            return
        old, self._books, self._fresh = self._books, self._fresh, None
        for account_id, before in old.items():
            if account_id in self._books:
                self._books[account_id].adopt(before)
            elif before.provisional and before.reservations:
                self._books[account_id] = before
        self._owned, self._resting = {}, {}
        for book in self._books.values():
            if not book.provisional:
                self._enter(book)
                self.settle(book)
        for book in self._books.values():
            self._prevent_self_trades(book)

    def book_for_news(self, account_id: str, user_id: str) -> AccountBook:
        """The book that news of an account go to; made when it is the first."""
        books = self._books if self._fresh is None else self._fresh
        book = books.get(account_id)
        if book is None:
            book = books[account_id] = AccountBook(account_id, user_id, provisional=True)
            self._set_limits(book)
        return book

    def apply_account(self, news: AccountNews) -> None:
        """An account as it is now."""
        book = self.book_for_news(news.account_id, news.user_id)
        book.user_id = news.user_id
        book.create_time_ns = news.create_time_ns
        book.realized_pnl, book.commission = news.realized_pnl, news.commission
        book.gateway, book.market = news.gateway, self.prices.market_of(news.gateway)
        first, book.provisional = book.provisional, False
        if self._fresh is None and first:
            self._enter(book)

    def changed(self, book: AccountBook, time_ns: int) -> None:
        """After news were put into a book: bring what depends on it up to date."""
        book.update_time_ns = max(book.update_time_ns, time_ns)
        if self._fresh is None:
            self.settle(book)

    # The market's news ------------------------------------------------------------------------------------------

    def apply_price(self, symbol: str, price: Decimal, time_ns: int, trading_day: int, gateway: str = "") -> None:
        """A symbol's last price. A later trading day's first price ends the day before at the prices before it."""
        self.begin_day(trading_day)
        if trading_day == self.trading_day:
            self._day_confirmed = True
        market = self.prices.put(gateway, symbol, price, time_ns)
        for account_id in self._loss_limited:
            book = self._books.get(account_id)
            if book is None or book.market != market:
                continue
            if (symbol, True) in book.positions or (symbol, False) in book.positions:
                self.settle(book)

    def begin_day(self, trading_day: int) -> None:
        """A trading day begins, unless it or a later one has begun."""
        if trading_day > self.trading_day:
            self._begin_day(trading_day)

    def learn_sizes(self, sizes: Mapping[str, Decimal]) -> None:
        """Take contract sizes; what was valued without them, or with others, is valued anew."""
        changed = {symbol for symbol, size in sizes.items() if self.prices.set_size(symbol, size)} & self.prices.used
        if not changed:
            return
        for book in (*self._books.values(), *(self._fresh or {}).values()):
            if not changed.isdisjoint(book.symbols()):
                book.revalue(changed, self.prices.sizes)
        for book in self._books.values():
            if not changed.isdisjoint(book.symbols()):
                self.settle(book)

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Take the names of the gateways that trade for real."""
        self.prices.set_real_gateways(names)
        for book in (*self._books.values(), *(self._fresh or {}).values()):
            book.market = self.prices.market_of(book.gateway)

    def unsized(self, book: AccountBook) -> set[str]:
        """Symbols of a book whose contract size is not known: what it has at stake is not known either."""
        return self.prices.unsized & book.symbols() if self.prices.unsized else set()

    # Limits -----------------------------------------------------------------------------------------------------

    @property
    def defaults(self) -> Limits:
        """The limits of accounts without own ones."""
        return self._defaults

    def set_defaults(self, defaults: Limits) -> None:
        """Let other defaults count from now on."""
        self._defaults = defaults
        for book in (*self._books.values(), *(self._fresh or {}).values()):
            self._set_limits(book)
            self.settle(book, limits_changed=True)

    def set_limits(self, account_id: str, limits: Sequence[AccountLimits]) -> None:
        """Let the strictest of these count for an account from now on."""
        self._limits[account_id] = limits
        for books in (self._books, self._fresh or {}):
            if account_id in books:
                self._set_limits(books[account_id])
                self.settle(books[account_id], limits_changed=True)

    def limits_of(self, account_id: str) -> Limits:
        """The limits in force for an account."""
        limits, *others = (one.in_force(self._defaults) for one in self._limits.get(account_id, (NO_CHANGES,)))
        for other in others:
            limits = limits.strictest(other)
        return limits

    # Sums -------------------------------------------------------------------------------------------------------

    def price_of(self, book: AccountBook, symbol: str, long: bool) -> Decimal:
        """What a position is valued at: the last price, else trading's, else what it was opened at."""
        price = self.prices.last(book.market, symbol)
        if price is not None:
            return price
        position = book.positions[symbol, long]
        return position.average_price if position.last_price is None else position.last_price

    def notional(self, book: AccountBook, symbol: str, long: bool) -> Decimal:
        """Of one position: price × quantity × contract size; 0 where the size is not known (see `unsized`)."""
        quantity = book.positions[symbol, long].quantity
        return quantity * self.price_of(book, symbol, long) * self.prices.sizes.get(symbol, ZERO)

    def gross_notional(self, book: AccountBook) -> Decimal:
        """Of all positions."""
        return sum((abs(self.notional(book, symbol, long)) for symbol, long in book.positions), ZERO)

    def unrealized_pnl(self, book: AccountBook, symbol: str, long: bool) -> Decimal:
        """Of one position at the last price; as trading last said it where price or size are not known."""
        position = book.positions[symbol, long]
        last, size = self.prices.last(book.market, symbol), self.prices.sizes.get(symbol)
        if last is None or size is None:
            return position.unrealized_pnl
        move = (last - position.average_price) * position.quantity * size
        return move if long else -move

    def total_pnl(self, book: AccountBook) -> Decimal:
        """Since the account was opened: realised and unrealised, less commission."""
        unrealized = sum((self.unrealized_pnl(book, symbol, long) for symbol, long in book.positions), ZERO)
        return book.realized_pnl - book.commission + unrealized

    def daily_pnl(self, book: AccountBook) -> Decimal:
        """Since the trading day began."""
        return self.total_pnl(book) - self._day_of(book).baseline

    # The day ----------------------------------------------------------------------------------------------------

    def load_days(self, days: Iterable[DailyPnl]) -> None:
        """Take what was kept of the day, before anything else comes."""
        self.days = {day.account_id: day for day in days}
        self.lost = {day.account_id for day in self.days.values() if day.loss_reached}
        self.trading_day = max((day.trading_day for day in self.days.values()), default=0)

    def loss_reached(self, book: AccountBook) -> bool:
        """Whether max_daily_loss was reached on this trading day, also when some of it has come back since."""
        return book.account_id in self.lost

    def settle(self, book: AccountBook, *, limits_changed: bool = False) -> None:
        """See whether the day's loss has reached the limit; looser limits may also set the account free again."""
        if book.provisional:
            return
        day, limit = self._day_of(book), book.limits.max_daily_loss
        if limit is None:
            self._set_lost(day, False)
            return
        reached = self.daily_pnl(book) <= -limit
        if day.loss_reached and not reached and limits_changed:
            self._set_lost(day, False)
        elif reached and not day.loss_reached:
            self._set_lost(day, True)
            self._on_loss(book, self.daily_pnl(book))

    def _set_lost(self, day: DailyPnl, lost: bool) -> None:
        if day.loss_reached != lost:
            day.loss_reached = lost
            (self.lost.add if lost else self.lost.discard)(day.account_id)

    def total_up(self, books: Iterable[AccountBook]) -> list[DailyPnl]:
        """Bring the last totals of these accounts' days up to date; answer those that must be written."""
        days = []
        for book in books:
            if not book.provisional:
                day = self._day_of(book)
                if self._day_confirmed:
                    day.last_total = self.total_pnl(book)
                if day.changed:
                    days.append(day)
        return days

    def _begin_day(self, trading_day: int) -> None:
        self.total_up(self._books.values())
        self.trading_day = trading_day
        for day in self.days.values():
            day.begin(trading_day)
        self.lost = {day.account_id for day in self.days.values() if day.loss_reached}
        for book in self._books.values():
            self.settle(book)

    def _day_of(self, book: AccountBook) -> DailyPnl:
        day = self.days.get(book.account_id)
        if day is None:
            # An account that is new began the day with nothing; of an old one that is first seen now nothing is known.
            new = self._clock.now_ns() - book.create_time_ns < _DAY_NS
            baseline = ZERO if new else self.total_pnl(book)
            day = DailyPnl(book.account_id, book.user_id, self.trading_day, baseline, baseline)
            self.days[book.account_id] = day
        return day

    def _set_limits(self, book: AccountBook) -> None:
        book.limits = self.limits_of(book.account_id)
        book.watched = book.limits.watches_behaviour
        if book.limits.max_daily_loss is None:
            self._loss_limited.discard(book.account_id)
        else:
            self._loss_limited.add(book.account_id)
        if self._books.get(book.account_id) is book:
            self._prevent_self_trades(book)

    def _prevent_self_trades(self, book: AccountBook) -> None:
        """Let a book's orders be found by its user's other ones, from when any of the user's accounts wants it."""
        resting = self._resting.get(book.user_id)
        if resting is None and book.limits.self_trade_prevention:
            resting = self._resting[book.user_id] = RestingOrders()
            for owned in {*self._owned.get(book.user_id, ()), book}:
                owned.rest_among(resting)
        elif resting is not None and book.resting_orders is not resting:
            book.rest_among(resting)

    def _enter(self, book: AccountBook) -> None:
        owned = self._owned.setdefault(book.user_id, [])
        if book not in owned:
            owned.append(book)
        owned.sort(key=lambda one: (one.create_time_ns, one.account_id))
        arrived, self._arrival = self._arrival, asyncio.Event()
        arrived.set()
