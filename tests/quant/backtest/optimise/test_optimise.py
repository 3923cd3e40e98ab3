"""Searches on the workers of this machine: the same results as one by one, and what becomes of what goes wrong."""

import contextlib
import os
import signal
import textwrap
import threading
from dataclasses import replace

import psutil
import pytest

from services.quant.backtest.job import BacktestError
from services.quant.backtest.optimise import Genetic, Space, run_optimisation
from services.quant.backtest.optimise.arrow_file import read_arrow, write_arrow
from services.quant.backtest.optimise.genetic import GeneticSearch
from services.quant.backtest.run import run_backtest
from tests.quant.backtest import generated
from tests.quant.backtest.engine.vnpy_oracle import shipped, vnpy_run
from tests.quant.backtest.optimise.optimised import DATA, JOB, SPACE, STRATEGY, odd

pytestmark = pytest.mark.slow


@pytest.fixture
def strategies(tmp_path):
    (tmp_path / "odd.py").write_text(textwrap.dedent(STRATEGY))
    return tmp_path


def test_the_columns_come_back_from_the_file_as_maps(tmp_path):
    for data in (DATA, generated.ticks(500)):
        write_arrow(data, tmp_path / "data.arrow")
        for source in (tmp_path / "data.arrow", (tmp_path / "data.arrow").read_bytes()):
            back = read_arrow(source)
            assert type(back) is type(data) and back.symbol == data.symbol and len(back) == len(data)
            assert back.time_ns.tolist() == data.time_ns.tolist()
            assert not back.time_ns.flags.owndata and not back.time_ns.flags.writeable
    assert {name: column.tolist() for name, column in back.columns.items()} == {
        name: column.tolist() for name, column in data.columns.items()
    }


def test_a_grid_is_what_its_backtests_are_one_by_one_and_vnpys_best_is_ours():
    seen = []
    result = run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", workers=2, progress=seen.append)
    strategy_class = shipped("DoubleMaStrategy")
    expected, theirs = [], []
    for place in SPACE.places():
        job = replace(JOB, parameters=SPACE.parameters(place))
        expected.append((job.parameters, run_backtest(strategy_class, job, DATA).statistics))
        theirs.append((job.parameters, vnpy_run(strategy_class, job, DATA).statistics["sharpe_ratio"]))
    in_order = sorted(result.points, key=lambda point: point.number)
    assert [(point.parameters, dict(point.statistics)) for point in in_order] == expected
    theirs.sort(reverse=True, key=lambda point: point[1])
    assert [point.parameters for point in result.points] == [parameters for parameters, _ in theirs]
    assert [point.value for point in result.points] == pytest.approx([value for _, value in theirs], rel=1e-9)
    assert (result.total, result.failures, result.stopped) == (12, (), False)
    assert [now.done for now in seen] == list(range(13)) and seen[-1].left_s == 0
    assert seen[-1].best == result.best


def test_equal_points_are_in_the_order_of_the_grid():
    never = Space.parse(["slow_window=2000,1000,3000", "fast_window=900,800"])
    result = run_optimisation(None, JOB, generated.bars(500), never, "total_trade_count", workers=2)
    assert [tuple(p.parameters.values()) for p in result.points] == [
        tuple(never.parameters(place).values()) for place in never.places()
    ]


def test_points_that_raise_or_end_their_process_are_listed_and_the_others_run(strategies):
    space = Space.parse(["number=1,2,3,4,5,7,8,9"])
    result = run_optimisation(strategies, odd(folder=str(strategies)), DATA, space, "end_balance", workers=2)
    assert {point.parameters["number"] for point in result.points} == {1, 7, 9}
    errors = {failure.parameters["number"]: failure.error for failure in result.failures}
    assert errors == {
        2: "ValueError: two is too many",
        3: "the worker process ended with signal SIGKILL",
        4: "SystemExit: 3",
        5: "the worker process ended with exit code 7",
        8: "RuntimeError: the fourth",
    }
    assert "odd.py" in result.failures[0].traceback


def test_a_point_that_never_ends_is_ended_when_its_time_is_up(strategies):
    result = run_optimisation(
        strategies, odd(), DATA, Space.parse(["number=6,1,9"]), "end_balance", workers=2, point_timeout_s=2
    )
    assert [failure.error for failure in result.failures] == ["took longer than 2 s"]
    assert len(result.points) == 2


def test_a_search_that_is_stopped_gives_the_table_so_far_and_leaves_no_process(strategies):
    stop = threading.Event()
    space = Space.parse(["number=1,9,6,10,11"])
    before = _python_processes()
    result = run_optimisation(
        strategies,
        odd(),
        DATA,
        space,
        "end_balance",
        workers=1,
        progress=lambda now: stop.set() if now.done == 2 else None,
        should_stop=stop.is_set,
    )
    assert result.stopped and len(result.points) == 2 and result.total == 5
    assert not [child for child in _python_processes() - before if child.is_running()]


def _python_processes() -> set[psutil.Process]:
    """Processes of Python that this one started, or they: servers of other tests start their own, too."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "python" in child.name():
                found.add(child)
    return found


def test_a_worker_that_is_killed_from_outside_costs_no_point():
    killed = []

    def kill_one(now):
        if now.done == 2:
            ours = [c for c in psutil.Process().children() if "optimise.worker" in " ".join(c.cmdline())]
            killed.append(ours[0].pid)
            os.kill(ours[0].pid, signal.SIGKILL)

    result = run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", workers=2, progress=kill_one)
    assert killed and len(result.points) == 12 and not result.failures


def test_the_genetic_search_finds_the_grids_best_and_the_same_points_with_the_same_seed():
    space = Space.parse(["fast_window=2:9:1", "slow_window=10:40:2"])
    grid = run_optimisation(None, JOB, DATA, space, "total_return", workers=2)
    settings = Genetic(population=12, generations=6, seed=5)
    genetic = [
        run_optimisation(None, JOB, DATA, space, "total_return", "genetic", workers=2, genetic=settings)
        for _ in range(2)
    ]
    assert genetic[0].best == grid.best
    assert genetic[0].points == genetic[1].points
    assert len(genetic[0].points) == genetic[0].total == 72 < space.size


def test_a_genetic_search_runs_no_place_twice_and_ends_when_the_grid_is_done():
    space = Space.parse(["a=1:6:1", "b=1:5:1"])
    search = GeneticSearch(space, Genetic(population=8, generations=50))
    seen = []
    for places in search.generations():
        seen += places
        search.record({place: float(sum(place)) for place in places})
    assert sorted(seen) == list(space.places())


def test_a_genetic_search_climbs_a_large_grid():
    space = Space.parse([f"{name}=0:99:1" for name in "abcd"])
    search = GeneticSearch(space, Genetic(population=60, generations=30, seed=3))
    best, count = -1e9, 0
    for places in search.generations():
        values = {place: -sum((index - 42) ** 2 for index in place) for place in places}
        best, count = max(best, *values.values()), count + len(values)
        search.record(values)
    assert count == 1800 and best > -100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": "sharp"}, "target 'sharp' is no statistic .* sharpe_ratio.*sortino_ratio"),
        ({"target": "start_date"}, "target 'start_date' is no statistic"),
        ({"method": "guess"}, "method 'guess' is none of grid, genetic"),
        ({"space": Space.parse(["window=1:3:1"])}, "no parameter window; it has fast_window, slow_window"),
        ({"job": replace(JOB, class_name="Nobody")}, "there is no strategy class Nobody"),
        ({"job": replace(JOB, interval="5m")}, "the data are 1m bars, not 5m"),
        ({"job": replace(JOB, start=generated.date(2030, 1, 1))}, "there are no rows from 2030-01-01"),
        ({"workers": 0}, "workers must be 1 or above"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(change, says):
    asked = {"job": JOB, "space": SPACE, "target": "sharpe_ratio", "method": "grid", "workers": 1} | change
    with pytest.raises(BacktestError, match=says) as refused:
        run_optimisation(None, data=DATA, **asked)
    assert "\n" not in str(refused.value)


def test_a_file_that_does_not_import_is_refused_with_its_error(tmp_path):
    (tmp_path / "broken.py").write_text("class Odd:\n    pass\nraise KeyError('x')\n")
    with pytest.raises(BacktestError, match="Odd: KeyError: 'x'"):
        run_optimisation(tmp_path, odd(), DATA, Space.parse(["number=1,2"]), "end_balance", workers=1)


def test_a_loaded_class_is_searched_like_a_named_one(strategies):
    from services.quant.sdk.loading import Loader

    for given in (Loader(strategies).load("Odd"), strategies):
        result = run_optimisation(given, odd(), DATA, Space.parse(["number=1,9"]), "end_balance", workers=1)
        assert len(result.points) == 2
    result = run_optimisation(shipped("DoubleMaStrategy"), JOB, DATA, Space.parse(["fast_window=3"]), "end_balance")
    assert len(result.points) == 1
