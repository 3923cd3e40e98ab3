"""The keys that sign access tokens: a file in the data folder, rotated from outside while the service runs."""

import time
from collections.abc import Callable
from pathlib import Path

from services.auth.settings import LONGEST_ACCESS_TOKEN_S
from services.kernel.identity.key_file import KeyFile, Rotation

FILE = "keys.json"


class KeyRing(KeyFile):
    """Signing keys of auth; the edge and the services have the public ones by GetJwks."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        super().__init__(folder / FILE, LONGEST_ACCESS_TOKEN_S, now)


def rotate(folder: Path, now: float | None = None) -> Rotation:
    """Let the next key sign and publish another next one; a running service notices within a second."""
    return KeyRing(folder, time.time if now is None else lambda: now).rotate()
