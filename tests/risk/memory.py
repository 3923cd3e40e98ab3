"""Risk's portfolio and its feed without a network."""

import asyncio
from decimal import Decimal
from typing import Any

from redfire.trading.v1 import order_service_pb2

from services.kernel.clock import ManualClock
from services.quant.calendar import Calendar
from services.risk.domain.account_exposure import AccountExposure
from services.risk.domain.limits import Limits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.peers.trading_feed import TradingFeed

SYMBOLS = ["IF2101.CFFEX", "rb2105.SHFE"]


class Risk:
    """A portfolio and its feed, without a network."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.losses: list[Decimal] = []
        self.portfolio = Portfolio(self.clock, Limits())
        self.portfolio.on_loss_reached(lambda _, loss: self.losses.append(loss))
        self.portfolio.learn_sizes({SYMBOLS[0]: Decimal(300), SYMBOLS[1]: Decimal(10)})
        self.counts = ShardCounts(Calendar.load())
        self.feed = TradingFeed(None, self.portfolio, self.counts, asyncio.Event(), self.clock)  # type: ignore[arg-type]
        self.sequence = 0

    def update(self, **fields: Any) -> None:
        self.sequence += 1
        response = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, **fields)
        self.feed._apply(order_service_pb2.WatchTradingResponse(user_id="user", update=response))

    def snapshot(self, messages: list[dict[str, Any]], *, gap: bool) -> None:
        if gap:
            self.update(gap=order_service_pb2.StreamOrdersResponse.Gap())
        else:
            self.portfolio.begin_snapshot()
        for message in messages:
            self.update(**message)
        self.update(snapshot_complete=order_service_pb2.StreamOrdersResponse.SnapshotComplete())

    def account(self, account_id: str) -> AccountExposure:
        exposure = self.portfolio.find(account_id)
        assert exposure is not None
        return exposure
