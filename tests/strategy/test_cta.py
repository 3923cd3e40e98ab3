"""vnpy's own strategies, unchanged, on the CTA engine and in a real worker."""

import asyncio
import math

import pytest
from redfire.strategy.v1 import strategy_pb2 as pb

from services.quant.sdk.events import Effect, Order, OrderKind, OrderState, Side, Tick, Trade
from services.quant.sdk.guard import Guard
from tests.strategy.fakes import START_NS, SYMBOL
from tests.strategy.paper_broker import PaperBroker
from tests.strategy.worker_processes import own_memory, ticks_until, workers
from tests.waiting import until

SHIPPED = [
    "AtrRsiStrategy", "BollChannelStrategy", "DoubleMaStrategy", "DualThrustStrategy", "KingKeltnerStrategy",
    "MultiSignalStrategy", "MultiTimeframeStrategy", "TestStrategy", "TurtleSignalStrategy",
]  # fmt: skip


def wave(count: int) -> list[float]:
    """Prices that go up and down enough for every strategy to find something."""
    return [5000 + 150 * math.sin(i / 37) + 40 * math.sin(i / 5) for i in range(count)]


def tick(price: float, seconds: float, **more: object) -> Tick:
    values = {"limit_up": 6000.0, "limit_down": 4000.0, "bid_prices": (price - 0.2,), "ask_prices": (price + 0.2,)}
    values |= {"bid_quantities": (10.0,), "ask_quantities": (10.0,)}
    return Tick(SYMBOL, START_NS + int(seconds * 1e9), price, **{**values, **more})  # type: ignore[arg-type]


def make_host(class_name: str, broker: PaperBroker, **settings: object):
    from services.quant.sdk.loading import Loader
    from services.strategy.runner.cta import CtaHost

    host = CtaHost(Loader(None).load(class_name), class_name, dict(settings), broker, Guard())
    broker.host = host
    return host


@pytest.mark.parametrize("class_name", SHIPPED)
async def test_every_shipped_strategy_runs_on_ticks(class_name):
    broker = PaperBroker(SYMBOL, closes=wave(1500))
    host = make_host(class_name, broker)
    await host.initialize(None)
    await host.start()
    for index, price in enumerate(wave(1500)):
        for part in range(4):
            await broker.tick(tick(round(price * 5) / 5, index * 60 + part * 15))
    await host.stop()
    assert host.position == pytest.approx(sum(trade.signed_quantity for trade in broker.trades))
    assert host.variables()["inited"] is True
    if class_name not in ("BollChannelStrategy", "DualThrustStrategy"):
        assert broker.trades


async def test_variables_are_restored_but_the_position_comes_from_trades():
    broker = PaperBroker(SYMBOL, closes=wave(200))
    host = make_host("TurtleSignalStrategy", broker, entry_window=30)
    host.set_position(3)
    await host.initialize({"entry_up": 5111.0, "pos": 99.0, "trading": True, "nonsense": 1})
    shown = host.variables()
    assert (shown["entry_up"], shown["pos"], shown["trading"]) == (5111.0, 3, False)


async def test_a_local_stop_waits_triggers_and_is_reported(tmp_path):
    from vnpy_ctastrategy import CtaTemplate

    stop_updates = []

    class Stopper(CtaTemplate):
        def on_init(self):
            pass

        def on_tick(self, tick):
            if self.trading and not stop_updates:
                self.ids = self.buy(5010.13, 2, stop=True) + self.sell(4900, 1, stop=True)
                self.cancel_order(self.ids[1])

        def on_stop_order(self, stop_order):
            stop_updates.append((stop_order.stop_orderid, stop_order.status.name, stop_order.price))

    from services.strategy.runner.cta import CtaHost

    broker = PaperBroker(SYMBOL)
    broker.host = host = CtaHost(Stopper, "x", {}, broker, Guard())
    await host.initialize(None)
    await broker.tick(tick(5000, 0))
    assert not stop_updates, "nothing is sent before the start"
    await host.start()
    await broker.tick(tick(5000, 1))
    assert stop_updates == [
        ("STOP.1", "WAITING", 5010.2),
        ("STOP.2", "WAITING", 4900.0),
        ("STOP.2", "CANCELLED", 4900.0),
    ]
    await broker.tick(tick(5010.2, 2))
    assert stop_updates[-1] == ("STOP.1", "TRIGGERED", 5010.2)
    assert [(r.side, r.effect, r.kind, r.price) for r in broker.requests] == [
        (Side.BUY, Effect.OPEN, OrderKind.LIMIT, 5110.6)
    ]
    assert host.position == 2


async def test_the_position_is_right_before_on_trade_and_orders_carry_the_ids_of_sending():
    from vnpy_ctastrategy import CtaTemplate

    seen = []

    class Checker(CtaTemplate):
        def on_init(self):
            pass

        def on_tick(self, tick):
            self.ids = self.buy(5100, 1)

        def on_order(self, order):
            seen.append((order.vt_orderid in self.ids, order.status.name))

        def on_trade(self, trade):
            seen.append((trade.vt_orderid in self.ids, self.pos))

    from services.strategy.runner.cta import CtaHost

    broker = PaperBroker(SYMBOL)
    broker.host = host = CtaHost(Checker, "x", {}, broker, Guard())
    await host.initialize(None)
    await host.start()
    await broker.tick(tick(5000, 0))
    assert seen == [(True, "NOTTRADED"), (True, "ALLTRADED"), (True, 1)]
    assert isinstance(broker.trades[0], Trade)
    assert OrderState.FILLED in [o.state for o in broker.updates if isinstance(o, Order)]


@pytest.mark.slow
async def test_all_shipped_strategies_run_in_one_worker(world, serve, client_of):
    world.set_bars(wave(2500))
    async with serve(callback_timeout_s=10) as p:
        client = client_of(p)
        ids = {name: (await client.create(name)).strategy_id for name in SHIPPED}
        for strategy_id in ids.values():
            await client.start(strategy_id)
        for strategy_id in ids.values():
            await client.until_status(strategy_id, "RUNNING", 40)
        await until(lambda: len(world.market.streams) == len(ids), 10)
        for price in wave(600):
            world.market.push(price, step_s=20)
            await asyncio.sleep(0.01)
        for name in ("TestStrategy", "DoubleMaStrategy", "MultiSignalStrategy"):
            await ticks_until(world, lambda n=name: any(t.strategy_id == ids[n] for t in world.trading_state.trades))
        [worker] = workers(p)
        assert own_memory(worker) < 130e6
        for name, strategy_id in ids.items():
            strategy = await client.get(strategy_id)
            assert strategy.status == pb.STRATEGY_STATUS_RUNNING, (name, strategy.error)
            stopped = await client.stop(strategy_id)
            assert stopped.status == pb.STRATEGY_STATUS_STOPPED, name
        assert not [order for order in world.trading_state.orders.values() if world.trading_state.is_open(order)]
        for strategy_id in ids.values():
            assert float((await client.get(strategy_id)).position) == float(world.trading_state.position(strategy_id))
