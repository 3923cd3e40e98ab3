"""A platform in processes on servers of its own, for tests."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from services import registry
from services.commands.verify.run import verify_all
from services.kernel.runtime import settings
from services.trading.verify.finding import Finding
from tests.postgres import PostgresServer
from tests.rabbitmq import RabbitMqServer
from tests.running import Running

START_S = 600
"""The machine of a test run may be busy with others."""
GRACE_S = 15.0
NO_TLS = False
"""No certificates are read, which takes 40 ms: the edge of a test speaks plain HTTP."""


class Processes(Running):
    """`redfire up --processes`."""

    def document(self) -> dict:
        return json.loads((self.data_dir / "addresses.json").read_text())

    def pids(self) -> dict[str, list[int]]:
        """Process ids by service."""
        return {name: ids if isinstance(ids, list) else [ids] for name, ids in self.document()["pids"].items()}

    def is_whole(self) -> bool:
        """Test that every replica serves."""
        # It is asked again and again while processes start: a client of its own each time would take a core from them.
        body = httpx.get(f"{self.url}/healthz", timeout=20, verify=NO_TLS).json()
        return body["status"] == "SERVING" and "failures" not in body

    def addresses_of(self, service: str) -> list[str]:
        """The addresses of a service's replicas."""
        addresses = self.document()["services"][service]
        return addresses if isinstance(addresses, list) else [addresses]

    def findings(self) -> list[Finding]:
        """Findings of `redfire verify`."""
        flags: dict[str, Any] = {
            "platform": {"data_dir": self.data_dir},
            "database": {"url": self.env["REDFIRE_DATABASE__URL"]},
        }
        loaded = settings.load(registry.sections(), flags=flags, environ={})
        return list(asyncio.run(verify_all(self.data_dir, loaded, GRACE_S)).findings.kept)


@contextmanager
def two_of_each(postgres: PostgresServer, rabbitmq: RabbitMqServer, prefix: str) -> Iterator[Processes]:
    """A platform of two replicas, in databases whose names begin so; all its processes end with it."""
    env = {"REDFIRE_DATABASE__URL": postgres.url(prefix + "{name}_db"), "REDFIRE_EVENTS__URL": rabbitmq.url}
    running = Processes("--processes", "--replicas", "2", "--feed", "sim:7", env=env)
    try:
        yield running.start(START_S)
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill9(children_too=True)
