"""Processes of `redfire up --processes`: who is where, who is replaced, and what is refused in one line."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from services import registry
from services.cli import cli
from services.commands.processes import supervisor
from services.commands.processes.layout import addresses_of, plan, stop_order
from services.commands.processes.ports import KeptPort
from services.commands.processes.service_process import ServiceProcess
from services.kernel.errors import StartError
from tests.running import REDFIRE
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
SECRET = "a-secret-of-tests-that-is-long-enough"


@pytest.fixture
def specs():
    made = plan(registry.SERVICES, 2, {"REDFIRE_ENGINE__FEED": "sim:1"})
    yield made
    for spec in made:
        spec.close()


def test_every_process_knows_the_replicas_of_the_others_and_market_by_name(specs):
    assert {name for spec in specs for name in spec.services} == set(registry.SERVICES)
    addresses = addresses_of(specs)
    for spec in specs:
        peers = json.loads(spec.variables["REDFIRE_PEERS__ADDRESSES"])
        assert set(peers) == set(registry.SERVICES) - set(spec.services)
        assert all(peers[name] == ",".join(addresses[name]) for name in peers)
        assert spec.variables["REDFIRE_ENGINE__FEED"] == "sim:1"
    assert next(spec for spec in specs if "trading" in spec.services).services == ("trading", "risk")
    markets = [spec for spec in specs if "market" in spec.services]
    assert [spec.variables["REDFIRE_MARKET__REPLICA"] for spec in markets] == ["market-1", "market-2"]
    for spec in markets:
        assert json.loads(spec.variables["REDFIRE_MARKET__REPLICAS"]) == {one.name: one.address for one in markets}
    ports = [port.number for spec in specs for port in (spec.port, spec.operations_port)]
    assert len(ports) == len(set(ports))


def test_processes_stop_after_those_that_call_them(specs):
    order = [spec.services[0] for wave in stop_order(registry.SERVICES, specs) for spec in wave]
    assert len(order) == len(specs)
    first, last = order.index, lambda name: len(order) - 1 - order[::-1].index(name)
    assert last("strategy") < first("trading") <= last("trading") < first("market") <= last("market") < first("engine")
    assert last("engine") < min(first("auth"), first("config"), first("user"))


def test_a_kept_port_refuses_connections_and_nobody_else_is_given_it():
    port = KeptPort()
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port.number)) != 0
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", port.number))
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(("127.0.0.1", port.number))
        ours.listen()
        with socket.create_connection(("127.0.0.1", port.number), timeout=5):
            pass
    port.close()


class Watched:
    """A process of one service on its own, and what it told."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.replaced, self.told = 0, []
        common = {"REDFIRE_PLATFORM__DATA_DIR": str(folder), "REDFIRE_IDENTITY__EDGE_SECRET": SECRET}
        only = {"config": registry.SERVICES["config"]}
        self.spec = plan(only, 1, {**common, **variables})[0]
        self.process = ServiceProcess(self.spec, folder, self.count, self.told.append)

    def count(self) -> None:
        self.replaced += 1

    async def close(self) -> None:
        await self.process.close()
        self.spec.close()


@pytest.mark.slow
async def test_a_killed_process_is_replaced_at_the_same_address_and_ends_when_told(tmp_path):
    watched = Watched(tmp_path)
    try:
        await until(lambda: watched.process.is_serving("config"), 240)
        first = watched.process.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: watched.replaced == 2 and watched.process.is_serving("config"), 240)
        assert watched.process.pid not in (None, first)
        watched.process.terminate()
        assert await watched.process.wait(30)
        assert watched.process.pid is None and not watched.told
    finally:
        await watched.close()


@pytest.mark.slow
async def test_what_cannot_start_says_why_and_is_not_tried_again(tmp_path):
    watched = Watched(tmp_path, REDFIRE_DATABASE__URL="postgresql+asyncpg://nobody@127.0.0.1:1/{name}")
    try:
        await until(lambda: watched.process.refusal, 240)
        assert "127.0.0.1:1/config" in watched.process.refusal
        assert watched.process.pid is None and watched.replaced == 0
    finally:
        await watched.close()


@pytest.mark.slow
async def test_a_crash_loop_is_told_once_and_tried_less_and_less_often(tmp_path):
    watched = Watched(tmp_path)
    try:
        await until(lambda: watched.process.is_serving("config"), 240)
        # From here on it cannot start: a folder stands where its database was.
        for file in tmp_path.glob("config_db.sqlite*"):
            file.unlink()
        (tmp_path / "config_db.sqlite").mkdir()
        os.kill(watched.process.pid, signal.SIGKILL)
        await until(lambda: watched.told, 240)
        assert len(watched.told) == 1 and "config ended 3 times" in watched.told[0]
        (tmp_path / "config_db.sqlite").rmdir()
        await until(lambda: watched.process.is_serving("config"), 240)
        assert len(watched.told) == 1
    finally:
        await watched.close()


@pytest.mark.slow
@pytest.mark.parametrize("serves", [True, False])
async def test_a_start_ends_when_all_serve_or_when_none_more_does_in_time(tmp_path, monkeypatch, serves):
    time_s = 240.0 if serves else 0.2
    monkeypatch.setattr(supervisor, "START_TIMEOUT_S", time_s)
    (tmp_path / "logs").mkdir()
    only = {"config": registry.SERVICES["config"]}
    common = {"REDFIRE_PLATFORM__DATA_DIR": str(tmp_path), "REDFIRE_IDENTITY__EDGE_SECRET": SECRET}
    specs = plan(only, 1, common)
    platform = supervisor.Supervisor(only, specs, tmp_path / "logs", lambda: None, lambda line: None)
    try:
        if serves:
            await platform.start()
            assert platform.pids["config"] and not platform.failures()
        else:
            with pytest.raises(StartError, match=r"not healthy for 0.2 s: config; see"):
                await platform.start()
    finally:
        await platform.stop()


@pytest.mark.parametrize(
    ("flags", "env", "words"),
    [
        (["--processes"], {}, "REDFIRE_EVENTS__URL"),
        (["--processes", "--replicas", "2"], {"REDFIRE_EVENTS__URL": "amqp://127.0.0.1:1/"}, "REDFIRE_DATABASE__URL"),
        (["--replicas", "2"], {}, "--processes"),
    ],
)
def test_what_processes_need_is_told_in_one_line(tmp_path, flags, env, words):
    folder = tmp_path / "data"
    done = CliRunner().invoke(cli, ["up", "--port", "0", "--data-dir", str(folder), *flags], env=env)
    assert isinstance(done.exception, StartError)
    assert words in str(done.exception) and "\n" not in str(done.exception)
    assert not folder.exists()


@pytest.mark.slow
async def test_children_end_with_a_parent_that_is_killed(tmp_path):
    """Nothing is left of processes whose supervisor is gone."""
    code = (
        "import asyncio, sys; from pathlib import Path; from tests.commands.test_processes import Watched\n"
        "async def main():\n"
        "    watched = Watched(Path(sys.argv[1]))\n"
        "    while not watched.process.is_serving('config'): await asyncio.sleep(0.05)\n"
        "    print(watched.process.pid, flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        str(REDFIRE.parent / "python"), "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    def is_gone() -> bool:
        status = Path(f"/proc/{child}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    await until(is_gone, 30)
