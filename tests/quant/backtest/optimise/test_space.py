"""Parameter spaces: what ranges mean, how points are numbered, and what is refused."""

import pytest
from vnpy.trader.optimize import OptimizationSetting

from services.quant.backtest.job import BacktestError
from services.quant.backtest.optimise import Axis, Space
from services.quant.sdk.strategy_class import ClassDescription, Parameter

DESCRIPTION = ClassDescription(
    "Some",
    parameters=(
        Parameter("fast", "int", 10),
        Parameter("dev", "float", 1.5),
        Parameter("flag", "bool", True),
        Parameter("mode", "str", "a"),
    ),
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("n=1:10:3", (1, 4, 7, 10)),
        ("n=1:9:3", (1, 4, 7)),
        ("n=5:5:1", (5,)),
        ("n=-2:2:2", (-2, 0, 2)),
        ("n=0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("n=1:2:0.5", (1.0, 1.5, 2.0)),
        ("n=5,10,20", (5, 10, 20)),
        ("n=1.5,2", (1.5, 2)),
        ("n=a,b", ("a", "b")),
        ("n=true,false", (True, False)),
        ("n = 7", (7,)),
        ("n=1e-4", (1e-4,)),
    ],
)
def test_a_range_is_read_as_it_is_written(text, values):
    axis = Axis.parse(text)
    assert axis.values == values
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n", "name=start:end:step"),
        ("=1:2:1", "name=start:end:step"),
        ("n=", "name=start:end:step"),
        ("n=1:10", "start:end:step"),
        ("n=1:10:1:1", "start:end:step"),
        ("n=10:1:1", "above the end"),
        ("n=1:10:0", "step must be above 0"),
        ("n=1:10:-1", "step must be above 0"),
        ("n=a:b:c", "'a' is not a number"),
        ("n=1:inf:1", "not a finite number"),
        ("n=1,,2", "empty value"),
        ("n=1,1", "twice"),
        ("n=0:1:1e-9", "more than"),
    ],
)
def test_a_range_that_means_nothing_is_refused_in_one_line(text, says):
    with pytest.raises(BacktestError, match=says) as refused:
        Axis.parse(text)
    assert "\n" not in str(refused.value)


def test_points_are_those_of_vnpy_in_the_same_order():
    setting = OptimizationSetting()
    setting.add_parameter("fast", 5, 20, 5)
    setting.add_parameter("slow", 30, 50, 10)
    setting.add_parameter("fixed", 1)
    space = Space.parse(["fast=5:20:5", "slow=30:50:10", "fixed=1"])
    assert space.size == 12
    assert [space.parameters(place) for place in space.places()] == setting.generate_settings()
    assert space.varied == ("fast", "slow")


def test_a_place_and_its_number_are_each_others_inverse():
    space = Space.parse(["a=1:3:1", "b=1:4:1", "c=1,2"])
    assert [space.number(place) for place in space.places()] == list(range(24))


def test_values_take_the_types_of_the_class():
    space, fixed = Space.parse(["fast=2,4", "dev=1:2:1"]).checked(DESCRIPTION, {"flag": True, "mode": 1})
    assert [axis.values for axis in space.axes] == [(2, 4), (1.0, 2.0)]
    assert fixed == {"flag": True, "mode": "1"}
    assert isinstance(space.axes[1].values[0], float)


@pytest.mark.parametrize(
    ("ranges", "fixed", "says"),
    [
        (["slow=1:2:1"], {}, "Some has no parameter slow; it has fast, dev, flag, mode"),
        (["fast=1:2:1"], {"slow": 1}, "Some has no parameter slow"),
        (["fast=1:2:1"], {"fast": 1}, "both a range and a fixed value"),
        (["fast=0.5,1"], {}, "fast must be an int, not 0.5"),
        (["fast=1,2"], {"dev": "x"}, "dev must be a float, not 'x'"),
        (["flag=1,2"], {}, "flag must be a bool, not 1"),
    ],
)
def test_a_space_that_does_not_fit_the_class_is_refused(ranges, fixed, says):
    with pytest.raises(BacktestError, match=says):
        Space.parse(ranges).checked(DESCRIPTION, fixed)


def test_a_space_without_or_with_a_doubled_range_is_refused():
    with pytest.raises(BacktestError, match="no parameter has a range"):
        Space.parse([])
    with pytest.raises(BacktestError, match="given twice"):
        Space.parse(["n=1,2", "n=3,4"])
