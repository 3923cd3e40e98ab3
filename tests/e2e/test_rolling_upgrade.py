"""A rolling upgrade: one version's replicas replaced by another's, one by one, under clients that trade."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from services import registry
from services.cli import cli
from services.kernel.identifiers import new_id
from tests.chaos.audit import audit
from tests.chaos.trader import Trader
from tests.e2e.processes import START_S, Processes
from tests.e2e.versions import earlier_version, heads, next_version, this_version
from tests.postgres import PostgresServer
from tests.rabbitmq import RabbitMqServer
from tests.running import Client, until

SYMBOL = "rb2701.SHFE"
VERSION_FOLDER = Path(__file__).with_name("installed_version")
REPLACED_S = 300
"""The machine of a test run may be busy with others."""
TRADERS = 3
FIRST = ("trading", "config")
"""Services that are replaced first: they have most of what two versions may not agree about."""
pytestmark = [pytest.mark.timeout(2400), pytest.mark.upgrade]

ASKED = {
    "config": ["/api/config/development/engine", "/api/config/development/risk", "/api/config/development:export"],
    "auth": ["/api/users/sessions", "/api/users/apiKeys"],
    "user": ["/api/users/me", "/api/users?pageSize=50", "/api/users/nobody"],
    "market": [
        "/api/market/instruments?pageSize=1000",
        f"/api/market/instruments/{SYMBOL}",
        f"/api/market/sessions/{SYMBOL}",
        "/api/market/calendar/SHFE?startDate=2026-11-01&endDate=2026-12-01",
    ],
    "trading": [
        *(f"/api/trading/{noun}" for noun in ("account", "accounts", "positions", "orders", "trades", "ledger")),
        "/api/trading/orders:lookup?clientOrderId=mirrored-1",
        "/api/trading/orders?pageSize=0x",
        "/api/risk/limits",
        "/api/risk/state",
        "/api/risk/exposure",
    ],
    "strategy": ["/api/strategies", "/api/strategies/classes", "/api/strategies/backtests", "/api/strategies/nothing"],
}
"""Requests that the replicas of two versions are both asked, by the service of their process."""


class Upgraded(Processes):
    """`redfire up --processes --replicas 2` of a version, of which another may be installed while it runs."""

    def __init__(self, version: Path, folder: Path, env: dict[str, str]) -> None:
        self.installed = folder / "installed"
        paths = {"PYTHONPATH": str(VERSION_FOLDER), "INSTALLED_VERSION_FILE": str(self.installed)}
        super().__init__("--processes", "--replicas", "2", "--feed", "sim:7", env={**env, **paths})
        self.install(version)

    def install(self, version: Path) -> None:
        """Have processes that are started from now on be of this version."""
        self.installed.write_text(str(version))

    def version_of(self, pid: int) -> Path:
        """The version that a process is of."""
        return Path(Path(f"{self.installed}-{pid}").read_text())

    def replace(self, service: str, at: int) -> None:
        """End a process of a service in order, and wait until another is in its place."""
        ending = self.pids()[service][at]
        psutil.Process(ending).terminate()
        until(lambda: ending not in self.pids()[service] and self.serves_all(), REPLACED_S, step_s=0.2)

    def serves_all(self) -> bool:
        """Test that every replica serves."""
        try:
            return self.is_whole()
        except (httpx.HTTPError, ValueError):
            return False


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path]:
    """(the version before, the version after): an earlier one and ours, or without the history ours and a next one."""
    if earlier := earlier_version(tmp_path / "earlier"):
        return earlier, this_version(tmp_path / "this")
    return this_version(tmp_path / "this"), next_version(tmp_path / "next")


@pytest.fixture
def platform(
    versions: tuple[Path, Path], postgres: PostgresServer, rabbitmq: RabbitMqServer, tmp_path: Path
) -> Iterator[Upgraded]:
    env = {
        "REDFIRE_DATABASE__URL": postgres.url(f"upgraded{new_id()[-8:]}_{{name}}_db"),
        "REDFIRE_EVENTS__URL": rabbitmq.url,
        # Clients that trade by chance must not run out of it.
        "REDFIRE_TRADING__PAPER_CASH": str(10**10),
    }
    running = Upgraded(versions[0], tmp_path, env)
    try:
        running.start(START_S)
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill9(children_too=True)


@pytest.fixture
def traders(platform: Upgraded) -> Iterator[list[Trader]]:
    """Clients that trade by chance, each by the retry policy."""
    traders = [Trader(platform.url, f"upgraded{number}", number) for number in range(TRADERS)]
    for trader in traders:
        trader.register()
        trader.start()
        assert trader.follows.wait(REPLACED_S), "the stream of orders does not begin"
        trader.resume()
    yield traders
    for trader in traders:
        trader.end()


def mirrored(platform: Upgraded) -> Client:
    """A trader with something to show, who does no more."""
    client = platform.register("mirrored")
    until(lambda: client.get(f"/api/market/ticks/{SYMBOL}").status_code == 200, REPLACED_S)
    for number, side in enumerate(("BUY", "SELL"), 1):
        key = f"mirrored-{number}"
        until(lambda key=key, side=side: client.order(SYMBOL, key, side).status_code == 200, REPLACED_S)

        def filled(key=key) -> bool:
            answer = client.get("/api/trading/orders:lookup", clientOrderId=key)
            return answer.status_code == 200 and answer.json()["order"]["status"] == "ORDER_STATUS_FILLED"

        until(filled, REPLACED_S)
    return client


def differences(platform: Upgraded, service: str, client: Client, folder: Path) -> list[dict]:
    """Differences between the answers of a service's two replicas, by `redfire compare-versions`."""
    requests = folder / f"{service}.txt"
    requests.write_text("".join(f"GET {path}\n" for path in ASKED[service]))
    arguments = [*platform.addresses_of(service), "--requests", str(requests), "--json"]
    # Not seen by all replicas in one moment; and what a trader's own call changes.
    arguments += ["--ignore", "lastUsedTime", "--ignore", "lastUseTime"]
    done = CliRunner().invoke(cli, ["compare-versions", *arguments], env={"TOKEN": client.token})
    assert done.exit_code in (0, 1), done.output
    document = json.loads(done.stdout)
    assert document["requests"] == len(ASKED[service]), document["left_out"]
    return document["differences"]


def all_acknowledged(traders: list[Trader]) -> None:
    """Wait until each has another order acknowledged."""
    before = [len(trader.record.acknowledged) for trader in traders]
    until(
        lambda: all(len(one.record.acknowledged) > count for one, count in zip(traders, before, strict=True)),
        REPLACED_S,
    )


def migrated(platform: Upgraded) -> int:
    """Exit code of the installed version's `redfire migrate`."""
    command = [sys.executable, "-P", "-m", "services.cli", "migrate", "--data-dir", str(platform.data_dir)]
    return subprocess.run(command, env=platform.environment, capture_output=True).returncode


def test_replicas_of_two_versions_run_beside_each_other_and_no_call_fails_while_they_are_replaced(
    platform, versions, traders, tmp_path
):
    before, after = versions
    assert heads(before) != heads(after)
    client = mirrored(platform)
    all_acknowledged(traders)
    platform.install(after)
    assert migrated(platform) == 0
    all_acknowledged(traders)
    for service in dict.fromkeys((*FIRST, *registry.SERVICES)):
        replicas = platform.pids()[service]
        if service == "risk":
            continue  # trading's process
        assert {platform.version_of(pid) for pid in replicas} == {before}
        for at in range(len(replicas)):
            platform.replace(service, at)
            all_acknowledged(traders)
            if at == 0 and len(replicas) > 1:
                by_version = [platform.version_of(pid) for pid in platform.pids()[service]]
                assert sorted(by_version) == sorted(versions)
                assert differences(platform, service, client, tmp_path) == []
    pids = {pid for name, pids in platform.pids().items() if name in registry.SERVICES for pid in pids}
    assert {platform.version_of(pid) for pid in pids} == {after}
    for trader in traders:
        trader.pause()
    for trader in traders:
        assert (trader.record.given_up, trader.record.problems) == ([], [])
        assert audit(trader) == []
    assert not platform.findings()
