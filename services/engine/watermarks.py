"""The watermarks of all gateways: exchange times that no later tick is before, but for late ones."""

from functools import partial

from services.engine.sim.simulation import SIM, Simulation
from services.engine.vnpy.exchange_clocks import ExchangeClocks
from services.engine.vnpy.gateways import Gateways


class Watermarks:
    """Reads what each connected gateway's clock says; a gateway that does not know its time is left out."""

    def __init__(self, gateways: Gateways, simulation: Simulation, exchange_clocks: ExchangeClocks) -> None:
        self._gateways = gateways
        self._simulation = simulation
        self._exchange_clocks = exchange_clocks

    def read(self) -> dict[str, int]:
        """Watermarks by gateway, in nanoseconds of exchange time."""
        watermarks = {}
        for gateway in self._gateways.list():
            name = gateway.gateway_name
            clock = self._simulation.watermark_ns if name == SIM else partial(self._exchange_clocks.watermark_ns, name)
            if self._gateways.is_connected(name) and (watermark_ns := clock()) is not None:
                watermarks[name] = watermark_ns
        return watermarks
