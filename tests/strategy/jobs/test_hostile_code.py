"""Backtests whose code meddles with its own folder, environment and processes: the platform neither stops nor waits."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2 as common
from redfire.strategy.v1 import backtest_pb2 as pb
from redfire.strategy.v1 import backtest_service_pb2 as rpc
from sqlalchemy.exc import OperationalError

from services.strategy.jobs.job import Status
from services.strategy.jobs.repository import JobRepository
from tests.strategy.fakes import SYMBOL
from tests.strategy.jobs.backtests import STRATEGIES, BacktestClient, store_bars
from tests.strategy.refusal import fields_of, reason_of
from tests.waiting import until

pytestmark = pytest.mark.slow

HOSTILE = '''
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from mine import Base


class Meddler(Base):
    """Does what it does at its second bar, in the folder of its job."""

    def at(self, count, bar):
        if count == 2:
            self.meddle(Path(os.environ["TMPDIR"]).parent)

    def meddle(self, folder):
        pass


class Pipe(Meddler):
    def meddle(self, folder):
        os.mkfifo(folder / "outcome.json")
        os._exit(0)


class Endless(Meddler):
    def meddle(self, folder):
        (folder / "outcome.json").symlink_to("/dev/zero")
        os._exit(0)


class PipedReport(Meddler):
    def meddle(self, folder):
        os.mkfifo(folder / "report.en.html.gz")
        outcome = {"failure": "UNSPECIFIED", "error": "", "error_detail": "", "result": {"trade_count": 1}}
        (folder / "outcome.json").write_text(json.dumps(outcome))
        os._exit(0)


class Shortener(Meddler):
    def meddle(self, folder):
        os.truncate(folder / "progress", 0)


class LogRemover(Meddler):
    def meddle(self, folder):
        (folder / "worker.log").unlink()


class Astronomer(Meddler):
    def meddle(self, folder):
        result = {"statistics": {"sharpe_ratio": 10**400}}
        outcome = {"failure": "UNSPECIFIED", "error": "", "error_detail": "", "result": result}
        (folder / "outcome.json").write_text(json.dumps(outcome))
        os._exit(0)


class Thick(Meddler):
    def meddle(self, folder):
        import pyarrow as pa
        from pyarrow import parquet

        texts = pa.array([None] * 3_000_000, pa.string())
        numbers = pa.array([1.0] * 3_000_000)
        names = {"trade_id": texts, "order_id": texts, "direction": texts, "offset": texts}
        names |= dict.fromkeys(("price", "volume", "commission"), numbers)
        table = pa.table({**names, "time_ns": pa.array([1] * 3_000_000)})
        parquet.write_table(table, folder / "trades.parquet", row_group_size=3_000_000)
        outcome = {"failure": "UNSPECIFIED", "error": "", "error_detail": "", "result": {"trade_count": 1}}
        (folder / "outcome.json").write_text(json.dumps(outcome))
        os._exit(0)


class OddSignal(Meddler):
    def meddle(self, folder):
        os.kill(os.getpid(), 40)


class Daemon(Meddler):
    """Leaves a process behind that is nobody's child any more, and ends at once."""

    def meddle(self, folder):
        code = "import os, sys, time; os.fork() and os._exit(0); os.fork() and os._exit(0)\\n"
        code += f"open({self.note!r}, 'w').write(str(os.getpid()) + chr(10)); time.sleep(600)"
        subprocess.run([sys.executable, "-c", code])
        while not os.path.exists(self.note) or not open(self.note).read().endswith("\\n"):
            pass
        os._exit(0)


class Hoarder(Meddler):
    """Fills the disk with small files."""

    def meddle(self, folder):
        number = 0
        while True:
            number += 1
            Path(os.environ["TMPDIR"], str(number)).write_bytes(bytes(16 << 20))


class Prober(Meddler):
    def meddle(self, folder):
        mask = os.umask(0)
        os.umask(mask)
        fds = {}
        for number in os.listdir("/proc/self/fd"):
            try:
                fds[number] = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                pass
        Path(self.note).write_text(json.dumps({
            "environment": dict(os.environ), "fds": fds, "umask": mask, "path": sys.path,
            "core": resource.getrlimit(resource.RLIMIT_CORE), "file": resource.getrlimit(resource.RLIMIT_FSIZE),
            "memory": resource.getrlimit(resource.RLIMIT_AS), "session": os.getsid(0) == os.getpid(),
        }))
'''


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def lab(serve, strategies_dir, tmp_path):
    """`async with lab() as p`: a service with data and strategies that meddle."""
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    (strategies_dir / "hostile.py").write_text(HOSTILE)
    store_bars(tmp_path / "data")
    return lambda **settings: serve(data_dir=tmp_path / "data", **settings)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("name", "failure", "text"),
    [
        ("Pipe", pb.JOB_FAILURE_EXITED, "exit code 0"),
        ("Endless", pb.JOB_FAILURE_EXITED, "exit code 0"),
        ("Astronomer", pb.JOB_FAILURE_BAD_RESULT, "cannot be read"),
        ("Thick", pb.JOB_FAILURE_BAD_RESULT, "trades.parquet"),
        ("OddSignal", pb.JOB_FAILURE_EXITED, "signal 40"),
    ],
)
async def test_what_a_job_leaves_in_place_of_its_results_harms_nobody(lab, name, failure, text):
    # The sandbox makes no pipe: what comes after it must hold by itself.
    async with lab(sandbox="off") as p:
        client = BacktestClient(p.identity())
        backtest = await client.run(name)
        assert (backtest.status, backtest.failure) == (pb.JOB_STATUS_FAILED, failure), (
            backtest.error,
            backtest.error_detail,
        )
        assert text in backtest.error
        assert len((await client.stub.ListBacktests(rpc.ListBacktestsRequest())).backtests) == 1


@pytest.mark.timeout(60)
async def test_a_report_that_is_no_file_is_not_there(lab):
    async with lab(sandbox="off") as p:
        client = BacktestClient(p.identity())
        made = await client.run("PipedReport")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.GetBacktestReport(rpc.GetBacktestReportRequest(backtest_id=made.backtest_id), timeout=10)
        assert reason_of(caught.value) == "JOB_NOT_FINISHED"


@pytest.mark.timeout(60)
async def test_a_job_that_spoils_what_it_is_watched_by_harms_itself_alone(lab):
    async with lab() as p:
        client = BacktestClient(p.identity())
        backtest = await client.run("Shortener")
        assert (backtest.failure, backtest.error.rpartition(" ")[2]) == (pb.JOB_FAILURE_EXITED, "SIGBUS)")
        await client.finished("LogRemover")


async def test_what_a_job_leaves_running_is_ended_with_it(lab, tmp_path):
    async with lab() as p:
        backtest = await BacktestClient(user := p.identity()).run("Daemon", {"note": "pid"})
        note = tmp_path / "data/strategy/home" / user.user_id / "pid"
        assert backtest.failure == pb.JOB_FAILURE_EXITED
        pid = int(note.read_text())
        try:
            await until(lambda: not alive(pid), 5)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


@pytest.mark.timeout(60)
async def test_a_job_that_fills_the_disk_is_ended(lab):
    async with lab(backtest_result_bytes=64 << 20, backtest_memory_bytes=300 << 20) as p:
        backtest = await BacktestClient(p.identity()).run("Hoarder")
        assert (backtest.failure, backtest.status) == (pb.JOB_FAILURE_BAD_RESULT, pb.JOB_STATUS_FAILED), backtest.error
        assert "disk" in backtest.error


async def test_a_job_inherits_neither_secrets_nor_files_nor_rights(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("REDFIRE_SECRET_OF_SOMETHING", "hush")
    monkeypatch.setenv("DATABASE_PASSWORD", "hush")
    secret = (tmp_path / "secret").open("w")
    os.set_inheritable(secret.fileno(), True)
    old = os.umask(0o022)
    try:
        async with lab() as p:
            await BacktestClient(user := p.identity()).finished("Prober", {"note": "probe"})
    finally:
        os.umask(old)
        secret.close()
    home = str(tmp_path / "data/strategy/home" / user.user_id)
    seen = json.loads(Path(home, "probe").read_text())
    assert "hush" not in json.dumps(seen["environment"])
    assert not [name for name in seen["environment"] if "TOKEN" in name or "SECRET" in name]
    assert not [file for file in seen["fds"].values() if file.startswith(("socket:", str(tmp_path / "secret")))]
    assert not [file for file in seen["fds"].values() if ".sqlite" in file or file.endswith("/lock")]
    assert seen["umask"] == 0o077
    assert seen["session"] and seen["core"] == [0, 0] and max(seen["memory"] + seen["file"]) < 1 << 40
    assert not {"", home} & set(seen["path"][:-1]), "nobody imports what others left there; last: vnpy's doing"


async def refused(call) -> tuple[str, str, set[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value), fields_of(caught.value)


async def test_numbers_and_days_out_of_this_world_are_refused(lab):
    async with lab() as p:
        client = BacktestClient(p.identity())
        for wrong in (float("nan"), float("inf")):
            parameters = Struct()
            parameters.fields["size"].number_value = wrong
            request = rpc.CreateBacktestRequest(
                class_name="Trader", symbol=SYMBOL, interval=common.INTERVAL_1M, parameters=parameters
            )
            code, _, fields = await refused(client.stub.CreateBacktest(request))
            assert (code, fields) == ("INVALID_ARGUMENT", {"parameters.size"})
        for name, start, stop, step in (
            ("size", -1e308, 1e308, 1.0),
            ("size", 0.0, 1.0, 5e-324),
            ("every", 1.0, 1e9, 1.0),
            ("every", 1.0, 1e308, 1.0),
        ):
            request = rpc.CreateOptimizationRequest(
                class_name="Trader",
                symbol=SYMBOL,
                interval=common.INTERVAL_1M,
                ranges=[pb.ParameterRange(name=name, start=start, stop=stop, step=step)],
            )
            # Who wrote the points out would not come to an end.
            code, _, fields = await refused(client.stub.CreateOptimization(request, timeout=30))
            assert (code, fields) == ("INVALID_ARGUMENT", {"ranges"}), (name, start, stop, step)
        stamp = Timestamp()
        stamp.FromDatetime(datetime(9999, 12, 20, tzinfo=UTC))
        code, reason, _ = await refused(client.create("Trader", end_time=stamp))
        assert (code, reason) == ("INVALID_ARGUMENT", "EMPTY_DATE_RANGE")


async def test_who_does_not_wait_for_the_answer_leaves_nothing_half_done(lab, monkeypatch):
    slow = asyncio.Event()
    entered = asyncio.Event()
    real_add, real_put = JobRepository.add, JobRepository.put

    async def add(self, job, request_id):
        await real_add(self, job, request_id)
        entered.set()
        await slow.wait()

    async def put(self, job):
        await real_put(self, job)
        if job.status is Status.CANCELED:
            entered.set()
            await slow.wait()

    async with lab(max_backtests=1) as p:
        client = BacktestClient(p.identity())
        first = await client.create("Slow")
        await client.until_running(first.backtest_id)
        with monkeypatch.context() as patch:
            patch.setattr(JobRepository, "add", add)
            asking = asyncio.ensure_future(client.create("Trader"))
            await entered.wait()
            asking.cancel()
            await until(asking.done)
            slow.set()
        await until(lambda: only(client, first.backtest_id), 5)
        waiting = await only(client, first.backtest_id)
        assert (waiting.status, waiting.queue_position) == (pb.JOB_STATUS_QUEUED, 0)
        slow.clear()
        entered.clear()
        with monkeypatch.context() as patch:
            patch.setattr(JobRepository, "put", put)
            asking = asyncio.ensure_future(client.cancel(waiting.backtest_id))
            await entered.wait()
            asking.cancel()
            await until(asking.done)
            slow.set()
            assert (await client.ended(waiting.backtest_id, 5)).status == pb.JOB_STATUS_CANCELED
        again = await client.create("Trader")
        await client.cancel(first.backtest_id)
        assert (await client.ended(again.backtest_id)).status == pb.JOB_STATUS_FINISHED


async def only(client: BacktestClient, other: str) -> pb.Backtest | None:
    listed = (await client.stub.ListBacktests(rpc.ListBacktestsRequest())).backtests
    return next((one for one in listed if one.backtest_id != other), None)


@pytest.mark.timeout(60)
async def test_what_a_full_disk_refuses_is_written_when_there_is_room(lab, monkeypatch):
    real = JobRepository.put
    full = True
    refused = 0

    async def put(self, job):
        nonlocal refused
        if full or refused < 2:
            refused += 1
            raise OperationalError("UPDATE", {}, Exception("database or disk is full"))
        await real(self, job)

    monkeypatch.setattr(JobRepository, "put", put)
    day = Timestamp()
    day.FromDatetime(datetime(2021, 1, 4, 4, tzinfo=UTC))
    async with lab() as p:
        client = BacktestClient(p.identity())
        made = await client.create("Slow", end_time=day)
        await until(lambda: refused)
        assert (await client.get(made.backtest_id)).status == pb.JOB_STATUS_QUEUED
        full = False
        folder = p.host.data_dir / "strategy/backtests" / made.backtest_id
        await client.until_running(made.backtest_id)
        full = True
        await until(folder.is_dir, 20)
        assert (await client.get(made.backtest_id)).status == pb.JOB_STATUS_RUNNING
        full = False
        backtest = await client.ended(made.backtest_id)
        assert (backtest.status, backtest.statistics["total_days"]) == (pb.JOB_STATUS_FINISHED, 1)


async def test_what_the_jobs_of_a_killed_platform_left_running_is_ended_by_the_next(lab, tmp_path):
    root = (tmp_path / "data/strategy/backtests").absolute()
    waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]  # for this process's end
    for folder, stays in ((root / "x.part", False), (tmp_path / "data/strategy/backtests2/x.part", True)):
        left = subprocess.Popen(
            waiting, stdin=subprocess.PIPE, env={"REDFIRE_JOB": str(folder)}, start_new_session=True
        )
        try:
            async with lab():
                await until(lambda left=left, stays=stays: stays or left.poll() is not None, 5)
                assert (left.poll() is None) == stays
        finally:
            left.kill()
            left.communicate()
