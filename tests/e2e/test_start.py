"""Starting and stopping: what a newcomer and an operator meet."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from services import registry
from services.kernel.version import VERSION
from tests.running import REDFIRE, Running, until


def redfire(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REDFIRE, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}
    )


@contextlib.contextmanager
def serving(*arguments: str, env: dict[str, str], umask: int) -> Iterator[None]:
    """`redfire serve` on free ports while the block runs."""
    command = [REDFIRE, "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, umask=umask)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("flags", "env", "named"),
    [
        (["--feed", "replay:/nonexistent.csv"], {}, "nonexistent.csv"),
        (["--feed", "nonsense"], {}, "nonsense"),
        (["--feed", "sim:abc"], {}, "sim:abc"),
        (["--config", "/nonexistent.yaml"], {}, "nonexistent.yaml"),
        (["--strategies", "/nonexistent"], {}, "nonexistent"),
        (["--instruments", "/nonexistent.yaml"], {}, "nonexistent.yaml"),
        (["--host", "0.0.0.0", "--rate-limits", "off"], {}, "loopback"),
        (["--host", "203.0.113.7"], {}, "203.0.113.7"),
        ([], {"REDFIRE_NO_SUCH__KEY": "1"}, "REDFIRE_NO_SUCH__KEY"),
        ([], {"REDFIRE_TRADING__PAPER_CASH": "abc"}, "trading.paper_cash"),
        ([], {"REDFIRE_IDENTITY__EDGE_SECRET": "short"}, "identity.edge_secret"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_starts(tmp_path, flags, env, named):
    folder = tmp_path / "data"
    ended = redfire("up", "--port", "0", "--data-dir", str(folder), *flags, env=env)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (folder / "addresses.json").exists()


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_data_folder_of_another_version_is_reported_in_one_line(tmp_path, command):
    file = tmp_path / "config_db.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE configs (a_column_of_long_ago TEXT)")
    flags = ["serve", "config"] if command == "serve" else ["up"]
    env = {"REDFIRE_IDENTITY__EDGE_SECRET": "s" * 32}
    ended = redfire(*flags, "--port", "0", "--data-dir", str(tmp_path), env=env)
    assert ended.returncode == 2
    assert str(file) in ended.stderr
    assert "another version" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_port_or_folder_in_use_is_reported_and_the_one_that_uses_it_goes_on(up, tmp_path):
    taken = redfire("up", "--port", "0", "--data-dir", str(up.data_dir))
    assert taken.returncode == 2
    assert "in use" in taken.stderr
    port = up.addresses["edge"].rpartition(":")[2]
    taken = redfire("up", "--port", port, "--data-dir", str(tmp_path / "other"))
    assert taken.returncode == 2
    assert "in use" in taken.stderr
    assert httpx.get(f"{up.url}/healthz").status_code == 200


def test_healthz_names_version_and_services(up):
    body = httpx.get(f"{up.url}/healthz").json()
    assert body["status"] == "SERVING"
    assert body["version"] == VERSION
    assert body["services"] == dict.fromkeys(registry.SERVICES, "SERVING")
    assert set(up.addresses["services"]) == set(body["services"])


def test_keys_and_passwords_are_private(up):
    for name in (
        "admin-password",
        "edge-secret",
        "identity/trading.json",
        "redfire.log",
        "user_db.sqlite",
        "trading_db.sqlite-wal",
    ):
        assert mode(up.data_dir / name) == 0o600
    assert mode(up.data_dir) == 0o700


@pytest.mark.parametrize("folder", ["new", "made beforehand", "of an earlier start"])
def test_nobody_else_can_read_the_data_folder(tmp_path, folder):
    data_dir = tmp_path / "data"
    if folder != "new":
        data_dir.mkdir()
        data_dir.chmod(0o755)
    if folder == "of an earlier start":
        (data_dir / "lock").touch()
    env = {"REDFIRE_IDENTITY__EDGE_SECRET": "s" * 32}
    with serving("config", "--data-dir", str(data_dir), env=env, umask=0o022):
        until(lambda: (data_dir / "config_db.sqlite-wal").exists())
        assert mode(data_dir) == 0o700
        assert {mode(file) for file in data_dir.glob("config_db.sqlite*")} == {0o600}


def test_a_folder_with_other_things_stays_as_open_as_it_is_but_what_we_put_there_is_private(tmp_path):
    data_dir = tmp_path / "home"
    data_dir.mkdir()
    data_dir.chmod(0o755)
    (data_dir / "letter.txt").touch()
    env = {"REDFIRE_IDENTITY__EDGE_SECRET": "s" * 32}
    with serving("config", "--data-dir", str(data_dir), env=env, umask=0o022):
        until(lambda: (data_dir / "config_db.sqlite-wal").exists())
        assert mode(data_dir) == 0o755
        assert {mode(file) for file in data_dir.glob("config_db.sqlite*")} == {0o600}


def test_health_and_version_commands(up, tmp_path):
    answer = redfire("health", "--json", "--data-dir", str(up.data_dir))
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["services"]["trading"] == "SERVING"
    assert redfire("health", "--url", "http://127.0.0.1:9").returncode == 1
    assert redfire("health", "--data-dir", str(tmp_path)).returncode == 2
    assert VERSION in redfire("version").stdout
    for command in ("up", "serve", "admin", "health", "ticks", "mesh"):
        assert "Usage" in redfire(command, "--help").stdout


def test_ticks_prints_json_lines(up, admin):
    symbol = admin.get("/api/market/instruments").json()["instruments"][0]["symbol"]
    process = subprocess.Popen(
        [REDFIRE, "ticks", symbol, "--json", "--data-dir", up.data_dir], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["symbol"] == symbol
    finally:
        process.terminate()
        process.wait()


def test_envoy_is_started_again_when_it_dies(tmp_path):
    with Running(data_dir=tmp_path / "data") as running:
        envoy = next(p for p in running.children() if "envoy" in p.name())
        envoy.kill()
        until(lambda: not envoy.is_running() or envoy.status() == psutil.STATUS_ZOMBIE)

        def healthy():
            try:
                return httpx.get(f"{running.url}/healthz", timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        until(healthy, timeout_s=15)


def test_sigterm_and_sigint_stop_everything_and_a_second_start_goes_on(tmp_path):
    running = Running("--feed", "sim:3", data_dir=tmp_path / "data").start()
    alice = running.register("alice")
    alice.order("rb2701.SHFE", "first")
    until(lambda: alice.get("/api/trading/positions").json()["positions"])
    children = running.children()
    running.stop()
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in children)
    port = int(running.addresses["edge"].rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    first = running.text()
    # What is no terminal is a file or a journal: it is told where the password is.
    assert "administrator: admin, whose password is in " in first
    assert (running.data_dir / "admin-password").read_text().strip() not in first
    running.output.unlink()
    running.start()
    again = running.client()
    again.login("alice", "correct-Horse-9")
    assert [o["clientOrderId"] for o in again.get("/api/trading/orders").json()["orders"]] == ["first"]
    assert again.get("/api/trading/positions").json()["positions"][0]["quantity"] == "1"
    assert "administrator: " not in running.text()
    assert running.process is not None
    running.process.send_signal(signal.SIGINT)
    running.process.wait(15)


def test_children_do_not_outlive_a_killed_parent(tmp_path):
    running = Running(data_dir=tmp_path / "data").start()
    children = running.children()
    assert children
    running.kill9()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in children))
    running.start()
    running.stop()
