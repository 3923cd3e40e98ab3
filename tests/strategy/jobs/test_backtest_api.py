"""The contract of BacktestService over loopback: settings, errors, lists, owners, results, optimisations."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2 as common
from redfire.strategy.v1 import backtest_pb2 as pb
from redfire.strategy.v1 import backtest_service_pb2 as rpc

from services.kernel.identifiers import new_id
from tests.strategy.fakes import SYMBOL
from tests.strategy.jobs.backtests import ENDED, STRATEGIES, BacktestClient, store_bars
from tests.strategy.refusal import fields_of, reason_of

pytestmark = pytest.mark.slow


def time(year: int, month: int, day: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(year, month, day, 4, tzinfo=UTC))
    return stamp


@pytest.fixture
async def client(serve, strategies_dir, tmp_path):
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    (strategies_dir / "broken.py").write_text("class Broken:\n    pass\n\nimport no_such_module\n")
    store_bars(tmp_path / "data")
    async with serve(data_dir=tmp_path / "data", max_backtests=2) as p:
        client = BacktestClient(p.identity())
        client.platform = p
        yield client


async def refused(call) -> tuple[str, str, set[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value), fields_of(caught.value)


async def test_a_backtest_from_its_beginning_to_its_report(client):
    made = await client.create(
        "Trader",
        {"every": 15},
        start_time=time(2021, 1, 5),
        end_time=time(2021, 1, 7),
        capital="500000.50",
        commission_rate="0.00023",
        slippage="0.2",
        display_name="mine",
    )
    assert made.status in (pb.JOB_STATUS_QUEUED, pb.JOB_STATUS_RUNNING)
    assert dict(made.parameters) == {"every": 15, "size": 1.0, "note": ""}, "defaults are filled in"
    assert (made.contract_size, made.price_tick) == ("300", "0.2"), "of the instrument"
    assert (made.capital, made.commission_rate, made.slippage) == ("500000.5", "0.00023", "0.2")
    assert (made.dataset, made.display_name, made.fill_model) == (SYMBOL, "mine", pb.FILL_MODEL_VNPY)
    backtest = await client.ended(made.backtest_id)
    assert backtest.status == pb.JOB_STATUS_FINISHED, (backtest.error, backtest.error_detail)
    assert (backtest.progress.done, backtest.progress.percent) == (backtest.progress.total, 100)
    assert backtest.statistics["start_date"] == "2021-01-05"
    assert backtest.statistics["end_date"] == "2021-01-07"
    assert backtest.statistics["total_trade_count"] == backtest.trade_count > 10
    assert {"sharpe_ratio", "max_ddpercent", "total_net_pnl", "return_drawdown_ratio"} <= set(backtest.statistics)
    assert any("init" in line for line in backtest.logs)
    assert backtest.variables["bars"] > 0

    trades: list[pb.BacktestTrade] = []
    token = ""
    while True:
        page = await client.stub.ListBacktestTrades(
            rpc.ListBacktestTradesRequest(backtest_id=backtest.backtest_id, page_size=7, page_token=token)
        )
        trades += page.trades
        if not (token := page.next_page_token):
            break
    assert len(trades) == backtest.trade_count
    assert [trade.trade_id for trade in trades] == [str(n + 1) for n in range(len(trades))]
    assert {trade.trading_day for trade in trades} == {20210105, 20210106, 20210107}
    first, second = trades[:2]
    assert (first.side, first.position_effect) == (common.SIDE_BUY, common.POSITION_EFFECT_OPEN)
    assert (second.side, second.position_effect) == (common.SIDE_SELL, common.POSITION_EFFECT_CLOSE)
    assert first.quantity == "1" and float(first.price) > 3900 and float(first.commission) > 0
    days = (await client.stub.ListBacktestDays(rpc.ListBacktestDaysRequest(backtest_id=backtest.backtest_id))).days
    assert [day.date for day in days] == ["2021-01-05", "2021-01-06", "2021-01-07"]
    assert sum(day.trade_count for day in days) == len(trades)
    assert float(days[-1].balance) == pytest.approx(backtest.statistics["end_balance"], rel=1e-9)

    for lang, word in (("", "Sharpe"), ("zh", "夏普")):
        report = (await client.stub.GetBacktestReport(rpc.GetBacktestReportRequest(backtest_id=made.backtest_id, lang=lang))).report  # noqa: E501 # fmt: skip
        assert report.content_type == "text/html; charset=utf-8"
        page = report.data.decode()
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert word in page


async def test_watching_begins_with_a_snapshot_and_ends_with_the_final_state(client):
    made = await client.create("Slow", {"every": 30}, end_time=time(2021, 1, 4))
    messages = []
    async for message in client.stub.WatchBacktest(rpc.WatchBacktestRequest(backtest_id=made.backtest_id), timeout=60):
        messages.append(message)
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[0] == kinds[-1] == "backtest"
    assert messages[-1].backtest.status == pb.JOB_STATUS_FINISHED
    assert messages[-1].backtest.statistics["total_days"] == 1
    steps = [message.progress for message in messages if message.WhichOneof("event") == "progress"]
    assert len(steps) > 5
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert all(0 <= step.percent <= 100 for step in steps)
    middle = steps[len(steps) // 2]
    assert middle.total == 240 and middle.elapsed.ToMilliseconds() > 0 and middle.time_left.ToMilliseconds() > 0
    again = [m async for m in client.stub.WatchBacktest(rpc.WatchBacktestRequest(backtest_id=made.backtest_id))]
    assert [m.backtest.status for m in again] == [pb.JOB_STATUS_FINISHED]


async def test_what_cannot_be_run_is_refused_with_its_reason(client):
    create = client.create
    name = "Trader"
    assert await refused(create("NoSuchClass")) == ("NOT_FOUND", "UNKNOWN_STRATEGY_CLASS", set())
    assert (await refused(create(name, {"evry": 3})))[1:] == ("INVALID_PARAMETER", {"parameters.evry"})
    assert (await refused(create(name, {"every": "x"})))[1:] == ("INVALID_PARAMETER", {"parameters.every"})
    code, reason, _ = await refused(create(name, symbol="IF2012.CFFEX"))
    assert (code, reason) == ("NOT_FOUND", "DATASET_NOT_FOUND")
    assert (await refused(create(name, dataset="rb888.SHFE")))[1] == "DATASET_NOT_FOUND"
    assert (await refused(create(name, ticks=True, interval=0)))[1] == "DATASET_NOT_FOUND"
    backwards = {"start_time": time(2021, 1, 7), "end_time": time(2021, 1, 5)}
    assert await refused(create(name, **backwards)) == ("INVALID_ARGUMENT", "EMPTY_DATE_RANGE", {"start_time"})
    for nowhere in ({"start_time": time(2022, 1, 1)}, {"end_time": time(2020, 1, 1)}):
        assert (await refused(create(name, **nowhere)))[:2] == ("INVALID_ARGUMENT", "EMPTY_DATE_RANGE")
    assert (await refused(create(name, interval=0)))[1] == "INVALID_FIELD", "neither bars nor ticks"
    assert (await refused(create(name, ticks=True)))[1] == "INVALID_FIELD", "both"
    assert (await refused(create(name, interval=99)))[2] == {"interval"}
    for dataset in ("../../etc/passwd", "/etc/passwd", "IF2101.CFFEX/../x", "a\0.b"):
        assert (await refused(create(name, dataset=dataset)))[::2] == ("INVALID_ARGUMENT", {"dataset"})
    for field, value in (("capital", "0"), ("capital", "1e6"), ("slippage", "-1"), ("contract_size", "-3")):
        assert (await refused(create(name, **{field: value})))[2] == {field}
    assert not (await client.stub.ListBacktests(rpc.ListBacktestsRequest())).backtests


async def test_a_longer_interval_is_made_of_the_stored_one_and_a_shorter_is_not(client, tmp_path):
    assert (await client.finished("Trader", {"every": 5}, interval=common.INTERVAL_15M)).trade_count > 3
    from services.quant.backtest.data.store import DataStore

    store_bars(tmp_path / "other", count=240 * 60)
    bars = DataStore(tmp_path / "other").load(SYMBOL, "5m")
    object.__setattr__(bars, "symbol", "IH2101.CFFEX")
    DataStore(tmp_path / "data").import_dataset(bars)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.create("Trader", dataset="IH2101.CFFEX")
    assert fields_of(caught.value) == {"interval"}
    assert "5m" in caught.value.details()


async def test_the_same_request_id_asks_once(client):
    ids = [(await client.create("Trader", request_id="once")).backtest_id for _ in range(2)]
    ids += [
        one.backtest_id for one in await asyncio.gather(*(client.create("Trader", request_id="x") for _ in range(4)))
    ]
    assert len(set(ids)) == 2
    other = BacktestClient(client.platform.identity())
    assert (await other.create("Trader", request_id="once")).backtest_id not in ids
    for one in set(ids):
        await client.ended(one)


async def test_lists_are_paged_filtered_and_ordered(client):
    sizes = [1, 4, 2, 3]
    made = [(await client.create("Trader", {"size": size})).backtest_id for size in sizes]
    slow = (await client.create("Slow")).backtest_id
    ended = [await client.ended(backtest_id) for backtest_id in made]

    async def listed(**fields) -> list[str]:
        ids: list[str] = []
        token = ""
        while True:
            request = rpc.ListBacktestsRequest(page_size=2, page_token=token, **fields)
            page = await client.stub.ListBacktests(request)
            assert not any(one.logs for one in page.backtests)
            ids += [one.backtest_id for one in page.backtests]
            if not (token := page.next_page_token):
                return ids

    newest = [slow, *made[::-1]]
    assert await listed() == newest
    assert await listed(order=pb.BACKTEST_ORDER_OLDEST) == newest[::-1]
    best = sorted(ended, key=lambda one: -one.statistics["total_return"])
    assert await listed(order=pb.BACKTEST_ORDER_TOTAL_RETURN) == [*(one.backtest_id for one in best), slow]
    sharp = sorted(ended, key=lambda one: (one.statistics["sharpe_ratio"], one.backtest_id), reverse=True)
    assert await listed(order=pb.BACKTEST_ORDER_SHARPE_RATIO) == [*(one.backtest_id for one in sharp), slow]
    assert await listed(class_name="Slow") == [slow]
    assert await listed(status=pb.JOB_STATUS_FINISHED) == newest[1:]
    assert await listed(symbol="IF2102.CFFEX") == []
    first = await client.stub.ListBacktests(rpc.ListBacktestsRequest(page_size=1))
    for request in (
        rpc.ListBacktestsRequest(page_token=first.next_page_token, class_name="Slow"),
        rpc.ListBacktestsRequest(page_token=first.next_page_token, order=pb.BACKTEST_ORDER_SHARPE_RATIO),
        rpc.ListBacktestsRequest(page_token="nonsense"),
    ):
        assert (await refused(client.stub.ListBacktests(request)))[1] == "INVALID_PAGE_TOKEN"


async def test_somebody_elses_are_not_found_and_unharmed(client):
    mallory = BacktestClient(client.platform.identity())
    made = await client.create("Slow")
    done = (await client.finished("Trader")).backtest_id
    stub = mallory.stub
    for backtest_id in (made.backtest_id, done, new_id()):
        of = {"backtest_id": backtest_id}
        for call in (
            stub.GetBacktest(rpc.GetBacktestRequest(**of)),
            stub.CancelBacktest(rpc.CancelBacktestRequest(**of)),
            stub.DeleteBacktest(rpc.DeleteBacktestRequest(**of)),
            stub.ListBacktestTrades(rpc.ListBacktestTradesRequest(**of)),
            stub.ListBacktestDays(rpc.ListBacktestDaysRequest(**of)),
            stub.GetBacktestReport(rpc.GetBacktestReportRequest(**of)),
            stub.WatchBacktest(rpc.WatchBacktestRequest(**of)).read(),
            client.stub.GetOptimization(rpc.GetOptimizationRequest(optimization_id=backtest_id)),
        ):
            assert (await refused(call))[:2] == ("NOT_FOUND", "NOT_FOUND")
    assert not (await stub.ListBacktests(rpc.ListBacktestsRequest())).backtests
    assert (await client.get(made.backtest_id)).status == pb.JOB_STATUS_RUNNING
    assert len((await client.stub.ListBacktests(rpc.ListBacktestsRequest())).backtests) == 2


async def test_what_has_not_ended_has_no_results_and_what_has_is_not_canceled(client, tmp_path):
    made = (await client.create("Slow")).backtest_id
    of = {"backtest_id": made}
    for call in (
        client.stub.ListBacktestTrades(rpc.ListBacktestTradesRequest(**of)),
        client.stub.ListBacktestDays(rpc.ListBacktestDaysRequest(**of)),
        client.stub.GetBacktestReport(rpc.GetBacktestReportRequest(**of)),
    ):
        assert (await refused(call))[:2] == ("FAILED_PRECONDITION", "JOB_NOT_FINISHED")
    watch = client.stub.WatchBacktest(rpc.WatchBacktestRequest(**of), timeout=30)
    assert (await watch.read()).HasField("backtest")
    await client.until_running(made)
    await client.stub.DeleteBacktest(rpc.DeleteBacktestRequest(**of))
    while (message := await watch.read()) is not grpc.aio.EOF:
        last = message
    assert last.backtest.status == pb.JOB_STATUS_CANCELED, "a watcher receives the end"
    assert (await refused(client.get(made)))[0] == "NOT_FOUND"
    done = (await client.finished("Trader")).backtest_id
    assert (await refused(client.cancel(done)))[:2] == ("FAILED_PRECONDITION", "JOB_ENDED")
    folder = tmp_path / "data/strategy/backtests" / done
    assert folder.is_dir()
    await client.stub.DeleteBacktest(rpc.DeleteBacktestRequest(backtest_id=done))
    assert not folder.exists()


async def test_an_optimisation_finds_the_best_points(client):
    def request(**fields) -> rpc.CreateOptimizationRequest:
        values = {"class_name": "Trader", "symbol": SYMBOL, "interval": common.INTERVAL_1M, **fields}
        return rpc.CreateOptimizationRequest(**values)

    ranges = [
        pb.ParameterRange(name="every", start=10, stop=30, step=10),
        pb.ParameterRange(name="size", start=0.5, stop=1, step=0.5),
    ]
    made = (await client.stub.CreateOptimization(request(ranges=ranges, target="total_net_pnl"))).optimization
    assert (made.method, made.target) == (pb.OPTIMIZATION_METHOD_GRID, "total_net_pnl")
    assert dict(made.parameters) == {"note": ""}
    of = {"optimization_id": made.optimization_id}
    last = None
    async for message in client.stub.WatchOptimization(rpc.WatchOptimizationRequest(**of), timeout=60):
        last = message
    assert last is not None
    optimization = last.optimization
    assert optimization.status == pb.JOB_STATUS_FINISHED, (optimization.error, optimization.error_detail)
    assert (optimization.progress.total, optimization.point_count) == (6, 6)
    assert optimization == (await client.stub.GetOptimization(rpc.GetOptimizationRequest(**of))).optimization
    targets = [point.target for point in optimization.best]
    assert targets == sorted(targets, reverse=True)
    assert optimization.best[0].statistics["total_net_pnl"] == pytest.approx(targets[0])
    page = await client.stub.ListOptimizationPoints(rpc.ListOptimizationPointsRequest(**of, page_size=4))
    assert list(page.points) == list(optimization.best)[:4]
    best = dict(optimization.best[0].parameters)
    assert set(best) == {"every", "size"}
    alone = await client.finished("Trader", best)
    assert alone.statistics["total_net_pnl"] == pytest.approx(targets[0], rel=1e-9)
    listed = (await client.stub.ListOptimizations(rpc.ListOptimizationsRequest())).optimizations
    assert [one.optimization_id for one in listed] == [made.optimization_id]
    for bad, fields in (
        ({"ranges": []}, {"ranges"}),
        ({"ranges": ranges, "target": "luck"}, {"target"}),
        ({"ranges": [ranges[0], ranges[0]]}, {"ranges[0].name"}),
        ({"ranges": [pb.ParameterRange(name="evry", start=1, stop=2, step=1)]}, {"parameters.evry"}),
        ({"ranges": [pb.ParameterRange(name="every", start=1, stop=2, step=0.5)]}, {"ranges[0]"}),
        ({"ranges": [pb.ParameterRange(name="size", start=1, stop=2, step=1e-9)]}, {"ranges"}),
    ):
        assert (await refused(client.stub.CreateOptimization(request(**bad))))[::2] == ("INVALID_ARGUMENT", fields)
    slow = [pb.ParameterRange(name="every", start=2, stop=400, step=1)]
    long = (await client.stub.CreateOptimization(request(class_name="Slow", ranges=slow))).optimization.optimization_id
    canceled = await client.stub.CancelOptimization(rpc.CancelOptimizationRequest(optimization_id=long))
    assert canceled.optimization.status == pb.JOB_STATUS_CANCELED
    await client.stub.DeleteOptimization(rpc.DeleteOptimizationRequest(optimization_id=long))
    assert pb.JOB_STATUS_CANCELED in ENDED


PEEKING = """
from vnpy.trader.constant import Interval
from vnpy_ctastrategy import CtaTemplate


class Peeking(CtaTemplate):
    def on_init(self):
        engine = self.cta_engine
        self.rows = iter(engine.source.history(self.vt_symbol, Interval.MINUTE, engine.start, engine.end)[1:])

    def on_bar(self, bar):
        later = next(self.rows, None)
        if later is not None and later.close_price > bar.close_price:
            self.buy(bar.close_price + 10, 1)
"""


async def test_look_ahead_is_stated_in_the_diagnostics_and_so_is_that_there_is_none(client, strategies_dir):
    (strategies_dir / "peeking.py").write_text(PEEKING)
    honest = await client.create("Trader", {"every": 15}, end_time=time(2021, 1, 5), check_lookahead=True)
    peeking = await client.create("Peeking", {}, end_time=time(2021, 1, 5), check_lookahead=True)
    assert honest.check_lookahead
    backtest = await client.ended(honest.backtest_id)
    assert backtest.status == pb.JOB_STATUS_FINISHED, backtest.error_detail
    assert list(backtest.diagnostics) == ["No look-ahead was found: signals are the same on shortened data."]
    assert backtest.progress.percent == 100
    backtest = await client.ended(peeking.backtest_id)
    assert backtest.status == pb.JOB_STATUS_FINISHED, backtest.error_detail
    first_change = [line.startswith("Look-ahead: the signals of ") for line in backtest.diagnostics].index(True)
    first = backtest.diagnostics[first_change + 1]
    assert first.startswith("2021-01-0") and "LONG OPEN 1 at" in first


async def test_a_backtest_without_trades_says_why(client):
    made = await client.create("Trader", {"every": 100_000}, end_time=time(2021, 1, 5))
    backtest = await client.ended(made.backtest_id)
    assert [line for line in backtest.diagnostics if line.startswith("There are no trades: in ")]
