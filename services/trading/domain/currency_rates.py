"""Amounts in an account's currency: rates that the operator configured, and an instrument's terms by them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from services.trading.domain import money
from services.trading.domain.instrument import Instrument

ONE = Decimal(1)


class CurrencyRates:
    """Converts what instruments cost. Never silently: without a rate there is no conversion."""

    def __init__(self, rates: Callable[[], Mapping[str, Decimal]] = dict) -> None:
        """`rates()` by pair: `{"USD/CNY": Decimal("7.1")}` is what one dollar is in yuan."""
        self._rates = rates
        self._terms: dict[tuple[str, str, Decimal], tuple[Instrument, Instrument]] = {}

    def rate(self, currency: str, into: str) -> Decimal | None:
        """Return the rate of a currency in another; None when none is configured."""
        if not currency or currency == into:
            return ONE
        return self._rates().get(f"{currency}/{into}")

    def terms(self, instrument: Instrument, into: str) -> Instrument | None:
        """The instrument with its contract size and fixed fees in a currency; None without a rate."""
        if not instrument.currency or instrument.currency == into:
            return instrument
        rate = self.rate(instrument.currency, into)
        return None if rate is None else self.at_rate(instrument, into, rate)

    def at_rate(self, instrument: Instrument, into: str, rate: Decimal) -> Instrument:
        """The instrument's terms at a rate."""
        key = (instrument.symbol, into, rate)
        cached = self._terms.get(key)
        if cached is None or cached[0] is not instrument:
            converted = replace(
                instrument,
                currency=into,
                contract_size=money.amount(money.product(instrument.contract_size, rate)),
                commission_fixed=money.amount(money.product(instrument.commission_fixed, rate)),
                close_today_commission_fixed=money.amount(money.product(instrument.close_today_commission_fixed, rate)),
            )
            cached = self._terms[key] = (instrument, converted)
        return cached[1]
