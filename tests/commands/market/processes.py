"""The command `redfire` as a process of its own, in a pipe."""

import subprocess
from dataclasses import dataclass
from typing import Any

from tests.running import REDFIRE
from tests.screen import TIMEOUT_S


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def start(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
    """Start it with pipes."""
    command = [str(REDFIRE), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def outcome(process: subprocess.Popen[str]) -> Outcome:
    """Wait for its end."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:
            process.kill()
    return Outcome(process.returncode, out, err)
