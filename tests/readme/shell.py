"""A POSIX shell that stays open, as the terminal of somebody who pastes one block after the other."""

import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4


class Failed(AssertionError):
    """A command of a block failed, or printed nothing in time."""


class Shell:
    """`sh -e`: a block ends it at its first command that fails."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["sh", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env={**os.environ, "no_proxy": "localhost,127.0.0.1"},
        )  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="redfire-tour-")

    def run(self, commands: str, timeout_s: float = 20) -> str:
        """Run the commands; returns their output, errors too. Raises: Failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        block, end = Path(self._folder.name) / "block.sh", uuid4().hex
        block.write_text(commands)
        self._process.stdin.write(f". {block} </dev/null; echo {end}\n".encode())
        self._process.stdin.flush()
        printed, deadline = b"", time.monotonic() + timeout_s
        with selectors.DefaultSelector() as readable:
            readable.register(self._process.stdout, selectors.EVENT_READ)
            while end.encode() not in printed:
                if not readable.select(max(0.0, deadline - time.monotonic())):
                    raise Failed(f"not done within {timeout_s} s:\n{commands}\n{printed.decode()}")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise Failed(f"exit status {self._process.wait()}:\n{commands}\n{printed.decode()}")
                printed += chunk
        return printed.decode().partition(end)[0]

    def close(self) -> None:
        """End it, with what still runs in it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()
