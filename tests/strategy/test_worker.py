"""A worker notices that the strategy service is not heard, whatever TCP believes."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from redfire.strategy.v1 import worker_pb2

from services.kernel.clock import ManualClock
from services.kernel.rpc.silence import SILENCE_S
from services.strategy.runner.worker import Worker
from tests.simulated_time import in_simulated_time


class HungStream:
    """Sends nothing, not even heartbeats."""

    def __init__(self) -> None:
        self.cancelled = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield worker_pb2.WatchAssignmentsResponse()

    def cancel(self) -> None:
        self.cancelled = True


@in_simulated_time
async def test_a_strategy_service_that_hangs_is_asked_again() -> None:
    streams: list[HungStream] = []

    def watch(request: Any, metadata: Any) -> HungStream:
        streams.append(HungStream())
        return streams[-1]

    connections: Any = SimpleNamespace(worker=SimpleNamespace(WatchAssignments=watch), worker_metadata=())
    loader: Any = None
    task = asyncio.ensure_future(Worker("w", connections, loader, ManualClock(), None).run())
    await asyncio.wait([task], timeout=SILENCE_S + 1)
    assert [stream.cancelled for stream in streams] == [True, False]
    task.cancel()
    await asyncio.wait([task])
