"""Reports that a strategy's code writes itself, in its worker's name: they harm nobody, whatever stands in them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import worker_pb2

from services.kernel.decimals import plain
from services.kernel.errors import Invalid
from services.strategy import worker_convert
from tests.harness import platform
from tests.strategy.conftest import StrategyClient
from tests.strategy.fakes import FakePlatform
from tests.waiting import until

NOW = datetime(2026, 11, 30, 17, tzinfo=UTC)
FILES = {
    "liar.py": '''
"""Reports what nobody may report."""

from services.strategy import BaseStrategy
from services.strategy.runner import report

honest = report.Report.take


def take(self):
    message, lines = honest(self)
    message.position = "1e999999999"
    message.error += "\\0"
    message.variables.update({"name\\0": "text\\0", "list": ["\\0"]})
    message.logs.add(level="\\0" * 100, message="line\\0")
    message.logs[-1].create_time.seconds = 1 << 60
    return message, lines


class Liar(BaseStrategy):
    """Goes on lying.\\0"""

    bar_seconds = 0

    async def initialize(self) -> None:
        report.Report.take = take
''',
    "broken.py": 'raise RuntimeError("nothing\\0 here")\n',
}


def report_of(**fields):
    return worker_convert.report_from_pb(worker_pb2.ReportStrategiesRequest.Report(strategy_id="s", **fields), NOW)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_strategy_that_lies_about_itself_is_shown_and_stopped_like_any_other(both_databases, tmp_path):
    world, folder = FakePlatform(), tmp_path / "strategies"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    settings = {"strategies_dir": folder, "sandbox": "off", "callback_timeout_s": 30.0, "import_timeout_s": 240.0}
    async with platform(
        "strategy", settings={"strategy": settings}, fakes=world.fakes(), data_dir=tmp_path / "data"
    ) as p:
        p.mint = world.auth.mint
        client = StrategyClient(world, p.identity(role="admin"))

        async def listed():
            answer = await client.stub.ListStrategyClasses(pb.ListStrategyClassesRequest(), timeout=15)
            return {one.name: one for one in answer.classes} if answer.classes else None

        classes = await until(listed, 240)
        assert classes["broken.py"].error == "broken.py:1: RuntimeError: nothing here"
        assert classes["Liar"].doc == "Goes on lying."
        made = await client.create("Liar")
        await client.start(made.strategy_id)
        await client.until_status(made.strategy_id, "RUNNING", 240)
        shown = await client.get(made.strategy_id)
        assert shown.position == "0"
        await client.stop(made.strategy_id)
        await client.until_status(made.strategy_id, "STOPPED", 60)
        stopped = await client.get(made.strategy_id)
        assert dict(stopped.variables)["name"] == "text"
        lines = await client.logs(made.strategy_id)
        assert {(line.level, line.message) for line in lines} >= {("INFO", "line")}
        assert all(line.create_time.ToDatetime(UTC) <= datetime.now(UTC) + timedelta(minutes=1) for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "1e999999999",
        "-1e999999999",
        "1e-999999999",
        "NaN",
        "sNaN",
        "Infinity",
        "9" * 64,
        "x",
        "0x10",
        "1e30",
    ],
)
def test_a_position_that_is_no_number_of_contracts_is_none(text):
    assert len(plain(report_of(position=text).position)) < 30
    assert report_of(position=text).position == 0


def test_positions_that_strategies_have_are_kept():
    for text in ("0", "", "3", "-2.5", "1E+2", "0.00000001"):
        assert report_of(position=text).position == Decimal(text or 0)


def test_what_is_too_much_is_cut_off():
    variables = Struct()
    variables.update({"all": "x" * 100_000})
    long = pb.StrategyLog(level="x" * 1_000_000, message="m" * 1_000_000)
    report = report_of(variables=variables, error="e" * 1_000_000, logs=[long] * 3 + [pb.StrategyLog()] * 2_000)
    assert report.variables == {"error": "more than 65,536 bytes"}
    assert len(report.error) == 20_000 and len(report.lines) == 1_000
    (line,) = report_of(logs=[long]).lines
    assert (line.level, len(line.message), line.create_time) == ("INFO", 20_000, datetime(1970, 1, 1, tzinfo=UTC))


def test_numbers_that_json_has_not_are_named():
    variables = Struct()
    variables.fields["a"].number_value = float("nan")
    assert list(report_of(variables=variables).variables) == ["error"]
    default = Value(number_value=float("inf"))
    message = pb.StrategyClass(
        name="A", parameters=[pb.StrategyParameter(name="a", type="float", default_value=default)]
    )
    assert worker_convert.class_from_pb(message).parameters[0].default is None


@pytest.mark.parametrize("status", [99, -1])
def test_a_state_that_there_is_not_is_refused(status):
    with pytest.raises(Invalid):
        report_of(status=status)


def test_classes_without_end_are_refused():
    request = worker_pb2.ReportClassesRequest(classes=[pb.StrategyClass(name="A")] * 10_001)
    with pytest.raises(Invalid):
        worker_convert.classes_from_pb(request)
    with pytest.raises(Invalid):
        worker_convert.class_from_pb(pb.StrategyClass(name="A", family=99))
