"""Heartbeats of the tick stream: each second, and before the row with which a replay passes a minute."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from services.engine.streams.tick_stream import TickStream
from services.kernel.clock import Clock

HEARTBEAT_S = 1.0


class Heartbeats:
    """Puts heartbeats with the gateways' watermarks between the ticks.

    A heartbeat goes the way of the ticks, through the queue from the gateways' threads to the loop: where that way
    hangs, no heartbeat comes. Watermarks are read when it sets out, so that ticks on their way are before it, and those
    that are not known any more when it arrives are left out.
    """

    def __init__(
        self,
        ticks: TickStream,
        clock: Clock,
        encode: Callable[[datetime, Mapping[str, int]], bytes],
        read_watermarks: Callable[[], Mapping[str, int]],
        send_behind_ticks: Callable[[Callable[[], None]], None],
        interval_s: float,
    ) -> None:
        """`send_behind_ticks` calls a function when all that gateways have sent by now was delivered."""
        self._ticks = ticks
        self._clock = clock
        self._encode = encode
        self._read_watermarks = read_watermarks
        self._send_behind_ticks = send_behind_ticks
        self._interval_s = interval_s
        self._on_its_way = False
        self._watermarks_ns: dict[str, int] = {}

    async def run(self) -> None:
        """Send a heartbeat each interval until cancelled; none while one is on its way."""
        while True:
            await asyncio.sleep(self._interval_s)
            if not self._on_its_way:
                self._on_its_way = True
                self._send_behind_ticks(partial(self._arrive, self._read_watermarks()))

    def publish(self, watermarks_ns: Mapping[str, int]) -> None:
        """Publish a heartbeat behind the ticks of now. A gateway's watermark never goes back."""
        last = self._watermarks_ns
        for name, watermark_ns in watermarks_ns.items():
            last[name] = max(watermark_ns, last.get(name, 0))
        watermarks = {name: last[name] for name in watermarks_ns}
        self._ticks.publish_heartbeat(self._encode(self._clock.now(), watermarks))

    def _arrive(self, watermarks_ns: Mapping[str, int]) -> None:
        self._on_its_way = False
        known = self._read_watermarks()
        self.publish({name: watermark_ns for name, watermark_ns in watermarks_ns.items() if name in known})
