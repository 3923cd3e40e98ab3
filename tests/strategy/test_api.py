"""The contract of StrategyService over loopback: classes, instances, owners, logs, events."""

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import worker_pb2
from redfire.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from redfire.strategy.v1.worker_pb2_grpc import WorkerServiceStub

from services.kernel.identifiers import new_id
from tests.strategy.refusal import fields_of, reason_of
from tests.strategy.user_files import GOOD
from tests.strategy.worker_processes import ticks_until
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("both_databases")]


@pytest.fixture
async def client(serve, client_of, strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    async with serve() as p:
        client = client_of(p)
        client.platform = p
        yield client


async def test_classes_of_all_sources_are_listed_and_a_broken_file_with_its_error(client, strategies_dir):
    (strategies_dir / "broken.py").write_text("import no_such_thing\n")
    (strategies_dir / "typo.py").write_text("def f(:\n")
    (strategies_dir / "leaver.py").write_text("import os\nos._exit(1)\n")
    (strategies_dir / "copy.py").write_text(GOOD)
    request = pb.ListStrategyClassesRequest()

    async def listed(name):
        by_name = {item.name: item for item in (await client.stub.ListStrategyClasses(request, timeout=15)).classes}
        return by_name if name in by_name else None

    classes = await until(lambda: listed("leaver.py"), 60)
    assert classes["MovingAverageStrategy"].family == pb.STRATEGY_FAMILY_NATIVE
    assert classes["DoubleMaStrategy"].family == pb.STRATEGY_FAMILY_VNPY_CTA
    fast = next(p for p in classes["DoubleMaStrategy"].parameters if p.name == "fast_window")
    assert (fast.type, fast.default_value.number_value) == ("int", 10)
    assert classes["broken.py"].error == "broken.py:1: ModuleNotFoundError: No module named 'no_such_thing'"
    assert "SyntaxError" in classes["typo.py"].error
    assert "ended its worker in import" in classes["leaver.py"].error
    assert classes["Counter"].doc == "Buys one at the third tick."
    assert "already" in classes["good.py"].error, "the same class in two files is reported"
    # A file that is repaired is seen without a restart.
    (strategies_dir / "typo.py").write_text(GOOD.replace("Counter", "Repaired").replace("Rester", "Repaired2"))
    await until(lambda: listed("Repaired"), 60)
    made = await client.create("Repaired")
    assert made.class_name == "Repaired"


async def test_a_class_that_a_worker_still_looks_for_is_to_be_asked_for_again(serve, client_of, strategies_dir):
    (strategies_dir / "slow.py").write_text("import time\ntime.sleep(60)\n")
    async with serve(callback_timeout_s=30, awaits_classes=False) as p:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client_of(p).create("MovingAverageStrategy")
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_strategy_is_created_with_all_parameters_and_the_first_account(client):
    made = await client.create("Counter", quantity=3)
    assert made.status == pb.STRATEGY_STATUS_CREATED
    assert dict(made.parameters) == {"quantity": 3, "note": "x"}
    assert made.account_id == client.world.trading_state.account_of(client.user.user_id)
    assert made.display_name == "Counter"
    assert (await client.get(made.strategy_id)) == made


async def test_the_same_request_id_creates_one_strategy(client):
    request = pb.CreateStrategyRequest(class_name="Counter", symbol="IF2101.CFFEX", request_id="once")
    first = (await client.stub.CreateStrategy(request)).strategy
    assert (await client.stub.CreateStrategy(request)).strategy.strategy_id == first.strategy_id
    assert len((await client.stub.ListStrategies(pb.ListStrategiesRequest())).strategies) == 1


REFUSALS = [
    ({"class_name": "Nobody"}, "NOT_FOUND", "UNKNOWN_STRATEGY_CLASS", ""),
    ({"symbol": "XX99.CFFEX"}, "NOT_FOUND", "UNKNOWN_SYMBOL", ""),
    ({"account_id": new_id()}, "NOT_FOUND", "NOT_FOUND", ""),
    ({"parameters": {"size": 1}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.size"),
    ({"parameters": {"quantity": "2"}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.quantity"),
    ({"parameters": {"quantity": 1.5}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.quantity"),
    ({"parameters": {"quantity": True}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.quantity"),
    ({"parameters": {"note": 3}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.note"),
    ({"parameters": {"note": None}}, "INVALID_ARGUMENT", "INVALID_PARAMETER", "parameters.note"),
    ({"class_name": "1x"}, "INVALID_ARGUMENT", "INVALID_FIELD", "class_name"),
]


async def test_what_cannot_be_is_refused(client):
    for change, code, reason, field in REFUSALS:
        values = {"class_name": "Counter", "symbol": "IF2101.CFFEX", **change}
        values["parameters"] = ParseDict(values.get("parameters", {}), Struct())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.stub.CreateStrategy(pb.CreateStrategyRequest(**values))
        assert (refused.value.code().name, reason_of(refused.value)) == (code, reason), change
        assert not field or field in fields_of(refused.value), change


async def test_a_refusal_names_what_is_not_found_once(client):
    for class_name, symbol, message in (
        ("Nobody", "IF2101.CFFEX", "strategy class Nobody not found"),
        ("Counter", "XX99.CFFEX", "instrument XX99.CFFEX not found"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.create(class_name, symbol)
        assert refused.value.details() == message


async def test_somebody_elses_strategy_is_not_found(client):
    made = await client.create("Counter")
    mallory = client.platform.identity().stub(StrategyServiceStub)
    sid = {"strategy_id": made.strategy_id}
    calls = [
        mallory.GetStrategy(pb.GetStrategyRequest(**sid)),
        mallory.UpdateStrategy(pb.UpdateStrategyRequest(**sid, display_name="mine")),
        mallory.DeleteStrategy(pb.DeleteStrategyRequest(**sid)),
        mallory.StartStrategy(pb.StartStrategyRequest(**sid)),
        mallory.StopStrategy(pb.StopStrategyRequest(**sid)),
        mallory.GetPerformance(pb.GetPerformanceRequest(**sid)),
        mallory.ListStrategyLogs(pb.ListStrategyLogsRequest(**sid)),
        mallory.StreamStrategyEvents(pb.StreamStrategyEventsRequest(**sid)).read(),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert not (await mallory.ListStrategies(pb.ListStrategiesRequest())).strategies
    assert (await client.get(made.strategy_id)).display_name == "Counter"


async def test_a_running_strategy_is_neither_changed_nor_deleted(client):
    strategy_id = await client.run("Rester")
    for call in (
        client.stub.UpdateStrategy(pb.UpdateStrategyRequest(strategy_id=strategy_id, display_name="x")),
        client.stub.DeleteStrategy(pb.DeleteStrategyRequest(strategy_id=strategy_id)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == "STRATEGY_RUNNING"
    assert (await client.start(strategy_id)).status == pb.STRATEGY_STATUS_RUNNING
    await client.stop(strategy_id)
    changed = await client.stub.UpdateStrategy(pb.UpdateStrategyRequest(strategy_id=strategy_id, display_name="x"))
    assert changed.strategy.display_name == "x"
    await client.stub.DeleteStrategy(pb.DeleteStrategyRequest(strategy_id=strategy_id))
    with pytest.raises(grpc.aio.AioRpcError):
        await client.get(strategy_id)


async def test_parameters_are_changed_one_by_one(client):
    made = await client.create("Counter", quantity=3)
    request = pb.UpdateStrategyRequest(strategy_id=made.strategy_id, parameters=ParseDict({"note": "y"}, Struct()))
    assert dict((await client.stub.UpdateStrategy(request)).strategy.parameters) == {"quantity": 3, "note": "y"}


async def test_parameters_that_our_own_class_cannot_trade_with_are_refused(client):
    for wrong, field in (
        ({"fast_window": 0}, "parameters.fast_window"),
        ({"fast_window": -3}, "parameters.fast_window"),
        ({"fast_window": 20}, "parameters.slow_window"),
        ({"slow_window": 5}, "parameters.slow_window"),
        ({"bar_seconds": 0}, "parameters.bar_seconds"),
        ({"quantity": -1}, "parameters.quantity"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.create("MovingAverageStrategy", **wrong)
        assert (refused.value.code().name, reason_of(refused.value)) == ("INVALID_ARGUMENT", "INVALID_PARAMETER"), wrong
        assert fields_of(refused.value) == {field}, wrong
    made = await client.create("MovingAverageStrategy", fast_window=2, slow_window=4)
    changed = ParseDict({"fast_window": 4}, Struct())
    with pytest.raises(grpc.aio.AioRpcError, match="4 is not more than 4"):
        await client.stub.UpdateStrategy(pb.UpdateStrategyRequest(strategy_id=made.strategy_id, parameters=changed))
    assert (await client.get(made.strategy_id)).parameters["fast_window"] == 2


OWN_RULES = """
from services.strategy import BaseStrategy

class MovingAverageStrategy(BaseStrategy):
    "Theirs."
    parameters = ["fast_window", "slow_window"]
    fast_window = 10
    slow_window = 20

    @classmethod
    def parameter_problems(cls, parameters):
        return {"fast_window": "seven is not lucky"} if parameters["fast_window"] == 7 else {}
"""


async def test_a_users_class_of_the_same_name_has_its_own_rules_which_only_a_worker_asks(
    serve, client_of, strategies_dir
):
    (strategies_dir / "theirs.py").write_text(OWN_RULES)
    async with serve() as p:
        client = client_of(p)
        await client.create("MovingAverageStrategy", fast_window=30, slow_window=3)
        made = await client.create("MovingAverageStrategy", fast_window=7)
        await client.start(made.strategy_id)
        failed = await client.until_status(made.strategy_id, "ERROR")
        assert "seven is not lucky" in failed.error


async def test_lists_are_paged_newest_first(client):
    made = [(await client.create("Counter")).strategy_id for _ in range(5)]
    ids, token = [], ""
    while True:
        page = await client.stub.ListStrategies(pb.ListStrategiesRequest(page_size=2, page_token=token))
        ids += [item.strategy_id for item in page.strategies]
        if not (token := page.next_page_token):
            break
    assert ids == made[::-1]


async def test_events_begin_with_the_strategy_and_follow_it(client):
    made = await client.create("Counter")
    request = pb.StreamStrategyEventsRequest(strategy_id=made.strategy_id)
    request.heartbeat_interval.FromMilliseconds(200)
    stream = client.stub.StreamStrategyEvents(request, timeout=60)
    first = await stream.read()
    assert first.strategy.status == pb.STRATEGY_STATUS_CREATED
    assert (await stream.read()).WhichOneof("event") == "heartbeat"
    await client.start(made.strategy_id)
    await client.until_status(made.strategy_id, "RUNNING")
    await until(lambda: client.world.market.streams)
    await ticks_until(client.world, lambda: client.world.trading_state.trades)
    states, lines, sequence = [], [], first.sequence
    while not lines:
        event = await stream.read()
        assert event.sequence >= sequence
        sequence = event.sequence
        if event.WhichOneof("event") == "strategy":
            states.append(event.strategy.status)
        elif event.WhichOneof("event") == "log":
            lines.append(event.log.message)
        client.world.market.push(5000)
    assert states[0] == pb.STRATEGY_STATUS_STARTING and pb.STRATEGY_STATUS_RUNNING in states
    assert lines == ["position 1"]


async def test_a_refused_order_is_reported_and_logged(client):
    client.world.trading_state.refuse = "INSUFFICIENT_FUNDS"
    strategy_id = await client.run("Counter")

    async def logged():
        return [log for log in await client.logs(strategy_id) if "INSUFFICIENT_FUNDS" in log.message]

    await ticks_until(client.world, logged)
    assert (await client.get(strategy_id)).status == pb.STRATEGY_STATUS_RUNNING


async def test_an_owner_who_may_not_trade_stops_his_strategies(client):
    made = await client.create("Counter")
    client.world.auth.refuse.add(client.user.user_id)
    await client.start(made.strategy_id)

    async def failed():
        return (await client.get(made.strategy_id)).status == pb.STRATEGY_STATUS_ERROR

    await until(failed, 20, 0.1)
    assert "suspended" in (await client.get(made.strategy_id)).error


async def test_only_workers_call_the_worker_service(client):
    p = client.platform
    for stub in (client.user.stub(WorkerServiceStub), p.service_stub(WorkerServiceStub, "trading")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ReportClasses(worker_pb2.ReportClassesRequest(worker_id="w"))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    token = p.host.service_tokens.make_for_worker("a")
    for worker_id in ("a", "b"):
        worker = p.stub(WorkerServiceStub, x_redfire_service=token)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await worker.WatchAssignments(worker_pb2.WatchAssignmentsRequest(worker_id=worker_id)).read()
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
