"""Which instruments can be traded, and by which gateway."""

from decimal import Decimal
from typing import Any

from services.engine.vnpy_words import exact
from services.simulation.catalogue import Catalogue, Instrument

_KINDS = {"ETF": "FUND", "FOREX": "SPOT", "BOND": "EQUITY", "CFD": "SPOT", "SPREAD": "FUTURES", "SWAP": "FUTURES"}


class Contracts:
    """Instruments that gateways have announced. Where SIM and another gateway both have one, the other trades it."""

    def __init__(self, catalogue: Catalogue, simulated: str) -> None:
        self._catalogue = catalogue
        self._simulated = simulated
        self._by_symbol: dict[str, tuple[Instrument, str]] = {}

    def announce(self, contract: Any) -> None:
        """A gateway's vnpy ContractData. Margin and fees, which vnpy does not tell, come from the catalogue."""
        symbol, gateway_name = contract.vt_symbol, contract.gateway_name
        known = self._catalogue.find(symbol)
        if gateway_name == self._simulated:
            if known is not None and symbol not in self._by_symbol:
                self._by_symbol[symbol] = (known, gateway_name)
            return
        told: dict[str, Any] = {
            "contract_size": exact(contract.size),
            "price_tick": exact(contract.pricetick),
            "min_quantity": exact(contract.min_volume),
            "quantity_step": exact(contract.min_volume),
        }
        if known is None:
            kind = _KINDS.get(contract.product.name, contract.product.name)
            # Of an unknown instrument the whole notional is asked for as margin: too much is safe, too little is not.
            known = Instrument.model_construct(
                symbol=symbol,
                name=contract.name or symbol,
                kind=kind if kind in ("FUTURES", "EQUITY", "OPTION", "FUND", "SPOT", "INDEX") else "SPOT",
                margin_rate=Decimal(1),
                **told,
            )
        self._by_symbol[symbol] = (known.model_copy(update=told), gateway_name)

    def all(self) -> list[tuple[Instrument, str]]:
        """Instruments with their gateways, by symbol."""
        return [found for _, found in sorted(self._by_symbol.items())]

    def gateway_of(self, symbol: str) -> str:
        """The gateway that trades a symbol; empty when none does."""
        found = self._by_symbol.get(symbol)
        return "" if found is None else found[1]
