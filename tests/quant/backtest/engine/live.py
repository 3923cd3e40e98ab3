"""A strategy live on SIM in this process, on a recording that waits for it: the next tick comes when it has settled.

So each order reaches SIM, and each fill the strategy, before the next tick; and within a tick the strategy sees it,
then its fills are reported, then orders that it sent on it leave. That is the rule under which a backtest with fill
"sim" makes the same trades (see sim_fill.py); without it they race. Nothing else is changed: engine, market, risk,
trading and the runner are the platform's own, over loopback gRPC.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1 import market_pb2
from redfire.strategy.v1 import worker_pb2
from redfire.trading.v1 import account_service_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub

from services.engine.feeds.replay import ReplayFeed
from services.engine.sim.store import SimStore
from services.kernel.clock import Clock
from services.kernel.identifiers import new_id
from services.quant.sdk.events import EXCHANGE_TIME
from services.quant.sdk.guard import Guard
from services.strategy.platform_client import SCOPES
from services.strategy.runner.connections import Connections
from services.strategy.runner.live_broker import LiveBroker
from services.strategy.runner.report import Phase
from services.strategy.runner.runner import StrategyRunner
from services.trading.peers.quotes import Quotes
from tests.harness import platform
from tests.waiting import until

SERVICES = ("auth", "user", "engine", "market", "risk", "trading")
NO_LIMITS = {"price_collar_ratio": None, "max_orders_per_second": None, "max_order_notional": None}
OFFSETS = {"OPEN": "OPEN", "CLOSE": "CLOSE", "CLOSE_TODAY": "CLOSETODAY", "CLOSE_YESTERDAY": "CLOSEYESTERDAY"}


@dataclass(frozen=True)
class Made:
    """A trade as both worlds can report it."""

    time: datetime
    direction: str
    offset: str
    price: float
    volume: float


class _Loader:
    def __init__(self, strategy_class: type) -> None:
        self._class = strategy_class

    def load(self, class_name: str) -> type:
        return self._class


class _Host:
    """The runner's host, with a look at what passes through."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.ticks = 0
        self.sequence = 0
        self.trades: list[Made] = []
        self.orders: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def tick(self, tick: Any) -> None:
        self.sequence = tick.sequence
        await self._host.tick(tick)
        self.ticks += 1

    async def order(self, order: Any) -> None:
        self.orders.append(order)
        await self._host.order(order)

    async def trade(self, trade: Any) -> None:
        direction = "LONG" if trade.side == "BUY" else "SHORT"
        at = trade.time.astimezone(EXCHANGE_TIME)
        self.trades.append(Made(at, direction, OFFSETS[trade.effect], trade.price, trade.quantity))
        await self._host.trade(trade)


class _Runner(StrategyRunner):
    host: _Host | None = None

    def _make_host(self, *args: Any) -> Any:
        self.host = _Host(super()._make_host(*args))
        return self.host

    def is_settled(self, ticks: int, trades: int) -> bool:
        host, broker = self.host, self._broker
        assert host is not None and broker is not None
        return (
            host.ticks >= ticks
            and len(host.trades) >= trades
            and not self._updates
            and not broker._outgoing._unfinished_tasks  # type: ignore[attr-defined]
            and not broker._owed
            and not broker._cancelling
            and all(order.order_id and order.state in ("NEW", "PARTIALLY_FILLED") for order in broker.open_orders())
        )


async def live_trades(
    monkeypatch: pytest.MonkeyPatch,
    strategy_class: type,
    recording: Path,
    symbol: str,
    capital: float = 1_000_000,
    **parameters: Any,
) -> tuple[list[Made], list[Any], int]:
    """(trades, order updates, ticks) of a strategy that runs live on the recording."""
    ended = asyncio.Event()
    runner: _Runner | None = None
    counts = {"ticks": 0, "trades": 0, "by_tick": 0, "trading": 0}

    async def lockstep(feed: ReplayFeed, deliver: Any, wait_for_capacity: Any) -> None:
        await feed._started.wait()
        await wait_for_capacity()
        for quote in feed._quotes():
            counts["ticks"] += 1
            deliver(quote)
            counts["by_tick"] = counts["trades"]
            assert runner is not None
            give_up = time.monotonic() + 20
            while not runner.is_settled(counts["ticks"], counts["trades"]):
                assert runner.report.phase is Phase.RUNNING, runner.report.error
                if time.monotonic() > give_up:
                    ended.set()
                    raise AssertionError(f"tick {counts['ticks']} does not settle")
                await asyncio.sleep(0.0002)
        ended.set()

    count_trade = SimStore.trade

    def counted(store: SimStore, *args: Any) -> None:
        counts["trades"] += 1
        count_trade(store, *args)

    flush = SimStore.flush

    async def after_the_tick(store: SimStore) -> None:
        # A fill is reported when it is durable, the tick that brought it at once: on an idle machine the tick is first,
        # as it is here on any.
        while runner and runner.host and runner.host.ticks < counts["ticks"] and not ended.is_set():
            await asyncio.sleep(0.0002)
        await flush(store)

    take = Quotes._apply_tick

    def taken(quotes: Quotes, tick: market_pb2.Tick) -> None:
        take(quotes, tick)
        counts["trading"] = tick.sequence

    async def after_the_fills() -> None:
        # Trading checks an order by the positions and the last price that it has: what this tick filled and its price,
        # as in a backtest, not those before it, if the order is the faster one.
        host = runner.host if runner else None
        while host and not ended.is_set():
            behind = 0 < counts["trading"] < host.sequence
            if not behind and host.ticks >= counts["ticks"] and len(host.trades) >= counts["by_tick"]:
                return
            await asyncio.sleep(0.0002)

    def late(send: Any) -> Any:
        async def sent(broker: LiveBroker, item: Any) -> None:
            await after_the_fills()
            await send(broker, item)

        return sent

    monkeypatch.setattr(LiveBroker, "_create", late(LiveBroker._create))
    monkeypatch.setattr(LiveBroker, "_cancel", late(LiveBroker._cancel))
    monkeypatch.setattr(Quotes, "_apply_tick", taken)
    monkeypatch.setattr(ReplayFeed, "run", lockstep)
    monkeypatch.setattr(SimStore, "flush", after_the_tick)
    monkeypatch.setattr(SimStore, "trade", counted)
    settings: Mapping[str, Any] = {
        "engine": {"feed": f"replay:{recording}@max?start=subscribe"},
        "risk": NO_LIMITS,
        "trading": {"paper_cash": capital},
    }
    async with platform(*SERVICES, settings=settings) as p:
        user = await p.user(role="trader")
        accounts = user.stub(AccountServiceStub)

        async def account() -> Any:
            return (await accounts.ListAccounts(account_service_pb2.ListAccountsRequest())).accounts

        account_id = (await until(account, 20))[0].account_id
        own = auth_pb2.ExchangeTokenRequest(
            user_id=user.user_id, scopes=SCOPES, account_id=account_id, strategy_id=new_id()
        )
        made = await p.service_stub(AuthServiceStub, "strategy").ExchangeToken(own)
        start = worker_pb2.WatchAssignmentsResponse.Start(access_token=made.access_token)
        start.strategy.strategy_id = own.strategy_id
        start.strategy.account_id = account_id
        start.strategy.symbol = symbol
        start.strategy.class_name = strategy_class.__name__
        ParseDict(parameters, start.strategy.parameters)
        connections = Connections(p.host.address, p.host.address, p.host.address, "")
        runner = _Runner(start, connections, _Loader(strategy_class), Guard(), Clock(), lambda: None)  # type: ignore[arg-type]
        task = asyncio.create_task(runner.run())
        try:
            await until(lambda: runner.report.phase in (Phase.RUNNING, Phase.ERROR), 20)
            assert runner.report.phase is Phase.RUNNING, runner.report.error
            await asyncio.wait_for(ended.wait(), 280)
            assert runner.host is not None
            assert runner.host.ticks == counts["ticks"], "ticks were missed"
            trades = list(runner.host.trades)
            orders = list(runner.host.orders)
            runner.stop()
            await asyncio.wait_for(task, 20)
        finally:
            task.cancel()
            await connections.close()
    return trades, orders, counts["ticks"]
