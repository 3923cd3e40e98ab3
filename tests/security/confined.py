"""A program in the sandbox of a strategy or of a backtest, without the platform around it: quick to start."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from services.strategy.sandbox.control_group import make_group
from services.strategy.sandbox.profile import CODE, Needs, Profiles, link_code
from services.strategy.sandbox.support import Support

_START = """
import json, sys
import asyncio, errno, ctypes, multiprocessing, resource, socket, subprocess, threading
from services.strategy.sandbox.entry import enter_from
request = json.loads(sys.stdin.readline())
enter_from(request["sandbox"])
import os
os.chdir(request["home"])
exec(compile(request["code"], "strategy.py", "exec"), {"__name__": "strategy"})
"""


@dataclass(frozen=True)
class Ended:
    """The program's end: its exit code and what it wrote."""

    code: int
    output: str
    errors: str

    @property
    def result(self) -> Any:
        """The JSON of its last line."""
        assert self.code == 0, self.errors
        return json.loads(self.output.splitlines()[-1])


class Cell:
    """The sandbox of one owner in a folder `data`, beside which there are things that are none of its business."""

    def __init__(self, folder: Path, support: Support, owner: str = "") -> None:
        self.data = folder / "data"
        # Not another test's: the limit of processes is of the owner's user id, and others try fork bombs.
        self.owner = owner or str(uuid.uuid4())
        self.support = support
        self.strategies = folder / "strategies"
        self.home = self.data / "strategy" / "home" / self.owner
        for path in (self.home, self.strategies):
            path.mkdir(parents=True, exist_ok=True)
        self.profiles = Profiles(support, [self.data])
        self.profiles.give(self.owner, self.home)

    def description(self, **needs: Any) -> dict[str, Any]:
        """The sandbox as its process gets it."""
        made = Needs(
            self.owner,
            read=[self.data / "strategy" / CODE, self.strategies],
            write=[self.home],
            memory_bytes=256 << 20,
            file_bytes=1 << 20,
        )
        return asdict(self.profiles.make(replace(made, **needs)))

    def run(self, code: str, timeout_s: float = 60, **needs: Any) -> Ended:
        """Run a program in it. `needs`: fields of Needs."""
        request = {"sandbox": self.description(**needs), "home": str(self.home), "code": code}
        group = make_group(request["sandbox"], 256 << 20)
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _START],
                input=json.dumps(request) + "\n",
                capture_output=True,
                text=True,
                timeout=timeout_s,
                start_new_session=True,
                cwd=self.home,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": link_code(self.data / "strategy"),
                    "HOME": str(self.home),
                },
            )
        finally:
            if group is not None:
                asyncio.run(group.remove())
        return Ended(done.returncode, done.stdout, done.stderr)
