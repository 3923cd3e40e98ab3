"""Instruments that can be traded, and the one gateway of each."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from services.engine.vnpy.mapping import Unreadable, exact, readable
from services.quant.catalogue import Catalogue, Instrument

_KINDS = {"ETF": "FUND", "FOREX": "SPOT", "BOND": "EQUITY", "CFD": "SPOT", "SPREAD": "FUTURES", "SWAP": "FUTURES"}


class Contracts:
    """Instruments that gateways have announced; prices and orders of a symbol are those of its primary gateway alone.

    The primary gateway is the one that the setting names (the exact symbol, else the longest pattern that matches);
    otherwise the real one that was it before (`remembered`), whether it has announced the symbol again or not: a choice
    holds, and where that gateway is not there the symbol is not traded; otherwise, of the real gateways that announced
    the symbol, the first by name; otherwise the simulated one.
    """

    def __init__(self, catalogue: Catalogue, simulated: str, primary: Mapping[str, str]) -> None:
        self._catalogue = catalogue
        self._simulated = simulated
        self._patterns = sorted(primary.items(), key=lambda item: (-len(item[0]), item[0]))
        self._named = dict(primary)
        self._remembered: dict[str, str] = {}
        self._offers: dict[str, dict[str, Instrument]] = {}
        self._primary: dict[str, str] = {}
        self._all: list[tuple[Instrument, str]] | None = None
        self.unkept = False
        """True when a real gateway has announced something since choices were kept."""

    def restore(self, remembered: Mapping[str, str]) -> None:
        """Take the gateways that real gateways' symbols had before, for those not announced again yet."""
        self._remembered.update(remembered)

    def announce(self, contract: Any) -> str:
        """A gateway's vnpy ContractData; the symbol's primary gateway when that is another one by now, else empty.

        Raises: Unreadable for a contract whose numbers or symbol are none. Margin and fees, which vnpy does not have,
        come from the catalogue.
        """
        symbol, gateway_name = contract.vt_symbol, contract.gateway_name
        if not symbol.isascii():
            raise Unreadable(f"contract {readable(symbol)}")
        known = self._catalogue.find(symbol)
        if gateway_name != self._simulated:
            known = _instrument_from_vnpy(contract, known)
            self.unkept = True
        elif known is None:
            return ""
        self._all = None
        before = self.primary(symbol)
        self._offers.setdefault(symbol, {})[gateway_name] = known
        del self._primary[symbol]
        after = self.primary(symbol)
        return after if after != before else ""

    def primary(self, symbol: str) -> str:
        """The gateway whose prices and orders a symbol's are, whether it has announced it or not."""
        name = self._primary.get(symbol)
        if name is None:
            name = self._primary[symbol] = self._find_primary(symbol)
        return name

    def owned(self, symbols: Iterable[str]) -> dict[str, str]:
        """Gateway names of the symbols that are a real gateway's."""
        return {symbol: name for symbol in symbols if (name := self.primary(symbol)) != self._simulated}

    def all(self) -> list[tuple[Instrument, str]]:
        """Instruments with their gateways, by symbol; the same list until another contract is announced."""
        if self._all is None:
            self._all = []
            for symbol, offers in sorted(self._offers.items()):
                name = self.primary(symbol)
                if name in offers:
                    self._all.append((offers[name], name))
        return self._all

    def gateway_of(self, symbol: str) -> str:
        """The gateway that trades a symbol; empty when it has not announced it."""
        name = self.primary(symbol)
        return name if name in self._offers.get(symbol, ()) else ""

    def offers(self, symbol: str, gateway_name: str) -> bool:
        """Return true when a gateway has announced a symbol, be it the symbol's primary one or not."""
        return gateway_name in self._offers.get(symbol, ())

    def keep(self) -> dict[str, list[str]]:
        """Choices hold from now on. The symbols that are to be remembered of each real gateway, without those that it
        announces no more."""
        self.unkept = False
        for symbol, offers in self._offers.items():
            if (name := self.primary(symbol)) in offers and name != self._simulated:
                self._remembered[symbol] = name
        announced = {name for offers in self._offers.values() for name in offers}
        kept: dict[str, list[str]] = {}
        for symbol, name in self._remembered.items():
            symbols = kept.setdefault(name, [])
            if name not in announced or name in self._offers.get(symbol, ()):
                symbols.append(symbol)
        return kept

    def _find_primary(self, symbol: str) -> str:
        if symbol in self._named:
            return self._named[symbol]
        for pattern, name in self._patterns:
            if fnmatchcase(symbol, pattern):
                return name
        if symbol in self._remembered:
            return self._remembered[symbol]
        real = [name for name in self._offers.get(symbol, ()) if name != self._simulated]
        return min(real, default=self._simulated)


def _instrument_from_vnpy(contract: Any, known: Instrument | None) -> Instrument:
    announced: dict[str, Any] = {
        "contract_size": exact(contract.size),
        "price_tick": exact(contract.pricetick),
        "min_quantity": exact(contract.min_volume),
        "quantity_step": exact(contract.min_volume),
    }
    if min(announced.values()) <= 0:
        raise Unreadable(f"contract {contract.vt_symbol}: {announced}")
    if known is None:
        kind = _KINDS.get(contract.product.name, contract.product.name)
        # Of an unknown instrument the whole notional is asked for as margin: too much is safe, too little is not.
        known = Instrument.model_construct(
            symbol=contract.vt_symbol,
            name=readable(contract.name) or contract.vt_symbol,
            kind=kind if kind in ("FUTURES", "EQUITY", "OPTION", "FUND", "SPOT", "INDEX") else "SPOT",
            margin_rate=Decimal(1),
            **announced,
        )
    return known.model_copy(update=announced)
