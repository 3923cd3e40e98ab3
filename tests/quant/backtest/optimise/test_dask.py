"""The same searches on a Dask cluster of two processes on this machine's loopback."""

from dataclasses import replace

import pytest

from services.quant.backtest.job import BacktestError
from services.quant.backtest.optimise import Space, run_optimisation
from services.quant.backtest.optimise.walk_forward import Windows, run_walk_forward
from tests.quant.backtest import generated
from tests.quant.backtest.optimise.optimised import DATA, JOB, SPACE, STRATEGY, odd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def test_a_grid_on_a_cluster_finds_what_the_processes_of_this_machine_find(address):
    seen = []
    local = run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", workers=2)
    cluster = run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", dask=address, progress=seen.append)
    assert cluster.points == local.points and not cluster.failures
    assert cluster.workers == 2 and seen[-1].done == 12


def test_a_cluster_needs_no_folder_of_the_users_and_lists_points_that_end_a_worker(address, tmp_path):
    (tmp_path / "odd.py").write_text(STRATEGY)
    result = run_optimisation(tmp_path, odd(), DATA, Space.parse(["number=1,2,5,9"]), "end_balance", dask=address)
    assert {point.parameters["number"] for point in result.points} == {1, 9}
    errors = {failure.parameters["number"]: failure.error for failure in result.failures}
    assert errors[2] == "ValueError: two is too many" and "KilledWorker" in errors[5]


def test_a_walk_forward_on_a_cluster_is_that_of_this_machine(address):
    data = generated.bars(days=30)
    windows = Windows.parse("10d:10d")
    space = Space.parse(["fast_window=3,5"])
    local = run_walk_forward(None, JOB, data, space, "total_return", windows, workers=2)
    cluster = run_walk_forward(None, JOB, data, space, "total_return", windows, dask=address)
    assert cluster.windows == local.windows and cluster.statistics == local.statistics


def test_an_unknown_class_or_a_wrong_address_is_refused_in_one_line(address):
    with pytest.raises(BacktestError, match="there is no strategy class Nobody"):
        run_optimisation(None, replace(JOB, class_name="Nobody"), DATA, SPACE, "sharpe_ratio", dask=address)
    with pytest.raises(BacktestError, match="no Dask scheduler answers at") as refused:
        run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", dask="tcp://127.0.0.1:1")
    assert "\n" not in str(refused.value)
    with pytest.raises(BacktestError, match="no Dask scheduler answers at"):
        run_optimisation(None, JOB, DATA, SPACE, "sharpe_ratio", dask="nonsense")
