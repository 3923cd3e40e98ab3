"""A server of Debian's package: in a temporary folder, unprivileged, on free ports, stopped by its maker."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from deploy.production.machine import free_port, unprivileged_user
from services.kernel.runtime.parent_death import end_with_parent

END_S = 30


class NotInstalled(FileNotFoundError):
    """The package of a server is not installed."""

    def __init__(self, server: str, package: str) -> None:
        super().__init__(f"{server} is not installed: apt-get install {package}")
        self.package = package


class ServerFailed(Exception):
    """A server did not start; its own words."""


class LocalServer:
    """A server's folder, port and process. It ends with the process that made it, however that ends."""

    def __init__(self, prefix: str, user: str) -> None:
        """Started by root it runs as `user`, or as nobody."""
        self._user = unprivileged_user(user)
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=None if self._user is None else "/tmp"))  # noqa: S108 # nosec B108
        self._give(self.folder)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _give(self, *paths: Path) -> None:
        """Let the server's user have files."""
        if self._user is not None:
            for path in paths:
                shutil.chown(path, self._user)

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(  # noqa: S603  a program of the package, fixed arguments # nosec B603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=environment,
                user=self._user,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )

    def _wait_until(self, answers: Callable[[], bool], timeout_s: float) -> None:
        """Wait for the process that was spawned. Raises ServerFailed."""
        end = time.monotonic() + timeout_s
        while not answers():
            words = (self.folder / "log.txt").read_text(errors="replace")[-2000:]
            if self.running.poll() is not None:
                raise ServerFailed(words)
            if time.monotonic() > end:
                raise ServerFailed(f"no answer within {timeout_s:g} s: {words}")
            time.sleep(0.02)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """Its process. Raises ServerFailed where none was started."""
        if self._process is None:
            raise ServerFailed("it was not started")
        return self._process

    def kill(self) -> None:
        """`kill -9` of the server with all its processes, at any moment of theirs."""
        main = psutil.Process(self.running.pid)
        processes = [main, *main.children(recursive=True)]
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        self.running.wait()
        psutil.wait_procs(processes, timeout=END_S)

    def stop(self) -> None:
        """Stop it, as far as it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
