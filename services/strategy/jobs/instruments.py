"""The terms that an instrument trades on, of market where they are not given and of the command line otherwise."""

from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.decimals import from_text
from services.kernel.errors import NotFound
from services.quant.backtest.job import TICK, BacktestJob

DEFAULTS = BacktestJob(class_name="", symbol="any.ANY", interval=TICK)
"""Defaults, those of `redfire backtest`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of an instrument that a backtest needs."""

    contract_size: Decimal
    price_tick: Decimal


class Instruments:
    """Market's catalogue."""

    def __init__(self, market: MarketServiceStub) -> None:
        self._market = market

    async def terms(self, symbol: str, contract_size: Decimal | None, price_tick: Decimal | None) -> Terms:
        """Return the given terms, else those that market has for the symbol, else the defaults."""
        known = market_pb2.Instrument()
        if contract_size is None or price_tick is None:
            # A continuous contract, or one that expired, is not in it: data may be there all the same.
            with suppress(NotFound):
                known = (await self._market.GetInstrument(market_pb2.GetInstrumentRequest(symbol=symbol))).instrument
        return Terms(
            contract_size or from_text(known.contract_size) or Decimal(str(DEFAULTS.size)),
            price_tick or from_text(known.price_tick) or Decimal(str(DEFAULTS.pricetick)),
        )
