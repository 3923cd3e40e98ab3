"""A comparison with the memory of running trading that hangs: it cannot be made, which is said, and not waited for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.rpc.silence import SILENCE_S, StreamSilent
from services.trading.verify.memory_checks import compare_memory
from tests.simulated_time import in_simulated_time


class HungTrading:
    """Sends a part of its snapshot, and no more."""

    async def WatchTrading(self, request: pb.WatchTradingRequest) -> AsyncIterator[pb.WatchTradingResponse]:
        yield pb.WatchTradingResponse(update=pb.StreamOrdersResponse(account={"account_id": "a"}))
        await asyncio.Event().wait()


@in_simulated_time
async def test_a_trading_that_hangs_is_not_waited_for() -> None:
    repositories: Any = None
    with pytest.raises(StreamSilent):
        await asyncio.wait_for(compare_memory([HungTrading()], repositories), SILENCE_S + 1)
