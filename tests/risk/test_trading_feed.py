"""Risk notices that trading is not heard, whatever TCP believes."""

import asyncio
from collections.abc import AsyncIterator

from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.rpc.silence import SILENCE_S
from services.quant.calendar import Calendar
from services.risk.domain.limits import Limits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.peers.trading_feed import TradingFeed
from tests.simulated_time import SimulatedClock, in_simulated_time

Update = pb.StreamOrdersResponse


class HungTrading:
    """Completes its first stream's snapshot, and sends nothing more on this and all later ones."""

    def __init__(self) -> None:
        self.requests: list[pb.WatchTradingRequest] = []

    async def WatchTrading(self, request: pb.WatchTradingRequest) -> AsyncIterator[pb.WatchTradingResponse]:
        self.requests.append(request)
        if len(self.requests) == 1:
            complete = Update.SnapshotComplete()
            yield pb.WatchTradingResponse(update=Update(sequence=7, snapshot_complete=complete))
        await asyncio.Event().wait()


@in_simulated_time
async def test_a_trading_that_hangs_is_asked_again_and_not_relied_on() -> None:
    clock = SimulatedClock(asyncio.get_running_loop())  # type: ignore[arg-type]
    trading, sizes_known = HungTrading(), asyncio.Event()
    sizes_known.set()
    counts = ShardCounts(Calendar.load())
    counts.all.sequence = 7
    feed = TradingFeed(trading, Portfolio(clock, Limits()), counts, sizes_known, clock)  # type: ignore[arg-type]
    task = asyncio.ensure_future(feed.run())
    await asyncio.sleep(SILENCE_S / 2)
    assert feed.reliable(1.0)
    await asyncio.sleep(SILENCE_S)
    assert not feed.reliable(1.0)
    assert [request.resume_after_sequence for request in trading.requests[:2]] == [0, 7]
    task.cancel()
    await asyncio.wait([task])
