"""A POSIX shell that stays open, as the terminal of somebody who pastes one block after the other."""

import os
import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

_SETS = re.compile(r"^(export )?[A-Za-z_]+=|^[a-z]+\(\)|^(cd|set) ", re.MULTILINE)


class Failed(AssertionError):
    """A command of a block failed, or printed nothing in time."""


class Shell:
    """`sh -e`: a block ends at its first command that fails, and with it the shell, where the block sets variables."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """`env` is added to the environment."""
        self._process = subprocess.Popen(
            ["sh", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env={**os.environ, **env, "no_proxy": "localhost,127.0.0.1"},
        )  # fmt: skip
        self._is_open = True
        self._folder = tempfile.TemporaryDirectory(prefix="redfire-tour-")

    def run(self, commands: str, timeout_s: float = 20) -> str:
        """Run the commands; returns their output, errors too. Raises: Failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        block, end = Path(self._folder.name) / "block.sh", uuid4().hex
        block.write_text(commands)
        # Variables stay for later blocks; a block without any may fail and be run again.
        source = f". {block}" if _SETS.search(commands) else f"set +e; (set -e; . {block})"
        self._process.stdin.write(f"{source} </dev/null; echo {end}$?; set -e\n".encode())
        self._process.stdin.flush()
        printed, deadline = b"", time.monotonic() + timeout_s
        with selectors.DefaultSelector() as readable:
            readable.register(self._process.stdout, selectors.EVENT_READ)
            while not re.search(end.encode() + rb"[0-9]+\n", printed):
                if not readable.select(max(0.0, deadline - time.monotonic())):
                    self._is_open = False
                    raise Failed(f"not done within {timeout_s} s:\n{commands}\n{printed.decode()}")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise Failed(f"exit status {self._process.wait()}:\n{commands}\n{printed.decode()}")
                printed += chunk
        output, _, status = printed.decode().partition(end)
        if int(status):
            raise Failed(f"exit status {status.strip()}:\n{commands}\n{output}")
        return output

    @property
    def is_open(self) -> bool:
        """True unless a block has ended it, or goes on for too long."""
        return self._is_open and self._process.poll() is None

    def close(self) -> None:
        """End it, with what still runs in it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()
