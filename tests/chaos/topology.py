"""Platforms that are disturbed: how they are started, reached and checked. Each lists its faults in `faults.py`."""

import asyncio
from pathlib import Path
from typing import Any

import psutil

from services import registry
from services.commands.verify.run import Outcome, verify_all
from services.kernel.runtime import settings
from tests.chaos.proxy import TcpProxy
from tests.chaos.trader import SYMBOL, Trader
from tests.postgres import PostgresServer, installed_server
from tests.running import Client, Running, until

STRATEGY = "MovingAverageStrategy"
GRACE_S = 10.0
START_S = 600.0


class Embedded:
    """`redfire up` with files of SQLite, its edge behind a proxy; the proxy's port stays the same over restarts."""

    name = "embedded"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = Running("--feed", "sim:11", data_dir=folder / "data", env=self._environment())
        self.edge = TcpProxy(lambda: _address(str(self.running.addresses["edge"])))

    def _environment(self) -> dict[str, str]:
        return {}

    @property
    def url(self) -> str:
        """The edge, by the proxy."""
        return f"http://127.0.0.1:{self.edge.port}"

    def begin(self) -> None:
        """Start it for the first time, with a user whose strategy trades: its worker is one of the processes."""
        self.start()
        owner = Trader(self.url, "quant", 0)
        owner.register()
        until(lambda: STRATEGY in _classes(owner), START_S, step_s=0.5)
        body = {"displayName": "Chaos", "className": STRATEGY, "symbol": SYMBOL, "requestId": "chaos"}

        def made() -> str:
            answer = owner.asked("POST", "/api/strategies", body)
            return "" if answer is None else str(answer.json()["strategy"]["strategyId"])

        strategy_id = until(made, START_S, step_s=0.5)
        until(lambda: owner.asked("POST", f"/api/strategies/{strategy_id}:start", {}), START_S, step_s=0.5)
        owner.http.close()

    def start(self) -> None:
        """Start it, or start it again."""
        self.running.start(START_S)

    def stop(self) -> None:
        """Stop it for good."""
        self.edge.close()
        if self.running.process is not None and self.running.process.poll() is None:
            self.running.kill9(children_too=True)

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
        self.server: PostgresServer = installed_server(fsync=True)
        self.database = TcpProxy(lambda: ("127.0.0.1", self.server.port))
        super().__init__(folder)
        self._migrate()

    def _environment(self) -> dict[str, str]:
        return {"REDFIRE_DATABASE__URL": self.server.url().replace(f":{self.server.port}/", f":{self.database.port}/")}

    def _database(self) -> dict[str, str]:
        return {"url": self.server.url()}

    def _migrate(self) -> None:
        from click.testing import CliRunner

        from services.cli import cli

        arguments = ["migrate", "--data-dir", str(self.running.data_dir)]
        done = CliRunner().invoke(cli, arguments, env={"REDFIRE_DATABASE__URL": self.server.url()})
        assert done.exit_code == 0, done.output

    def stop(self) -> None:
        """Stop it and its server."""
        super().stop()
        self.database.close()
        self.server.close()


def _classes(owner: Trader) -> list[str]:
    answer = owner.asked("GET", "/api/strategies/classes")
    return [] if answer is None else [one["name"] for one in answer.json()["classes"]]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
