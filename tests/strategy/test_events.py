"""Events of strategies, as others hear them."""

import pytest
from redfire.strategy.v1 import strategy_pb2 as pb

from tests.heard_events import HeardEvents
from tests.strategy.jobs.backtests import STRATEGIES, BacktestClient, store_bars
from tests.waiting import until

pytestmark = pytest.mark.slow

RAISES = """
from vnpy_ctastrategy import CtaTemplate


class Raises(CtaTemplate):
    author = "test"
    parameters = []
    variables = []

    def on_init(self):
        raise ValueError("at once")
"""


async def test_the_life_of_strategies_and_backtests_is_published_in_order(serve, client_of, strategies_dir, tmp_path):
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    (strategies_dir / "raises.py").write_text(RAISES)
    store_bars(tmp_path / "data")
    async with serve(data_dir=tmp_path / "data", callback_timeout_s=20.0) as p:
        heard = HeardEvents(p)
        client = client_of(p)
        strategy_id = await client.run("Trader")
        await client.stop(strategy_id)
        await client.stub.DeleteStrategy(pb.DeleteStrategyRequest(strategy_id=strategy_id))
        expected = [f"strategy.{event}" for event in ("created", "started", "stopped", "deleted")]
        await until(lambda: heard.keys == expected)
        assert {heard.of(key)[0].strategy_id for key in expected} == {strategy_id}

        heard.events.clear()
        failing = await client.create("Raises")
        await client.start(failing.strategy_id)
        await until(lambda: heard.keys == ["strategy.created", "strategy.started", "strategy.failed"], 10)
        assert "at once" in heard.of("strategy.failed")[0].error

        heard.events.clear()
        backtests = BacktestClient(p.identity())
        good, bad = await backtests.create("Trader"), await backtests.create("Raises")
        await until(lambda: len(heard.events) == 2, 60)
        (finished,), (failed,) = heard.of("strategy.backtest_finished"), heard.of("strategy.backtest_failed")
        assert (finished.backtest_id, finished.kind) == (good.backtest_id, "BACKTEST")
        assert (failed.backtest_id, failed.failure) == (bad.backtest_id, "JOB_FAILURE_STRATEGY_RAISED")
