"""Real worker processes: strategies that behave, raise, block, exit; workers that are killed; restarts."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redfire.strategy.v1 import strategy_pb2 as pb

from tests.strategy.user_files import BAD, GOOD
from tests.strategy.worker_processes import own_memory, ticks_until, workers
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_a_native_strategy_trades_and_stops(world, serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    async with serve() as p:
        client = client_of(p)
        strategy_id = await client.run("Counter", quantity=2, note="hello")
        await ticks_until(world, lambda: world.trading_state.position(strategy_id) == 2)

        async def shown():
            strategy = await client.get(strategy_id)
            return strategy.position == "2" and strategy.variables["trades"] == 1

        await ticks_until(world, shown)
        stopped = await client.stop(strategy_id)
        assert stopped.status == pb.STRATEGY_STATUS_STOPPED
        assert (await client.get(strategy_id)).variables["note_seen"] == "hello"
        assert "position 2" in [log.message for log in await client.logs(strategy_id)]
        assert (await client.stop(strategy_id)).status == pb.STRATEGY_STATUS_STOPPED
        strategy = await client.stub.GetPerformance(pb.GetPerformanceRequest(strategy_id=strategy_id))
        assert strategy.performance.trade_count == 1
        assert float(strategy.performance.turnover) == 5000.2 * 2 * 300


async def test_stopping_cancels_open_orders(world, serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    async with serve() as p:
        client = client_of(p)
        strategy_id = await client.run("Rester")
        await ticks_until(world, lambda: world.trading_state.of_strategy(strategy_id))
        assert world.trading_state.is_open(world.trading_state.of_strategy(strategy_id)[0])
        await client.stop(strategy_id)
        assert not [
            order for order in world.trading_state.of_strategy(strategy_id) if world.trading_state.is_open(order)
        ]


async def test_one_that_raises_fails_alone(world, serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    (strategies_dir / "bad.py").write_text(BAD)
    async with serve() as p:
        client = client_of(p)
        good = await client.run("Counter")
        bad = await client.run("Raiser")
        polite = await client.run("PoliteExiter")
        world.market.push(5000)
        for strategy_id in (bad, polite):
            await until(lambda s=strategy_id: _is(client, s, pb.STRATEGY_STATUS_ERROR), 10)
        failed = await client.get(bad)
        assert failed.error == "ValueError: no such luck"
        logs = await client.logs(bad)
        assert any("bad.py" in log.message and "on_tick" in log.message and log.level == "ERROR" for log in logs)
        assert not any("runner.py" in log.message for log in logs)
        assert not [order for order in world.trading_state.of_strategy(bad) if world.trading_state.is_open(order)]
        await ticks_until(world, lambda: world.trading_state.position(good) == 1)
        assert (await client.get(good)).status == pb.STRATEGY_STATUS_RUNNING


async def _is(client, strategy_id, status):
    return (await client.get(strategy_id)).status == status


async def test_one_that_blocks_or_exits_fails_and_the_others_resume(world, serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    (strategies_dir / "bad.py").write_text(BAD)
    async with serve() as p:
        client = client_of(p)
        good = await client.run("Counter")
        await ticks_until(world, lambda: world.trading_state.position(good) == 1)
        await until(lambda: _shows(client, good, "ticks", 3), 5)
        endings = {"Blocker": "blocked for more than 1 s in on_tick", "Exiter": "ended its worker in on_tick"}
        for class_name, words in endings.items():
            bad = await client.run(class_name)
            await ticks_until(world, lambda b=bad: _is(client, b, pb.STRATEGY_STATUS_ERROR))
            assert words in (await client.get(bad)).error
            await ticks_until(world, lambda: _is(client, good, pb.STRATEGY_STATUS_RUNNING))
        before = (await client.get(good)).variables["ticks"]
        await ticks_until(world, lambda: _shows(client, good, "ticks", before + 3))
        # Its position came back from trading, and it did not buy a second time.
        assert (await client.get(good)).position == "1"
        assert world.trading_state.position(good) == 1


async def _shows(client, strategy_id, variable, least):
    strategy = await client.get(strategy_id)
    return variable in strategy.variables and strategy.variables[variable] >= least


async def test_a_killed_worker_is_replaced(world, serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    async with serve() as p:
        client = client_of(p)
        good = await client.run("Counter")
        for _ in range(2):
            os.kill(await until(lambda: next(iter(workers(p)), None), 10), signal.SIGKILL)
            await until(lambda: not world.market.streams, 5)
            await ticks_until(world, lambda: bool(world.market.streams))
        await ticks_until(world, lambda: _shows(client, good, "ticks", 1))
        assert (await client.get(good)).status == pb.STRATEGY_STATUS_RUNNING


async def test_running_strategies_resume_after_a_restart(world, serve, client_of, strategies_dir, tmp_path: Path):
    (strategies_dir / "good.py").write_text(GOOD)
    data_dir = tmp_path / "data"
    async with serve(data_dir) as p:
        client = client_of(p)
        user_id = client.user.user_id
        strategy_id = await client.run("Counter")
        await ticks_until(world, lambda: world.trading_state.position(strategy_id) == 1)
        await ticks_until(world, lambda: _shows(client, strategy_id, "ticks", 5))
        pids = workers(p)
    assert pids
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5)
    async with serve(data_dir) as p:
        client = client_of(p)
        client.user.user_id, client.user.token = user_id, p.mint.token(user_id)
        client.__init__(world, client.user)
        await client.until_status(strategy_id, "RUNNING")
        await ticks_until(world, lambda: _shows(client, strategy_id, "ticks", 8))
        strategy = await client.get(strategy_id)
        assert strategy.position == "1"
        assert world.trading_state.position(strategy_id) == 1


async def test_the_moving_average_trades_and_its_worker_stays_small(world, serve, client_of):
    async with serve() as p:
        client = client_of(p)
        strategy_id = await client.run("MovingAverageStrategy", fast_window=2, slow_window=4, bar_seconds=1)
        price = 5000.0
        for index in range(120):
            price += 1 if (index // 30) % 2 == 0 else -1
            world.market.push(price)
            await asyncio.sleep(0.01)
        await until(lambda: len(world.trading_state.trades) >= 3, 10)
        [worker] = workers(p)
        assert own_memory(worker) < 50e6
        assert abs(world.trading_state.position(strategy_id)) <= 1
        strategy = await client.get(strategy_id)
        assert strategy.status == pb.STRATEGY_STATUS_RUNNING
        assert strategy.variables["slow_average"] > 0
