"""A platform in processes on servers of its own, for tests."""

import asyncio
import json
from typing import Any

from services import registry
from services.commands.verify.run import verify_all
from services.kernel.runtime import settings
from services.trading.verify.finding import Finding
from tests.running import Running

START_S = 600
"""The machine of a test run may be busy with others."""
GRACE_S = 15.0


class Processes(Running):
    """`redfire up --processes`."""

    def document(self) -> dict:
        return json.loads((self.data_dir / "addresses.json").read_text())

    def pids(self) -> dict[str, list[int]]:
        """Process ids by service."""
        return {name: ids if isinstance(ids, list) else [ids] for name, ids in self.document()["pids"].items()}

    def is_whole(self) -> bool:
        """Test that every replica serves."""
        body = self.client().get("/healthz").json()
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
