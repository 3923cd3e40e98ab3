"""The replica that records: makes bars and history of the feed, and gives other replicas what they cannot read."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path

from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.data.folder_fence import FolderFence
from services.market import metrics
from services.market.bars.bar_streams import BarStreams
from services.market.convert import bar_frame, bar_to_pb
from services.market.influx.sink import InfluxSink
from services.market.recording.history import History
from services.market.recording.recorder import Recorder
from services.market.recording.restoring import Restored
from services.market.recording.tick_sources import DayOfTicks, Source, UnarchivedSource, range_of_day
from services.market.recording.tick_store import TickStore
from services.market.recording.unarchived import OwnUnarchived, Tail, TickPosition, TickRun
from services.market.recording.uploads import Uploads
from services.market.replicas.bar_feed import BarFeed
from services.market.settings import MarketSettings
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.quant.bars import Bar, BarBuilder, Interval, LocalClock


class RecordingRole:
    """Bars, recorder and history of this process."""

    records = True

    def __init__(
        self,
        folder: Path,
        settings: MarketSettings,
        hub: Hub,
        now_ns: Callable[[], int],
        fence: FolderFence | None = None,
        is_held: Callable[[], bool] = lambda: True,
    ) -> None:
        """`folder` is that of history: this process's alone, or, with a fence, of the replica that holds the lease."""
        clock = LocalClock(settings.timezone)
        store = TickStore(
            folder, settings.compact_files, settings.log_keep_mb << 20, settings.archive_url, fence, is_held
        )
        self._uploads = Uploads(store) if settings.archive_url else None
        self._influx = (
            InfluxSink(settings.influx_url, clock, settings.influx_token.get_secret_value())
            if settings.influx_url
            else None
        )
        self._hub = hub
        self._bars = BarBuilder(clock)
        self._recorder = Recorder(store, settings, clock, self._bars, hub.last_frames, now_ns)
        self._unarchived = OwnUnarchived(self._recorder.unarchived, self._recorder.takeovers)
        self._feed = BarFeed()
        self.bar_streams: BarStreams[Bar] = BarStreams(bar_frame, hub.is_live)
        self.history = History(self._unarchived, store.ticks, store.bars, clock)
        self._bars.on_impossible_day(lambda symbol: metrics.impossible_days.inc())
        self._bars.on_closed(self.bar_streams.publish)
        self._bars.on_closed(self._feed.publish)
        self._bars.on_closed(self._recorder.record_bar)
        self._bars.on_failed(partial(hub.failures.report, "bars"))
        hub.on_published(self._bars.on_batch)
        hub.on_published(self._recorder.record)
        if self._influx is not None:
            self._bars.on_closed(self._influx.on_bar)
            hub.on_published(self._influx.on_batch)
        hub.on_watermarks(self._bars.on_watermarks)
        hub.on_watermarks(self._recorder.record_watermarks)
        hub.on_moved(self._recorder.takeovers.move)

    @property
    def failure(self) -> str:
        """The reason for which history cannot be written at present; empty when it can."""
        return self._recorder.failure or (self._uploads.failure if self._uploads is not None else "")

    async def restore(self) -> None:
        """Go on where the last run stopped. Raises: StartError when another process records in the folder."""

        def restore_epoch(started: engine_pb2.StreamTicksResponse.Started) -> None:
            self._hub.restore_epoch(Position(started.epoch, started.position), started.first_sequence)

        await self._recorder.restore(Restored(restore_epoch, self._hub.restore, self._hub.restore_time))

    async def run(self) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self.history.prepare())
            if self._uploads is not None:
                group.create_task(self._uploads.run())
            if self._influx is not None:
                group.create_task(self._influx.run())

    async def drain(self) -> None:
        """End the streams of other replicas."""
        await self._feed.drain()

    async def close(self, *, archives: bool = True) -> None:
        """Archive what is not, or leave that to another replica, and close the files."""
        await self._recorder.close(archives=archives)
        if self._uploads is not None:
            await self._uploads.close()
        if self._influx is not None:
            await self._influx.close()
        self.history.close()

    async def abandon(self) -> None:
        """End without a write: another replica goes on, from what is on disk."""
        await self._recorder.abandon()
        if self._influx is not None:
            await self._influx.close()
        self.history.close()

    # What upstream says of the feed ------------------------------------------------------------------------------

    def begin(self, started: engine_pb2.StreamTicksResponse.Started) -> None:
        """The feed goes on here, in this epoch."""
        self._recorder.begin_epoch(started)
        self._bars.begin_epoch(started.epoch)
        self._bars.lose(started.sequences)
        self.bar_streams.set_feed_ended(False)
        self._feed.set_ended(False)

    def reach(self, position: int) -> None:
        """The ticks up to this position of the epoch were published."""
        self._recorder.reach(position)

    async def wait_for_capacity(self) -> None:
        """Wait until the disk has caught up, for a feed that can wait."""
        await self._recorder.wait_for_capacity()

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated."""
        self._recorder.takeovers.learn_real_gateways(names)

    async def end(self, ended: engine_pb2.StreamTicksResponse.FeedEnded) -> None:
        """A gateway's replay came to its end here. Other gateways go on: their bars are not over."""
        self._bars.close_all(ended.gateway_name)
        self.bar_streams.set_feed_ended(True)
        self._feed.set_ended(True)
        await self._recorder.end_feed(ended.position, ended.gateway_name)

    # What other replicas ask -------------------------------------------------------------------------------------

    def watch_bars(self, heartbeat_s: float) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """Yield all bars that close from now on. Raises: TooSlow."""
        return self._feed.watch(heartbeat_s)

    async def read_log(self, max_bytes: int) -> AsyncGenerator[pb.ReadLogResponse, None]:
        """Yield the write-ahead log as far as it is kept."""
        async with aclosing(self._recorder.read_log(max_bytes)) as parts:
            async for part in parts:
                yield pb.ReadLogResponse(
                    records=[pb.ReadLogResponse.Record(position=one.position, message=one.message) for one in part]
                )

    async def read_ticks(
        self, symbol: str, start_ns: int, end_ns: int, after: TickPosition | None, limit: int
    ) -> pb.ReadUnarchivedTicksResponse:
        """The runs of ticks that are not archived, and of each the first ones of this range."""
        tail = await self._unarchived.ticks(symbol, start_ns, end_ns, after, limit)
        return await self.history.run(partial(_read_ticks, tail, start_ns, end_ns, after, limit))

    async def read_bars(
        self, symbol: str, interval: Interval, start_ns: int, end_ns: int
    ) -> pb.ReadUnarchivedBarsResponse:
        """The bars of this range that are not archived."""
        tail = await self._unarchived.bars(symbol, interval, start_ns, end_ns)
        return await self.history.run(partial(_read_bars, tail, start_ns, end_ns))


def _read_ticks(
    tail: Tail, start_ns: int, end_ns: int, after: TickPosition | None, limit: int
) -> pb.ReadUnarchivedTicksResponse:
    answer = pb.ReadUnarchivedTicksResponse(archived_until=tail.until, valid_from_ns=tail.valid_from_ns)
    days: dict[int, list[TickRun]] = {}
    for run in tail.runs:
        days.setdefault(run.day, []).append(run)
    for day, runs in days.items():
        # What a later epoch of the day replaces is left out, so that the first ones are enough.
        rows, epochs = DayOfTicks(tail.valid_from_ns), dict[Source, int]()
        for run in runs:
            source = UnarchivedSource(run)
            epochs[source] = run.epoch
            rows.add(source, run.epoch)
        for part, frames in rows.parts(range_of_day(day, start_ns, end_ns, after, limit)):
            first_ns, last_ns, ticks = part.first_ns, part.last_ns, b"".join(frames)
            answer.runs.add(epoch=epochs[part], trading_day=day, first_ns=first_ns, last_ns=last_ns, ticks=ticks)
    return answer


def _read_bars(tail: Tail, start_ns: int, end_ns: int) -> pb.ReadUnarchivedBarsResponse:
    bars = [bar for bar in tail.bars() if start_ns <= bar.start_ns < end_ns]
    return pb.ReadUnarchivedBarsResponse(
        archived_until=tail.until,
        valid_from_ns=tail.valid_from_ns,
        bars=map(bar_to_pb, bars),
        trading_days=[bar.trading_day for bar in bars],
    )
