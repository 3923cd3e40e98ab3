"""The instruments that orders are checked and money is computed with, kept from MarketService."""

import asyncio
from decimal import Decimal

from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.cache import TtlCache
from services.kernel.errors import NotFound, RedFireError
from services.trading.domain.instrument import Instrument, UnknownSymbol

REFRESH_S = 60.0
UNKNOWN_FOR_S = 5.0


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
        return self._store(answer.instrument)

    async def refresh(self) -> None:
        """Read all instruments, again and again."""
        while True:
            token = ""  # nosec B105
            while True:
                request = market_pb2.ListInstrumentsRequest(page_size=1000, page_token=token)
                answer = await self._market.ListInstruments(request)
                for instrument in answer.instruments:
                    self._store(instrument)
                token = answer.next_page_token
                if not token:
                    break
            await asyncio.sleep(REFRESH_S if self._fresh else 1.0)

    def _store(self, message: market_pb2.Instrument) -> Instrument:
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
            # Where no other rates are published, closing what was opened today costs the same.
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
