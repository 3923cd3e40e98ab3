"""Symbols and the gateways that serve them: moves, rivals, subscriptions, and the choices that outlive a restart."""

import logging
from typing import Any

from services.engine.settings import EngineSettings
from services.engine.sim.simulation import SIM, Simulation
from services.engine.streams.subscriptions import Subscriptions
from services.engine.vnpy.contracts import Contracts
from services.engine.vnpy.gateways import Gateways
from services.engine.vnpy.mapping import split_symbol
from services.engine.vnpy.venues import VnpyVenues
from services.kernel.errors import StartError
from services.quant.catalogue import Catalogue

log = logging.getLogger(__name__)

PRIMARY_KEY = "primary:"
SERVED_KEY = "served:"
SEEN_KEY = "seen:"


class SymbolOwners:
    """Keeps what depends on a symbol's gateway in step with the contracts that are announced."""

    def __init__(
        self,
        contracts: Contracts,
        catalogue: Catalogue,
        gateways: Gateways,
        venues: VnpyVenues,
        simulation: Simulation,
        subscriptions: Subscriptions,
    ) -> None:
        self._contracts = contracts
        self._catalogue = catalogue
        self._gateways = gateways
        self._venues = venues.by_name
        self._simulation = simulation
        self._subscriptions = subscriptions
        self._rivals: set[tuple[str, str]] = set()

    def restore(self, state: dict[str, Any]) -> dict[str, int]:
        """Take the choices of an earlier run; return when each gateway was last seen to be connected (ns)."""
        primary = {key.removeprefix(PRIMARY_KEY): name for key, name in state.items() if key.startswith(PRIMARY_KEY)}
        for name in self._venues:
            primary |= dict.fromkeys(state.get(SERVED_KEY + name, ()), name)
        self._contracts.restore({symbol: name for symbol, name in primary.items() if name in self._venues})
        return {key.removeprefix(SEEN_KEY): ns for key, ns in state.items() if key.startswith(SEEN_KEY)}

    def subscribe(self, symbol: str, gateway_name: str, subscriber: str) -> None:
        """Ask a gateway for a symbol's ticks; again changes nothing but that it may send its last one again."""
        self._subscriptions.add(symbol, subscriber)
        if gateway_name == SIM:
            self._simulation.subscribe(symbol)
        else:
            self._venues[gateway_name].subscribe(symbol)

    def unsubscribe(self, symbol: str, subscriber: str) -> bool:
        """A subscriber asks for a symbol's ticks no more; true when nobody does: then they are dropped."""
        return self._subscriptions.remove(symbol, subscriber)

    def on_contract(self, contract: Any, moved: str) -> None:
        """A contract was announced; `moved` is the gateway that serves its symbol from now on, if another one did."""
        symbol, name = contract.vt_symbol, contract.gateway_name
        if moved:
            self._move(symbol, moved)
        primary = self._contracts.primary(symbol)
        # Subscriptions at another gateway, or at this one before it was made anew, it does not know.
        if symbol in self._subscriptions and name != SIM and primary == name:
            self._venues[name].subscribe(symbol)
        if SIM not in (primary, name) and primary != name and (primary, name) not in self._rivals:
            self._rivals.add((primary, name))
            absent = "" if self._contracts.gateway_of(symbol) else ", which has not announced it since the start"
            log.warning(
                "gateway %s offers %s, too, but it is traded at gateway %s%s: where both offer a symbol, "
                "engine.primary_gateways decides otherwise",
                *(name, symbol, primary, absent),
            )

    def save_primaries(self) -> None:
        """Write the choice between gateways of a symbol for good, once all real gateways have sent their contracts."""
        if self._contracts.unkept and self._gateways.is_decided:
            kept = self._contracts.keep()
            for name in self._venues:
                self._simulation.store.put_state(SERVED_KEY + name, kept.get(name, []))

    def save_seen(self) -> None:
        """Save when each gateway was last known to be connected."""
        for name, venue in self._venues.items():
            if venue.seen_ns:
                self._simulation.store.put_state(SEEN_KEY + name, venue.seen_ns)

    def _move(self, symbol: str, gateway_name: str) -> None:
        if self._catalogue.find(symbol) is None or gateway_name == SIM:
            return
        self._simulation.store.put_state(PRIMARY_KEY + symbol, gateway_name)
        self._simulation.withdraw(symbol)


def check_settings(settings: EngineSettings, catalogue: Catalogue) -> None:
    """Raises: StartError for a primary gateway that there is none of, and for an exchange that vnpy does not know."""
    for symbol, name in settings.primary_gateways.items():
        if name != SIM and name not in settings.gateways:
            raise StartError(f"engine.primary_gateways: {symbol}: there is no gateway {name}")
    for instrument in catalogue:
        try:
            split_symbol(instrument.symbol)
        except ValueError:
            raise StartError(
                f"instruments: {instrument.symbol}: vnpy knows no exchange {instrument.exchange}"
            ) from None
