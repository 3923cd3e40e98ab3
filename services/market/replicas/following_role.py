"""A replica that does not record: takes bars, and what is not in the shared archive yet, from the one that does."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2
from redfire.market.v1 import replica_service_pb2 as pb

from services.market.bars.bar_streams import BarStreams
from services.market.convert import relayed_bar_frame
from services.market.recording.history import History
from services.market.recording.unarchived import TickPosition
from services.market.replicas.bar_relay import BarRelay
from services.market.replicas.directory import NotTheRecorder, Recorder
from services.market.replicas.remote_log import RemoteLog
from services.market.replicas.remote_unarchived import RemoteUnarchived
from services.market.settings import MarketSettings
from services.market.ticks.hub import Hub
from services.quant.archive import layout
from services.quant.bars import Interval, LocalClock


class FollowingRole:
    """Bar streams and history as the recorder has them."""

    records = False

    def __init__(
        self, folder: Path, settings: MarketSettings, hub: Hub, live: Callable[[], MarketSettings], recorder: Recorder
    ) -> None:
        """`folder` is that of history, which is only read."""
        self._name = settings.replica
        self.bar_streams: BarStreams[market_pb2.Bar] = BarStreams(relayed_bar_frame, hub.is_live)

        async def wait_for_capacity() -> None:
            if hub.paced:
                await hub.wait_for_capacity(live().stall_s)

        self._relay = BarRelay(recorder, self.bar_streams, lambda: live().upstream_silence_s, wait_for_capacity)
        self._log = RemoteLog(recorder, folder, hub, settings.ring_mb << 20, lambda: live().upstream_silence_s)
        storage = layout.storage(folder, settings.archive_url)
        self.history = History(
            RemoteUnarchived(recorder),
            layout.ticks(storage),
            layout.bars(storage),
            LocalClock(settings.timezone),
        )

    @property
    def failure(self) -> str:
        """The reason for which there are no bars at present; empty when there are."""
        return self._relay.failure

    async def restore(self) -> None:
        """Go on where the recorder is, with what it keeps for streams that resume; without it, where the engine is."""
        await self._log.restore()

    async def run(self) -> None:
        """Relay bars until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.history.prepare())
            group.create_task(self._relay.run())

    async def drain(self) -> None:
        """No other replica reads here."""

    async def close(self) -> None:
        """End the query threads."""
        self.history.close()

    # What upstream says of the feed: nothing is made of it -------------------------------------------------------

    def begin(self, started: engine_pb2.StreamTicksResponse.Started) -> None:
        """The feed goes on here, in this epoch."""

    def reach(self, position: int) -> None:
        """The ticks up to this position of the epoch were published."""

    async def wait_for_capacity(self) -> None:
        """No disk has to catch up."""

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """The recorder knows what they replace."""

    async def end(self, ended: engine_pb2.StreamTicksResponse.FeedEnded) -> None:
        """A replay came to its end here; bars end when the recorder says so."""

    # What other replicas ask, in vain ----------------------------------------------------------------------------

    async def watch_bars(self, heartbeat_s: float) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """Raise NotTheRecorder."""
        raise self._refusal()
        yield

    async def read_log(self, max_bytes: int) -> AsyncGenerator[pb.ReadLogResponse, None]:
        """Raise NotTheRecorder."""
        raise self._refusal()
        yield

    async def read_ticks(
        self, symbol: str, start_ns: int, end_ns: int, after: TickPosition | None, limit: int
    ) -> pb.ReadUnarchivedTicksResponse:
        """Raise NotTheRecorder."""
        raise self._refusal()

    async def read_bars(
        self, symbol: str, interval: Interval, start_ns: int, end_ns: int
    ) -> pb.ReadUnarchivedBarsResponse:
        """Raise NotTheRecorder."""
        raise self._refusal()

    def _refusal(self) -> NotTheRecorder:
        return NotTheRecorder(f"replica {self._name} of market does not record", replica=self._name)
