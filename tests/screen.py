"""The command `redfire` at a terminal of its own."""

import os
import pty
import struct
import subprocess
import termios
import threading
from fcntl import ioctl
from typing import Any

from tests.running import REDFIRE

TIMEOUT_S = 90  # also on a machine that does much else


class Screen:
    """It runs at a terminal of its own; `shown` is all that it has written there."""

    def __init__(self, *arguments: Any, rows: int = 24, columns: int = 100) -> None:
        self.shown = ""
        own, its = pty.openpty()
        ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [str(REDFIRE), *map(str, arguments)], stdin=its, stdout=its, stderr=its, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(its)
        self._reader = threading.Thread(target=self._read, args=(own,), daemon=True)
        self._reader.start()

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> int:
        """Wait for its end, and for all that it has shown; its exit code."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def _read(self, own: int) -> None:
        with os.fdopen(own, "rb", buffering=0) as screen:
            while True:
                try:
                    part = screen.read(4096)
                except OSError:  # Linux says so when the other side is closed
                    return
                if not part:
                    return
                self.shown += part.decode(errors="replace")
