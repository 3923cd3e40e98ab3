"""A real InfluxDB for tests, of Debian's package: in a temporary folder, on free ports of 127.0.0.1."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from services.kernel.runtime.parent_death import end_with_parent
from tests.machine import free_ports, lacks

START_S = 30.0
USER, PASSWORD = "redfire", "a password, of tests"
_CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
"""


class InfluxServer:
    """One server, which its tests may stop and start again."""

    def __init__(self, program: str, auth: bool = False) -> None:
        self._program = program
        self._auth = auth
        self.folder = Path(tempfile.mkdtemp(prefix="rf-influx-"))
        self.port, rpc = free_ports(2)
        text = _CONFIGURATION.format(rpc=rpc, port=self.port, folder=self.folder, auth=str(auth).lower())
        (self.folder / "influxdb.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        if auth:
            self.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "run", "-config", str(self.folder / "influxdb.conf")],
                stdout=log, stderr=log, start_new_session=True, preexec_fn=partial(end_with_parent, os.getpid()),
            )  # fmt: skip
        end = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop; what was taken stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The setting's value, for a new database."""
        self.query(f'CREATE DATABASE "{database}"')
        return f"http://127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[dict[str, Any]]:
        """The rows that a query finds, times in nanoseconds."""
        series = self.query(query, database)["results"][0].get("series", [])
        return [dict(zip(one["columns"], row, strict=True)) for one in series for row in one["values"]]

    def query(self, query: str, database: str = "") -> Any:
        """Ask it."""
        login = f"?{urllib.parse.urlencode({'u': USER, 'p': PASSWORD})}" if self._auth else ""
        body = urllib.parse.urlencode({"q": query, "db": database, "epoch": "ns"}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/query{login}", body, timeout=START_S) as response:
            return json.load(response)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=START_S):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


@contextmanager
def influx_server(auth: bool = False) -> Iterator[InfluxServer]:
    """A running server. Where InfluxDB is not installed the test is skipped; under CI it fails."""
    program = shutil.which("influxd")
    if program is None:
        lacks("InfluxDB is not installed: apt-get install influxdb")
    server = InfluxServer(program, auth)
    try:
        yield server
    finally:
        server.close()
