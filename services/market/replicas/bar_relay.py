"""Bars from the recorder, for this replica's streams: followed until cancelled, opened again after breaks.

While the recorder is away bar streams end, and none opens: a bar that closes meanwhile is in history later, and no
stream misses it in silence.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from redfire.market.v1 import market_pb2
from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.errors import RedFireError
from services.kernel.rpc.silence import until_silent
from services.kernel.tasks import FIRST_PAUSE_S
from services.market.bars.bar_streams import BarStreams
from services.market.replicas.directory import Recorder, RecorderUnavailable

_log = logging.getLogger(__name__)
LONGEST_PAUSE_S = 0.5
BEATS_IN_SILENCE = 4
"""Heartbeats that come within the silence after which the recorder counts as away."""


class BarRelay:
    """Reads the recorder's bars into this replica's streams."""

    def __init__(
        self,
        recorder: Recorder,
        streams: BarStreams[market_pb2.Bar],
        silence_s: Callable[[], float],
        wait_for_capacity: Callable[[], Any],
    ) -> None:
        """`wait_for_capacity` returns when a feed that can wait may go on."""
        self._recorder = recorder
        self._streams = streams
        self._silence_s = silence_s
        self._wait_for_capacity = wait_for_capacity
        self._connected = False
        streams.close(self._error)

    @property
    def failure(self) -> str:
        """The reason for which there are no bars at present; empty when there are."""
        return "" if self._connected else self._error().message

    async def run(self) -> None:
        """Follow the recorder until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._follow()
                _log.info("replica %s ended its bars", self._recorder.name)
            except RedFireError as error:
                _log.info("bars of replica %s are unavailable: %s", self._recorder.name, error.message)
            except Exception:
                _log.exception("bars of replica %s cannot be read", self._recorder.name)
            finally:
                was_connected, self._connected = self._connected, False
                self._streams.close(self._error)
            pause_s = FIRST_PAUSE_S if was_connected else min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    def _error(self) -> RecorderUnavailable:
        return RecorderUnavailable(self._recorder.name)

    async def _follow(self) -> None:
        """Read one stream. Raises: StreamSilent when not even a heartbeat comes for too long."""
        silence_s, request = self._silence_s(), pb.WatchBarsRequest()
        request.heartbeat_interval.FromNanoseconds(int(silence_s / BEATS_IN_SILENCE * 1e9))
        async with aclosing(until_silent(self._recorder.stub().WatchBars(request), silence_s)) as messages:
            async for message in messages:
                for bar in message.bars:
                    self._streams.publish(bar)
                if message.bars:
                    await self._wait_for_capacity()
                if message.HasField("feed_state"):
                    self._streams.set_feed_ended(message.feed_state.ended)
                    if not self._connected:
                        self._connected = True
                        self._streams.reopen()
