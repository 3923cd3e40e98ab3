"""Redis of Debian's package; it keeps no file."""

import os
import shutil
import socket

from deploy.production.server import LocalServer, NotInstalled

START_S = 120


class LocalRedis(LocalServer):
    """One server; it runs once this is made."""

    def __init__(self, *options: str) -> None:
        """`options` are of its command line: `"--maxmemory", "2mb"`."""
        self._binary, self._options = binary(), options
        super().__init__("rf-redis-", "redis")
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
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        self._process = self._spawn([*command, *self._options], environment, self.folder)
        self._wait_until(lambda: _answers(self.port), START_S)


def binary() -> str:
    """The program. Raises NotInstalled."""
    if found := shutil.which("redis-server"):
        return found
    raise NotInstalled("Redis", "redis-server")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # A server with a password answers, too.
            return connection.recv(5) in (b"+PONG", b"-NOAU")
    except OSError:
        return False
