"""A strategy that ran before waits for its instrument, which a real gateway lists after its login."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redfire.strategy.v1 import strategy_pb2, worker_pb2

from services.kernel.clock import ManualClock
from services.kernel.errors import NotFound
from services.quant.sdk.guard import Guard
from services.strategy.runner.report import Phase
from services.strategy.runner.runner import StrategyRunner
from tests.simulated_time import in_simulated_time

SYMBOL = "au2612.SHFE"


class Market:
    """Lists nothing."""

    def __init__(self) -> None:
        self.asked = 0

    async def GetInstrument(self, request: Any, timeout: float, metadata: Any) -> Any:
        self.asked += 1
        raise NotFound("instrument", request.symbol)


@pytest.mark.parametrize(("resume", "asked", "phase"), [(True, 13, Phase.STOPPED), (False, 1, Phase.ERROR)])
@in_simulated_time
async def test_an_instrument_that_is_not_listed_is_waited_for_by_what_ran_before(
    resume: bool, asked: int, phase: Phase
) -> None:
    strategy = strategy_pb2.Strategy(strategy_id="s", symbol=SYMBOL)
    start = worker_pb2.WatchAssignmentsResponse.Start(strategy=strategy, access_token="t", resume=resume)
    market, loader = Market(), None
    given: Any = (SimpleNamespace(market=market), loader)
    runner = StrategyRunner(start, *given, Guard(None), ManualClock(), lambda: None)
    task = asyncio.ensure_future(runner.run())
    await asyncio.sleep(61)
    assert market.asked == asked
    runner.stop()
    await asyncio.wait([task])
    assert runner.report.phase is phase
