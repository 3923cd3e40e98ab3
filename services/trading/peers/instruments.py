"""The instruments that orders are checked and money is computed with, kept from MarketService."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.errors import NotFound, RedFireError
from services.trading.domain import money
from services.trading.domain.money import ZERO

REFRESH_S = 60.0
MOST_FUNDS = 1000
UNKNOWN_FOR_S = 5.0


@dataclass(frozen=True, slots=True)
class Instrument:
    """What trading needs to know of an instrument."""

    symbol: str
    exchange: str
    gateway: str
    currency: str
    contract_size: Decimal
    price_tick: Decimal
    min_quantity: Decimal
    quantity_step: Decimal
    margin_rate: Decimal
    commission_rate: Decimal
    commission_fixed: Decimal
    close_today_commission_rate: Decimal
    close_today_commission_fixed: Decimal
    # The last trading day, YYYYMMDD; 0 when it has none, or nobody says.
    expire_date: int = 0
    # An order's funds are asked for three times on its way.
    _funds: dict[tuple[Decimal, Decimal], Decimal] = field(default_factory=dict, init=False, compare=False, repr=False)

    def notional(self, price: Decimal, quantity: Decimal) -> Decimal:
        """price × quantity × contract_size, exact."""
        return money.product(price, quantity, self.contract_size)

    def margin(self, price: Decimal, quantity: Decimal) -> Decimal:
        """The margin of so many contracts at this price. Prices below zero need as much as those above."""
        return money.amount(abs(money.product(self.notional(price, quantity), self.margin_rate)))

    def commission(self, price: Decimal, quantity: Decimal, closed_today: Decimal = ZERO) -> Decimal:
        """The commission of a trade of which `closed_today` closes what was opened this trading day."""
        usual = quantity - closed_today
        parts = [
            money.product(abs(self.notional(price, usual)), self.commission_rate),
            money.product(usual, self.commission_fixed),
        ]
        if closed_today:
            parts.append(money.product(abs(self.notional(price, closed_today)), self.close_today_commission_rate))
            parts.append(money.product(closed_today, self.close_today_commission_fixed))
        return money.amount(money.total(parts))

    def funds(self, price: Decimal, quantity: Decimal) -> Decimal:
        """What an opening order of so many contracts holds: margin and commission."""
        found = self._funds.get((price, quantity))
        if found is None:
            if len(self._funds) >= MOST_FUNDS:
                self._funds.clear()
            found = self._funds[price, quantity] = self.margin(price, quantity) + self.commission(price, quantity)
        return found

    @property
    def splits_close(self) -> bool:
        """Whether the exchange takes today's and yesterday's contracts by orders of their own: SHFE and INE."""
        return self.exchange in ("SHFE", "INE")


class UnknownSymbol(NotFound):
    """There is no such instrument."""

    reason = Reason.UNKNOWN_SYMBOL


class Instruments:
    """Keeps the book's instruments as market has them."""

    def __init__(self, market: MarketServiceStub, known: dict[str, Instrument]) -> None:
        self._market = market
        self._known = known
        self._fresh: set[str] = set()
        self._unknown: TtlCache[str, bool] = TtlCache(1000, UNKNOWN_FOR_S)

    async def require(self, symbol: str) -> Instrument:
        """The instrument. Raises UnknownSymbol."""
        if symbol in self._fresh:
            return self._known[symbol]
        if self._unknown.get(symbol):
            raise UnknownSymbol("instrument", symbol, symbol=symbol)
        try:
            answer = await self._market.GetInstrument(market_pb2.GetInstrumentRequest(symbol=symbol))
        except NotFound:
            self._unknown.put(symbol, True)
            raise UnknownSymbol("instrument", symbol, symbol=symbol) from None
        except RedFireError:
            if symbol in self._known:
                return self._known[symbol]
            raise
        return self._take(answer.instrument)

    async def refresh(self) -> None:
        """Read all instruments, again and again."""
        while True:
            token = ""
            while True:
                request = market_pb2.ListInstrumentsRequest(page_size=1000, page_token=token)
                answer = await self._market.ListInstruments(request)
                for instrument in answer.instruments:
                    self._take(instrument)
                token = answer.next_page_token
                if not token:
                    break
            await asyncio.sleep(REFRESH_S if self._fresh else 1.0)

    def _take(self, message: market_pb2.Instrument) -> Instrument:
        instrument = Instrument(
            symbol=message.symbol,
            exchange=message.exchange or message.symbol.rpartition(".")[2],
            gateway=message.gateway_name,
            currency=message.currency,
            contract_size=_number(message.contract_size, "1"),
            price_tick=_number(message.price_tick),
            min_quantity=_number(message.min_quantity),
            quantity_step=_number(message.quantity_step),
            margin_rate=_number(message.margin_rate),
            commission_rate=_number(message.commission_rate),
            commission_fixed=_number(message.commission_fixed),
            # Where no other rates are told, closing what was opened today costs the same.
            close_today_commission_rate=_number(message.close_today_commission_rate or message.commission_rate),
            close_today_commission_fixed=_number(message.close_today_commission_fixed or message.commission_fixed),
            expire_date=_day(message.expire_date),
        )
        if self._known.get(instrument.symbol) != instrument:
            self._known[instrument.symbol] = instrument
        self._fresh.add(instrument.symbol)
        return self._known[instrument.symbol]


def _day(text: str) -> int:
    """`YYYY-MM-DD` as YYYYMMDD; 0 for what is no day."""
    digits = text.replace("-", "")
    return int(digits) if len(digits) == 8 and digits.isascii() and digits.isdigit() else 0


def _number(text: str, default: str = "0") -> Decimal:
    return Decimal(text or default)
