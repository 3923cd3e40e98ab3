"""Backtests in real processes: hostile strategies, limits, cancel, order, fairness, restarts."""

import asyncio
import os
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.strategy.v1 import backtest_pb2 as pb
from redfire.strategy.v1 import backtest_service_pb2 as rpc

from services.strategy.jobs import scheduler
from services.strategy.jobs.execution.process import JobProcess
from tests.strategy.fakes import SYMBOL
from tests.strategy.jobs.backtests import HOSTILE, STRATEGIES, BacktestClient, store_bars
from tests.waiting import until

pytestmark = pytest.mark.slow

SMALL = {"backtest_memory_bytes": 400 << 20}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def home_of(tmp_path: Path, user) -> Path:
    """The working folder of a user's jobs, of which alone they may write."""
    return tmp_path / "data/strategy/home" / user.user_id


def workers() -> list[psutil.Process]:
    """The processes of jobs that this test's service has started."""
    processes = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "services.strategy.jobs.execution.worker" in process.cmdline():
                processes.append(process)
        except psutil.Error:
            continue
    return processes


@pytest.fixture
def lab(serve, strategies_dir, tmp_path):
    """`async with lab() as p`: a service with strategies good and hostile, and data; again: the same folder."""
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    (strategies_dir / "hostile.py").write_text(HOSTILE)
    store_bars(tmp_path / "data")

    @asynccontextmanager
    async def run(**settings):
        async with serve(data_dir=tmp_path / "data", **settings) as p:
            yield p

    return run


@pytest.mark.timeout(60)
async def test_hostile_strategies_fail_with_their_reason_and_harm_nobody(lab):
    expected = {
        "Raiser": (pb.JOB_FAILURE_STRATEGY_RAISED, "ValueError: no such luck"),
        "HardExit": (pb.JOB_FAILURE_EXITED, "exit code 7"),
        "QuietExit": (pb.JOB_FAILURE_EXITED, "exit code 0"),
        "SoftExit": (pb.JOB_FAILURE_EXITED, "sys.exit(3)"),
        "Crasher": (pb.JOB_FAILURE_EXITED, "SIGSEGV"),
        "Eater": (pb.JOB_FAILURE_OUT_OF_MEMORY, "400 MiB"),
        "Gulper": (pb.JOB_FAILURE_OUT_OF_MEMORY, "memory"),
        "Bomb": (pb.JOB_FAILURE_EXITED, "too many processes"),
    }
    async with lab(**SMALL, max_backtests=4) as p:
        client = BacktestClient(p.identity())
        made = {name: (await client.create(name)).backtest_id for name in expected}
        backtests = {name: await client.ended(backtest_id) for name, backtest_id in made.items()}
        for name, (failure, text) in expected.items():
            one = backtests[name]
            if name == "Bomb" and one.failure == pb.JOB_FAILURE_STRATEGY_RAISED:
                failure, text = (
                    pb.JOB_FAILURE_STRATEGY_RAISED,
                    "Resource temporarily unavailable",
                )  # the kernel was faster
            assert (one.status, one.failure) == (pb.JOB_STATUS_FAILED, failure), (name, one.error, one.error_detail)
            assert text in one.error, (name, one.error)
        assert "hostile.py" in backtests["Raiser"].error_detail
        # What it did until it raised can be read.
        report = await client.stub.GetBacktestReport(rpc.GetBacktestReportRequest(backtest_id=made["Raiser"]))
        assert "ValueError: no such luck" in report.report.data.decode()
        days = await client.stub.ListBacktestDays(rpc.ListBacktestDaysRequest(backtest_id=made["Raiser"]))
        assert days is not None
        assert (await client.finished("Trader")).trade_count > 10
        assert workers() == []


async def test_a_job_without_end_is_ended_at_its_time_limit(lab):
    async with lab(backtest_timeout_s=2.0) as p:
        client = BacktestClient(p.identity())
        made = [await client.create(name) for name in ("Looper", "Defiant")]
        for one in made:
            backtest = await client.ended(one.backtest_id)
            assert (backtest.failure, backtest.error) == (pb.JOB_FAILURE_TIMED_OUT, "it took longer than 2 s")
        assert workers() == []


async def test_a_flood_of_output_is_cut_and_does_no_harm(lab, tmp_path):
    async with lab() as p:
        backtest = await BacktestClient(p.identity()).finished("Flooder")
    assert 900 < len(backtest.logs) <= 1001
    assert max(map(len, backtest.logs)) <= 1000
    folder = tmp_path / "data" / "strategy" / "backtests" / backtest.backtest_id
    assert sum(file.stat().st_size for file in folder.iterdir()) < 60_000_000


async def test_cancel_ends_what_would_never_end_and_leaves_no_process(lab, tmp_path):
    async with lab() as p:
        client = BacktestClient(user := p.identity())
        note = home_of(tmp_path, user) / "pid"
        for name in ("Breeder", "Looper"):
            made = await client.create(name, {"note": "pid"})
            await until(lambda name=name: note.exists() if name == "Breeder" else workers(), 20)
            child = int(note.read_text() or 0) if name == "Breeder" else 0
            await until(lambda: workers())
            canceled = await client.cancel(made.backtest_id)
            assert canceled.status == pb.JOB_STATUS_CANCELED
            assert workers() == []
            if child:
                await until(lambda child=child: not alive(child))
        assert (await client.cancel(made.backtest_id)).status == pb.JOB_STATUS_CANCELED


@pytest.mark.timeout(60)
async def test_a_canceled_optimisation_keeps_the_points_so_far(lab, monkeypatch):
    monkeypatch.setattr(scheduler, "_GRACE_S", 30)  # this machine may be busy
    async with lab() as p:
        client = BacktestClient(p.identity())
        request = rpc.CreateOptimizationRequest(
            class_name="Trader",
            symbol=SYMBOL,
            interval=common.INTERVAL_1M,
            ranges=[pb.ParameterRange(name="every", start=2, stop=1000, step=1)],
        )
        of = {"optimization_id": (await client.stub.CreateOptimization(request)).optimization.optimization_id}

        async def some() -> bool:
            now = (await client.stub.GetOptimization(rpc.GetOptimizationRequest(**of))).optimization
            return now.progress.done > 3

        await until(some, timeout_s=40)
        canceled = (await client.stub.CancelOptimization(rpc.CancelOptimizationRequest(**of), timeout=40)).optimization
        assert canceled.status == pb.JOB_STATUS_CANCELED
        assert 3 < canceled.point_count < 999
        page = await client.stub.ListOptimizationPoints(rpc.ListOptimizationPointsRequest(**of, page_size=3))
        assert list(page.points) == list(canceled.best)[:3]
        report = (await client.stub.GetOptimizationReport(rpc.GetOptimizationReportRequest(**of))).report
        assert report.content_type.startswith("text/html") and b"Stopped early" in report.data
        assert workers() == []


async def test_so_many_run_at_once_and_the_others_wait_in_order_fair_between_users(lab):
    async with lab(max_backtests=1) as p:
        alice, bob = BacktestClient(p.identity()), BacktestClient(p.identity())
        first = await alice.create("Slow")
        await alice.until_running(first.backtest_id)
        asked = [(alice, await alice.create("Trader")) for _ in range(2)] + [(bob, await bob.create("Trader"))]
        assert [job.status for _, job in asked] == [pb.JOB_STATUS_QUEUED] * 3
        assert [job.queue_position for _, job in asked] == [0, 1, 0]
        assert len(workers()) == 1
        await alice.cancel(first.backtest_id)
        ended = [await client.ended(job.backtest_id) for client, job in asked]
        assert [job.status for job in ended] == [pb.JOB_STATUS_FINISHED] * 3
        begun = [job.run_time.ToNanoseconds() for job in ended]
        assert begun[2] < begun[1], "bob waits for one of alice's, not for all"
        assert begun[0] < begun[1]
        ends = [job.end_run_time.ToNanoseconds() for job in ended]
        assert min(ends[0], ends[2]) <= max(begun[0], begun[2]), "one at a time"


async def test_a_stop_in_the_middle_has_it_run_again_and_the_queue_go_on(lab, tmp_path):
    async with lab(max_backtests=1) as p:
        user = p.identity()
        client = BacktestClient(user)
        running = await client.create("Slow", {"every": 7})
        waiting = await client.create("Trader")
        gone = await client.create("Trader")
        await client.until_running(running.backtest_id)
        await client.cancel(gone.backtest_id)
        pids = [process.pid for process in workers()]
        (tmp_path / "data/strategy/backtests/00000000-0000-7000-8000-000000000000.part").mkdir()
    assert pids and not any(map(alive, pids))
    async with lab(max_backtests=1) as p:
        client = BacktestClient(p.identity(user.user_id))
        await client.until_running(running.backtest_id)
        again = await client.get(running.backtest_id)
        assert (again.status, again.attempts) == (pb.JOB_STATUS_RUNNING, 1), "an orderly stop does not count"
        assert again.error.startswith("interrupted: the platform stopped")
        assert (await client.get(waiting.backtest_id)).status == pb.JOB_STATUS_QUEUED
        await client.cancel(running.backtest_id)
        assert (await client.ended(waiting.backtest_id)).status == pb.JOB_STATUS_FINISHED
        assert (await client.get(gone.backtest_id)).status == pb.JOB_STATUS_CANCELED
        folders = {folder.name for folder in (tmp_path / "data/strategy/backtests").iterdir()}
        assert folders == {waiting.backtest_id}, "what belongs to no job is swept"


async def test_a_killed_job_is_run_again_but_not_without_limit(lab, monkeypatch, tmp_path):
    async def killed(self, job):
        raise AssertionError("a killed platform writes nothing more")

    async with lab() as p:
        user = p.identity()
        client = BacktestClient(user)
        made = [await client.create("Slow") for _ in range(2)]
        for one in made:
            await client.until_running(one.backtest_id)
        with monkeypatch.context() as patch:
            patch.setattr("services.strategy.jobs.scheduler.Scheduler._put", killed)
            await p.host.stop()
    with sqlite3.connect(tmp_path / "data/strategy_db.sqlite") as database:
        rows = database.execute("SELECT status, attempts FROM strategy_jobs").fetchall()
        assert rows == [("RUNNING", 1)] * 2
        third = made[1].backtest_id
        database.execute("UPDATE strategy_jobs SET attempts = 3 WHERE job_id = ?", (third,))
    async with lab() as p:
        client = BacktestClient(p.identity(user.user_id))
        given_up = await client.get(third)
        assert (given_up.status, given_up.failure) == (pb.JOB_STATUS_FAILED, pb.JOB_FAILURE_INTERRUPTED)
        assert "3 times" in given_up.error
        assert (await client.until_running(made[0].backtest_id)).attempts == 2


async def test_a_worker_does_not_outlive_its_service(lab, tmp_path):
    """The pipe on its standard input ends with the service, whatever way it goes."""
    async with lab() as p:
        client = BacktestClient(user := p.identity())
        note = home_of(tmp_path, user) / "pid"
        made = await client.create("Slow", {"note": "pid"})
        await until(lambda: note.exists() and note.read_text(), 20)
        pid = int(note.read_text())
        assert alive(pid) and os.getsid(pid) == pid
        transport = next(o for o in _processes() if o._spec.job_id == made.backtest_id)._process
        transport.stdin.close()
        await until(lambda: not alive(pid))
        assert (await client.ended(made.backtest_id)).failure == pb.JOB_FAILURE_EXITED


def _processes() -> list[JobProcess]:
    import gc

    return [o for o in gc.get_objects() if isinstance(o, JobProcess) and o._process is not None]


async def test_a_user_may_not_have_too_many_waiting(lab):
    from tests.strategy.refusal import reason_of

    async with lab(max_backtests=1, backtest_queue=2) as p:
        client, other = BacktestClient(p.identity()), BacktestClient(p.identity())
        first = await client.create("Slow")
        await client.until_running(first.backtest_id)
        tried = await asyncio.gather(*(client.create("Trader") for _ in range(6)), return_exceptions=True)
        refused = [error for error in tried if isinstance(error, Exception)]
        assert len(refused) == 4
        assert {(error.code().name, reason_of(error)) for error in refused} == {("RESOURCE_EXHAUSTED", "OVERLOADED")}
        await other.create("Trader")


async def test_old_and_many_backtests_are_deleted(lab, tmp_path):
    root = Path(tmp_path / "data/strategy/backtests")
    async with lab() as p:
        client = BacktestClient(user := p.identity())
        ids = [(await client.create("Trader")).backtest_id for _ in range(4)]
        for backtest_id in ids:
            await client.ended(backtest_id)
    with sqlite3.connect(tmp_path / "data/strategy_db.sqlite") as database:
        database.execute("UPDATE strategy_jobs SET end_time = 5 WHERE job_id = ?", (ids[3],))
    async with lab(backtest_keep=2) as p:
        stub = BacktestClient(p.identity(user.user_id)).stub

        async def left() -> set[str]:
            """Backtests that are listed, once they are those with a folder: one is deleted after the other."""
            listed = {one.backtest_id for one in (await stub.ListBacktests(rpc.ListBacktestsRequest())).backtests}
            return listed if len(listed) <= 2 and listed == {folder.name for folder in root.iterdir()} else set()

        assert ids[3] not in await until(left, timeout_s=60)
