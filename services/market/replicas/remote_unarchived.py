"""The tails of symbols as the recorder has them, for queries of a replica that does not record."""

from collections.abc import Awaitable
from typing import TypeVar

from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.errors import DeadlineExceeded, Unavailable
from services.market.convert import bar_from_pb
from services.market.recording.unarchived import PartOfRun, Tail, TickPosition
from services.market.replicas.directory import Recorder, RecorderUnavailable
from services.quant.bars import Interval
from services.quant.ticks.variant import variant

A = TypeVar("A")


class RemoteUnarchived:
    """Asks the recorder. Each method raises RecorderUnavailable when it does not answer."""

    is_remote = True

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def ticks(self, symbol: str, low_ns: int, high_ns: int, after: TickPosition | None, limit: int) -> Tail:
        """Of each run the first `limit` ticks of this range behind a position."""
        request = pb.ReadUnarchivedTicksRequest(symbol=symbol, start_ns=low_ns, end_ns=high_ns, limit=limit)
        if after is not None:
            request.after.trading_day, request.after.time_ns, request.after.sequence = after
        answer = await self._answer(self._recorder.stub().ReadUnarchivedTicks(request))
        return Tail(answer.archived_until, answer.valid_from_ns, [_run_from_pb(run) for run in answer.runs])

    async def bars(self, symbol: str, interval: Interval, low_ns: int, high_ns: int) -> Tail:
        """Bars that start in this range."""
        request = pb.ReadUnarchivedBarsRequest(
            symbol=symbol,
            interval=int(interval),  # type: ignore[arg-type]
            start_ns=low_ns,
            end_ns=high_ns,
        )
        answer = await self._answer(self._recorder.stub().ReadUnarchivedBars(request))
        bars = [bar_from_pb(bar, day) for bar, day in zip(answer.bars, answer.trading_days, strict=True)]
        return Tail(answer.archived_until, answer.valid_from_ns, bars=lambda: bars)

    async def has_seen(self, symbol: str) -> bool:
        """Return true when ticks of the symbol are not in the archive yet."""
        return bool((await self.ticks(symbol, 0, 0, None, 0)).runs)

    async def _answer(self, call: Awaitable[A]) -> A:
        try:
            return await call
        except (Unavailable, DeadlineExceeded) as error:
            raise RecorderUnavailable(self._recorder.name) from error
        except self._recorder.moved as error:
            raise RecorderUnavailable(self._recorder.name) from error


def _run_from_pb(message: pb.ReadUnarchivedTicksResponse.Run) -> PartOfRun:
    run = PartOfRun(message.epoch, message.trading_day, (message.first_ns, message.last_ns))
    if message.ticks:
        batch = variant().scanner().scan(message.ticks)
        run.add(batch.column("time_ns"), batch.column("sequence"), batch.frames())
    return run
