"""The exchange time at gateways whose ticks come from outside: their watermarks."""

from typing import Any

from services.kernel.clock import Clock


class ExchangeClocks:
    """The wall clock, less the least delay that ticks of the gateway had, less their lateness.

    The delay is 0 or nearly so at an exchange. It is hours where a test system plays another day, or where nothing but
    the last snapshots of a closed market has come: bars are not closed by a clock that their ticks do not go by.
    """

    def __init__(self, clock: Clock, lateness_ns: int) -> None:
        self._clock = clock
        self._lateness_ns = lateness_ns
        self._delays_ns: dict[str, int] = {}

    def observe(self, tick: Any) -> None:
        """Take the time of a tick that comes now (vnpy's TickData)."""
        try:
            time_ns = int(tick.datetime.timestamp() * 1e6) * 1000
        except (AttributeError, TypeError, ValueError, OverflowError, OSError):
            return  # an unreadable tick: the stream counts it
        delay_ns = max(self._clock.now_ns() - time_ns, 0)
        if delay_ns < self._delays_ns.get(tick.gateway_name, delay_ns + 1):
            self._delays_ns[tick.gateway_name] = delay_ns

    def watermark_ns(self, gateway_name: str) -> int | None:
        """The exchange time that no later tick of a connected gateway is before, but for late ones.

        None before its first tick.
        """
        delay_ns = self._delays_ns.get(gateway_name)
        return None if delay_ns is None else self._clock.now_ns() - delay_ns - self._lateness_ns
