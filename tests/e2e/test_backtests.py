"""Backtests through the edge: REST, streams, the report as a page, two users, a kill in the middle."""

from uuid import uuid4

import grpc
import httpx
import psutil
import pytest
from redfire.strategy.v1 import backtest_service_pb2 as rpc
from redfire.strategy.v1.backtest_service_pb2_grpc import BacktestServiceStub

from tests.e2e.jobs import BACKTEST, bring_data, ended
from tests.running import Running, reason, until

PATH = "/api/strategies/backtests"
SLOW = '''
import time

from vnpy_ctastrategy import CtaTemplate


class Sleeper(CtaTemplate):
    """Sleeps at every bar."""

    parameters = ["sleep_s"]
    sleep_s = 0.01

    def on_init(self):
        pass

    def on_bar(self, bar):
        time.sleep(self.sleep_s)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A platform with a folder of strategies and with data."""
    folder = tmp_path_factory.mktemp("backtests")
    strategies = folder / "strategies"
    strategies.mkdir()
    (strategies / "sleeper.py").write_text(SLOW)
    running = Running("--feed", "sim:5", "--strategies", str(strategies), data_dir=folder / "data")
    with running:
        bring_data(running.data_dir)
        client = running.register("warm" + uuid4().hex[:8])
        until(lambda: "Sleeper" in client.get("/api/strategies/classes").text, timeout_s=30)
        yield running


@pytest.fixture
def alice(home):
    return home.register("alice" + uuid4().hex[:8])


def create(client, **fields):
    made = client.post(PATH, {**BACKTEST, **fields})
    assert made.status_code == 200, made.text
    return made.json()["backtest"]


def running_now(client, backtest_id):
    backtest = client.get(f"{PATH}/{backtest_id}").json()["backtest"]
    assert backtest["status"] in ("JOB_STATUS_QUEUED", "JOB_STATUS_RUNNING"), backtest
    return backtest if int(backtest["progress"]["done"]) > 0 else None


def jobs_processes(home) -> list[psutil.Process]:
    return [p for p in home.children() if "services.strategy.jobs.execution.worker" in p.cmdline()]


def test_a_backtest_by_rest_from_create_to_report(home, alice):
    made = create(alice, displayName="first", startTime="2021-01-05T00:00:00Z", parameters={"fast_window": 5})
    assert made["parameters"] == {"fast_window": 5, "slow_window": 20}
    path = f"{PATH}/{made['backtestId']}"
    for sse in (False, True):
        updates = list(alice.lines(f"{path}:watch", sse=sse))
        assert updates[-1]["backtest"]["status"] == "JOB_STATUS_FINISHED"
        assert "backtest" in updates[0]
    backtest = ended(alice, path)
    assert backtest["statistics"]["start_date"] == "2021-01-05"
    assert backtest["progress"]["percent"] == 100
    trades = alice.get(f"{path}/trades", pageSize=5).json()
    assert len(trades["trades"]) == 5 and trades["nextPageToken"]
    assert trades["trades"][0]["positionEffect"] == "POSITION_EFFECT_OPEN"
    days = alice.get(f"{path}/days").json()["days"]
    assert days[0]["date"] == "2021-01-05" and float(days[0]["netPnl"]) == pytest.approx(
        float(days[0]["totalPnl"]) - float(days[0]["commission"]) - float(days[0]["slippage"]), abs=1e-6
    )
    for lang, word in (("en", "Sharpe"), ("zh", "夏普")):
        report = alice.get(f"{path}/report", lang=lang)
        assert report.headers["content-type"] == "text/html; charset=utf-8"
        policy = report.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy
        assert report.headers["x-content-type-options"] == "nosniff"
        assert report.text.lstrip().lower().startswith("<!doctype html>") and word in report.text
    listed = alice.get(PATH).json()["backtests"]
    assert [one["backtestId"] for one in listed] == [made["backtestId"]]
    assert (alice.post(f"{path}:cancel").status_code, reason(alice.post(f"{path}:cancel"))) == (400, "JOB_ENDED")
    assert alice.delete(path).status_code == 200
    assert alice.get(path).status_code == 404


def test_the_same_by_grpc_with_the_report_in_one_message(home, alice):
    backtest = ended(alice, f"{PATH}/{create(alice)['backtestId']}")
    metadata = [("authorization", f"Bearer {alice.token}")]
    with home.channel() as channel:
        stub = BacktestServiceStub(channel)
        request = rpc.GetBacktestReportRequest(backtest_id=backtest["backtestId"])
        report = stub.GetBacktestReport(request, metadata=metadata, timeout=10).report
        assert report.content_type == "text/html; charset=utf-8"
        assert report.data == alice.get(f"{PATH}/{backtest['backtestId']}/report").content
        request = rpc.GetBacktestReportRequest(backtest_id=backtest["backtestId"], lang="fr")
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetBacktestReport(request, metadata=metadata, timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_cancel_leaves_no_process_and_the_watcher_receives_it(home, alice):
    made = create(alice, className="Sleeper", parameters={"sleep_s": 0.05})
    path = f"{PATH}/{made['backtestId']}"
    until(lambda: running_now(alice, made["backtestId"]), timeout_s=30)
    watch = home.client(alice.token).lines(f"{path}:watch")
    assert next(watch)["backtest"]["status"] == "JOB_STATUS_RUNNING"
    assert "done" in next(m for m in watch if "progress" in m)["progress"]
    assert alice.post(f"{path}:cancel").json()["backtest"]["status"] == "JOB_STATUS_CANCELED"
    assert list(watch)[-1]["backtest"]["status"] == "JOB_STATUS_CANCELED"
    assert jobs_processes(home) == []
    assert reason(alice.get(f"{path}/report")) == "JOB_NOT_FINISHED"


def test_bad_requests_say_what_is_wrong(home, alice):
    for fields, status, why in (
        ({"className": "NoSuch"}, 404, "UNKNOWN_STRATEGY_CLASS"),
        ({"parameters": {"nope": 1}}, 400, "INVALID_PARAMETER"),
        ({"symbol": "rb2199.SHFE"}, 404, "DATASET_NOT_FOUND"),
        ({"dataset": "../../etc.SHFE"}, 400, "INVALID_FIELD"),
        ({"startTime": "2030-01-01T00:00:00Z"}, 400, "EMPTY_DATE_RANGE"),
        ({"startTime": "0001-01-01T00:00:00Z"}, 400, "EMPTY_DATE_RANGE"),
        ({"endTime": "9999-12-31T23:59:59Z"}, 400, "EMPTY_DATE_RANGE"),
        ({"interval": "INTERVAL_3S"}, 400, "INVALID_FIELD"),
        ({"ticks": True}, 400, "INVALID_FIELD"),
    ):
        answer = alice.post(PATH, {**BACKTEST, **fields})
        assert (answer.status_code, reason(answer)) == (status, why), (fields, answer.text)


def test_what_others_have_is_not_there(home, alice):
    mallory = home.register("mallory" + uuid4().hex[:8])
    backtest_id = create(alice)["backtestId"]
    ended(alice, f"{PATH}/{backtest_id}")
    for path in ("", "/trades", "/days", "/report", ":watch"):
        assert mallory.get(f"{PATH}/{backtest_id}{path}").status_code == 404, path
    assert mallory.post(f"{PATH}/{backtest_id}:cancel").status_code == 404
    assert mallory.delete(f"{PATH}/{backtest_id}").status_code == 404
    assert mallory.get(PATH).json()["backtests"] == []
    guest = httpx.get(f"{home.url}{PATH}/{backtest_id}/report")
    assert guest.status_code == 401


def test_a_kill_in_the_middle_leaves_no_process_and_the_queue_goes_on(home, alice):
    """The last test of this platform's: it is killed."""
    done = create(alice)["backtestId"]
    before = ended(alice, f"{PATH}/{done}")
    running = create(alice, className="Sleeper", parameters={"sleep_s": 0.05})["backtestId"]
    until(lambda: running_now(alice, running), timeout_s=30)
    waiting = [create(alice, requestId=f"w{n}")["backtestId"] for n in range(2)]
    workers = jobs_processes(home)
    assert workers
    home.kill9()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers))
    home.start()
    again = home.client()
    again.http.headers["authorization"] = f"Bearer {alice.token}"
    assert again.get(f"{PATH}/{done}").json()["backtest"] == before
    assert again.get(f"{PATH}/{done}/trades").json()["trades"]
    backtest = until(lambda: running_now(again, running), timeout_s=30)
    assert backtest["attempts"] == 2
    assert backtest["error"].startswith("interrupted: the platform stopped")
    assert create(again, requestId="w0")["backtestId"] == waiting[0]
    assert again.post(f"{PATH}/{running}:cancel").status_code == 200
    for backtest_id in waiting:
        assert ended(again, f"{PATH}/{backtest_id}")["status"] == "JOB_STATUS_FINISHED"
