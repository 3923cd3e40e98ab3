"""Rates of currencies into that of the accounts, by trading's settings as they are now."""

from decimal import Decimal
from typing import Any

from services.kernel.runtime.live_settings import LiveSettings

ONE = Decimal(1)


class CurrencyRates:
    """Follows trading's rates. One that is taken away stays in force here: positions keep the rate they were opened at.

    Where there never was a rate an amount counts as it stands: trading refuses the orders of such an instrument.
    """

    def __init__(self, trading: LiveSettings[Any]) -> None:
        """`trading` has trading's `currency` and `currency_rates`."""
        self._trading = trading
        self._last: dict[str, Decimal] = {}

    def rate(self, currency: str) -> Decimal:
        """The value of a unit of a currency in that of the accounts."""
        accounts = self._trading.value.currency
        if currency in ("", accounts):
            return ONE
        pair = f"{currency}/{accounts}"
        rate = self._trading.value.currency_rates.get(pair)
        if rate is not None:
            self._last[pair] = rate
        return self._last.get(pair, ONE)
