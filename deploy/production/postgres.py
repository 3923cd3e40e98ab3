"""PostgreSQL of Debian's package, with a role for RedFire."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from deploy.production.server import END_S, LocalServer, NotInstalled, ServerFailed

ROLE = "redfire"
"""The role of RedFire: it may make databases and is no superuser."""
START_S = 120


class LocalPostgres(LocalServer):
    """One server; it runs once this is made."""

    def __init__(self, **settings: str) -> None:
        """`settings` are the server's own, beside its defaults."""
        self._bin = binaries()
        super().__init__("rf-pg-", "postgres")
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
            "logging_collector": "off",
            **settings,
        }
        try:
            self._make()
            self.start()
            self.sql(f"CREATE ROLE {ROLE} LOGIN CREATEDB", database="postgres", role="postgres")
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        initdb = [str(self._bin / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust"]
        made = subprocess.run(  # noqa: S603  a program of the package, fixed arguments # nosec B603
            [*initdb, "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
            user=self._user,
        )
        if made.returncode:
            raise ServerFailed(made.stderr)

    def url(self, database: str = "{name}_db") -> str:
        """The setting's value."""
        return f"postgresql+asyncpg://{ROLE}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = self._spawn(command, ENVIRONMENT, Path("/"))
        self._wait_until(self.is_ready, START_S)

    def is_ready(self) -> bool:
        """Test that it takes connections."""
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return not subprocess.run(ready, env=ENVIRONMENT).returncode  # noqa: S603  a program of the package, fixed arguments # nosec B603

    def stop(self) -> None:
        """Stop at once; what was committed stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(END_S)

    def sql(self, statement: str, database: str, role: str = ROLE) -> str:
        """Run SQL outside of any transaction; what it prints, rows by lines. Raises ServerFailed."""
        command = [str(self._bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", role, "-d", database]
        done = subprocess.run(  # noqa: S603  no shell; the statement is the caller's, who has the server # nosec B603
            [*command, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        if done.returncode:
            raise ServerFailed(done.stderr)
        return done.stdout.strip()


def binaries() -> Path:
    """The folder of the newest server that is installed. Raises NotInstalled."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    if versions:
        return versions[-1].parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    raise NotInstalled("PostgreSQL", "postgresql")


# No setting of the caller's, such as PGDATABASE.
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
