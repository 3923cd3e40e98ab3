"""A real PostgreSQL server for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from services.kernel.data.database import Database
from services.kernel.runtime.parent_death import end_with_parent
from tests.machine import free_port, lacks, unprivileged_user

ROLE = "redfire"
"""The role of RedFire: it may make databases and is no superuser."""
START_S = 30


class PostgresServer:
    """One server on a free port of 127.0.0.1 that its tests may kill, stop and start again."""

    def __init__(self, fsync: bool = False) -> None:
        """`fsync` is for tests that cut a power cord; a killed process alone loses nothing without it."""
        self._bin = _binaries()
        # Started by root it runs as somebody else: PostgreSQL refuses to run as root.
        self._user = unprivileged_user("postgres")
        self.folder = Path(tempfile.mkdtemp(prefix="rf-pg-", dir=None if self._user is None else "/tmp"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder),
            "fsync": "on" if fsync else "off", "max_connections": "300", "shared_buffers": "32MB",
            "autovacuum": "off", "logging_collector": "off",
        }  # fmt: skip
        try:
            self._make()
            self.start()
            self.sql(f"CREATE ROLE {ROLE} LOGIN CREATEDB", database="postgres", role="postgres")
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        initdb = [str(self._bin / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust"]
        made = subprocess.run(
            [*initdb, "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True, text=True, cwd="/", env=_ENVIRONMENT, user=self._user,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr

    def url(self, database: str = "{name}_db") -> str:
        """The setting's value."""
        return f"postgresql+asyncpg://{ROLE}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", env=_ENVIRONMENT, user=self._user,
                start_new_session=True, preexec_fn=partial(end_with_parent, os.getpid()),
            )  # fmt: skip
        end = time.monotonic() + START_S
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, env=_ENVIRONMENT).returncode:
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """`kill -9` of the server with all its processes, at any moment of theirs."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        processes = [main, *main.children(recursive=True)]
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        self._process.wait()
        psutil.wait_procs(processes, timeout=START_S)

    def stop(self) -> None:
        """Stop at once; what was committed stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str, role: str = ROLE) -> str:
        """Run SQL outside of any transaction; what it prints, rows by lines."""
        command = [str(self._bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", role, "-d", database]
        done = subprocess.run(
            [*command, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement],
            capture_output=True, text=True, env=_ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def connect(self, database: str, role: str = ROLE) -> Any:
        """A connection of a test's own."""
        import asyncpg

        return await asyncpg.connect(host="127.0.0.1", port=self.port, user=role, database=database)


_shared: list[PostgresServer] = []


def shared_server() -> PostgresServer:
    """The server that the tests of a run share; none of them stops it."""
    if not _shared:
        _shared.append(installed_server())
    return _shared[0]


def close_shared_server() -> None:
    """Stop it, at the end of the run."""
    while _shared:
        _shared.pop().close()


def installed_server(**options: Any) -> PostgresServer:
    """A running server. Where PostgreSQL is not installed the test is skipped; under CI it fails."""
    try:
        return PostgresServer(**options)
    except FileNotFoundError:
        lacks("PostgreSQL is not installed: apt-get install postgresql")


@asynccontextmanager
async def opened(url: str, base: Any, **options: Any) -> AsyncIterator[Database]:
    """A database with the tables of a base, made where they are not; closed at the end."""
    database = Database(url.replace("{name}", "cups"), base, **options)
    await database.migrate()
    await database.start()
    try:
        yield database
    finally:
        await database.close()


def _binaries() -> Path:
    """The folder of the newest server that is installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    if versions:
        return versions[-1].parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    raise FileNotFoundError("postgres")


# No setting of the caller's, such as PGDATABASE.
_ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
