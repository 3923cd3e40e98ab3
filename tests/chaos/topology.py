"""Platforms that are disturbed: how they are started, reached and checked. Each lists its faults in `faults.py`."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from services import registry
from services.commands.verify.run import Outcome, verify_all
from services.kernel.runtime import settings
from tests.chaos.disk import DataDisk
from tests.chaos.network import Network
from tests.chaos.postgres_disk import server_on_disk
from tests.chaos.proxy import TcpProxy
from tests.chaos.trader import SYMBOL, Trader
from tests.e2e.processes import Processes
from tests.postgres import installed_server
from tests.rabbitmq import installed_broker
from tests.redis_server import installed_redis
from tests.running import Client, Running, until

STRATEGY = "MovingAverageStrategy"
GRACE_S = 60.0
"""Time for what differs to agree; the machine may be busy with others."""
START_S = 600.0
INSIDE = Path(__file__).with_name("inside")


class Embedded:
    """`redfire up` with files of SQLite, its edge behind a proxy; the proxy's port stays the same over restarts."""

    name = "embedded"
    servers: Mapping[str, Any] = {}
    """Servers of its own that it runs on, by their names."""
    proxies: Mapping[str, TcpProxy] = {}
    """The proxy before each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = self._platform(folder / "data")
        self.edge = TcpProxy(lambda: _address(str(self.running.addresses["edge"])))
        self.owner = Trader(self.url, "quant", 0)
        """The user whose strategy runs."""
        self.strategy_id = ""

    def _platform(self, data_dir: Path) -> Running:
        return Running("--feed", "sim:11", data_dir=data_dir, env=self._environment())

    def _environment(self) -> dict[str, str]:
        # Clients that trade by chance for an hour must not run out of it.
        return {"REDFIRE_TRADING__PAPER_CASH": str(10**10)}

    def _by_proxy(self, server: str, url: str) -> str:
        """The address of a server for the platform."""
        return url.replace(f":{self.servers[server].port}/", f":{self.proxies[server].port}/")

    @property
    def url(self) -> str:
        """The edge, by the proxy."""
        return f"http://127.0.0.1:{self.edge.port}"

    def begin(self) -> None:
        """Start it for the first time, with a user whose strategy trades: its worker is one of the processes."""
        self.start()
        owner = self.owner
        owner.register()
        until(lambda: STRATEGY in _classes(owner), START_S, step_s=0.5)
        body = {"displayName": "Chaos", "className": STRATEGY, "symbol": SYMBOL, "requestId": "chaos"}

        def made() -> str:
            answer = owner.asked("POST", "/api/strategies", body)
            return "" if answer is None else str(answer.json()["strategy"]["strategyId"])

        self.strategy_id = until(made, START_S, step_s=0.5)
        self._start_strategy()

    def _start_strategy(self) -> None:
        path = f"/api/strategies/{self.strategy_id}:start"
        until(lambda: self.owner.asked("POST", path, {}), START_S, step_s=0.5)

    def strategy_problems(self, timeout_s: float) -> list[str]:
        """Reasons for which the strategy does not run, after that time; one that has failed is started again."""
        strategy: dict[str, Any] = {}

        def runs() -> bool:
            answer = self.owner.asked("GET", f"/api/strategies/{self.strategy_id}")
            if answer is not None:
                strategy.update(answer.json()["strategy"])
            return strategy.get("status") in ("STRATEGY_STATUS_RUNNING", "STRATEGY_STATUS_ERROR")

        try:
            until(runs, timeout_s, step_s=0.2)
        except AssertionError:
            return [f"the strategy does not run after {timeout_s:g} s: {strategy.get('status')}"]
        if strategy["status"] == "STRATEGY_STATUS_RUNNING":
            return []
        self._start_strategy()
        return [f"the strategy has failed: {strategy.get('error')}"]

    def start(self) -> None:
        """Start it, or start it again."""
        self.running.start(START_S)

    def stop(self) -> None:
        """Stop it for good, with its servers."""
        self.owner.http.close()
        self.edge.close()
        if self.running.process is not None and self.running.process.poll() is None:
            self.running.kill9(children_too=True)
        for part in (*self.proxies.values(), *self.servers.values()):
            part.close()

    def is_whole(self) -> bool:
        """Test that nothing of it is away."""
        return True

    def set_engine(self, key: str, value: float) -> None:
        """Set a live setting of the engine, as an administrator does."""
        admin: Client = self.running.admin()
        answer = admin.put(f"/api/config/development/engine/{key}", {"value": value})
        assert answer.status_code == 200, answer.text
        admin.http.close()

    def children(self, word: str) -> list[psutil.Process]:
        """Processes of the platform with a word in their command line."""
        found = []
        for process in self.running.children():
            try:
                if word in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def verify(self) -> Outcome:
        """`redfire verify`, beside whatever runs."""
        flags: dict[str, Any] = {"platform": {"data_dir": self.running.data_dir}, "database": self._database()}
        loaded = settings.load(registry.sections(), flags=flags, environ={})
        return asyncio.run(verify_all(self.running.data_dir, loaded, GRACE_S))

    def _database(self) -> dict[str, str]:
        return {}


class EmbeddedPostgres(Embedded):
    """The same on a PostgreSQL server of its own, behind a proxy, too."""

    name = "embedded on PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self.servers = self._servers()
        self.proxies = _before(self.servers)
        super().__init__(folder)
        self._migrate()

    def _servers(self) -> dict[str, Any]:
        return {"PostgreSQL": installed_server(fsync=True)}

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "REDFIRE_DATABASE__URL": self._by_proxy("PostgreSQL", self.servers["PostgreSQL"].url()),
        }

    def _database(self) -> dict[str, str]:
        return {"url": self.servers["PostgreSQL"].url()}

    def _migrate(self) -> None:
        from click.testing import CliRunner

        from services.cli import cli

        arguments = ["migrate", "--data-dir", str(self.running.data_dir)]
        done = CliRunner().invoke(cli, arguments, env={"REDFIRE_DATABASE__URL": self.servers["PostgreSQL"].url()})
        assert done.exit_code == 0, done.output


class Replicated(EmbeddedPostgres):
    """`redfire up --processes --replicas 2`, on PostgreSQL, Redis and RabbitMQ of its own, each behind a proxy.

    The clocks of the second replicas are ahead, and services call each other by proxies.
    """

    name = "two replicas in processes on PostgreSQL, Redis and RabbitMQ"
    running: Processes

    def __init__(self, folder: Path) -> None:
        self.network = Network()
        self.disk = DataDisk(folder / "data")
        super().__init__(folder)

    def stop(self) -> None:
        super().stop()
        self.network.close()
        self.disk.close(keep="logs")

    def _servers(self) -> dict[str, Any]:
        return {"PostgreSQL": server_on_disk(), "Redis": installed_redis(), "RabbitMQ": installed_broker()}

    def _platform(self, data_dir: Path) -> Running:
        return Processes(
            "--processes", "--replicas", "2", "--feed", "sim:11", data_dir=data_dir, env=self._environment()
        )

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "REDFIRE_REDIS__URL": self._by_proxy("Redis", self.servers["Redis"].url),
            "REDFIRE_EVENTS__URL": self._by_proxy("RabbitMQ", self.servers["RabbitMQ"].url),
            "RF_CHAOS_NETWORK": str(self.network.port),
            "PYTHONPATH": os.pathsep.join([str(INSIDE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def _migrate(self) -> None:
        """Left to `up`."""

    def is_whole(self) -> bool:
        """Test that every replica serves."""
        try:
            return self.running.is_whole()
        except (httpx.HTTPError, ValueError):
            return False

    def processes(self, service: str) -> list[psutil.Process]:
        """The replicas of a service, in the order of their addresses."""
        pids = until(lambda: self.is_whole() and self.running.pids()[service], START_S)
        return [psutil.Process(pid) for pid in pids]

    def owners(self, service: str) -> dict[int, int]:
        """Number of the replica that owns each shard, as the leases have it."""
        leases = "SELECT shard, address FROM shard_leases WHERE owner <> '' AND expires_at > now()"
        addresses = self.running.addresses_of(service)
        rows = (row.split("|") for row in self.servers["PostgreSQL"].sql(leases, f"{service}_db").splitlines())
        return {int(shard): addresses.index(self.network.behind(address)) for shard, address in rows}


def _before(servers: Mapping[str, Any]) -> dict[str, TcpProxy]:
    return {name: TcpProxy(lambda port=server.port: ("127.0.0.1", port)) for name, server in servers.items()}


def _classes(owner: Trader) -> list[str]:
    answer = owner.asked("GET", "/api/strategies/classes")
    return [] if answer is None else [one["name"] for one in answer.json()["classes"]]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
