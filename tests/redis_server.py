"""A real Redis server for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import redis

from services.kernel.runtime.parent_death import end_with_parent
from tests.machine import free_port, lacks, unprivileged_user

START_S = 30


class RedisServer:
    """One server on a free port of 127.0.0.1 that its tests may kill, suspend, empty and start again; keeps no file."""

    def __init__(self, *options: str) -> None:
        """`options` are of its command line: `"--maxmemory", "2mb"`."""
        found = shutil.which("redis-server")
        if found is None:
            raise FileNotFoundError("redis-server")
        self._binary, self._options = found, options
        self._user = unprivileged_user("redis")
        self.folder = Path(tempfile.mkdtemp(prefix="rf-redis-", dir=None if self._user is None else "/tmp"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The setting's value."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, cwd=self.folder, user=self._user,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                start_new_session=True, preexec_fn=partial(end_with_parent, os.getpid()),
            )  # fmt: skip
        end = time.monotonic() + START_S
        while not _answers(self.port):
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)

    def client(self) -> redis.Redis:
        """A client of a test's own."""
        return redis.Redis(port=self.port, socket_timeout=10)

    def empty(self) -> None:
        """FLUSHALL."""
        with self.client() as client:
            client.flushall()

    def suspend(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        psutil.Process(self._running.pid).suspend()

    def resume(self) -> None:
        """SIGCONT."""
        psutil.Process(self._running.pid).resume()

    def kill(self) -> None:
        """`kill -9`; what it had is gone."""
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    def close(self) -> None:
        """Stop, and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process


def installed_redis(*options: str) -> RedisServer:
    """A running server. Where Redis is not installed the test is skipped; under CI it fails."""
    try:
        return RedisServer(*options)
    except FileNotFoundError:
        lacks("Redis is not installed: apt-get install redis-server")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # A server with a password answers, too.
            return connection.recv(5) in (b"+PONG", b"-NOAU")
    except OSError:
        return False
