"""Devices from which a user has logged in: what one shows is what it got at its last login, and nothing is kept of it.

A device token is made for one name that logs in: its code (HMAC-SHA256) is of the name and of the token's number. With
it a login is counted apart from what strangers do at the same address or with the same
name. It opens nothing: the password is asked for as ever, and wrong ones are slowed for that device alone.
"""

import base64
import binascii
import hmac
import secrets
from pathlib import Path

from services.auth.throttle import name_of
from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.clock import Clock

FILE = "device-secret"
LIFE_S = 180 * 86_400
_TIME, _NUMBER, _CODE = 6, 16, 32


class Devices:
    """Makes and knows device tokens. Replicas share the folder, as they do that of the signing keys."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._file = folder / FILE
        self._clock = clock
        self._secret = b""

    def open(self) -> None:
        """Read the secret, made where there is none."""
        if not self._file.exists():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, secrets.token_bytes(32), mode=PRIVATE)
        self._secret = self._file.read_bytes()

    def make(self, username: str) -> str:
        """A token for a device from which this name logged in."""
        head = int(self._now()).to_bytes(_TIME, "big") + secrets.token_bytes(_NUMBER)
        return base64.urlsafe_b64encode(head + self._code(head, username)).decode().rstrip("=")

    def find(self, token: str, username: str) -> str:
        """The device of a token that is good for this name; empty for any other."""
        try:
            whole = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return ""
        head = whole[: _TIME + _NUMBER]
        if len(whole) != _TIME + _NUMBER + _CODE:
            return ""
        if not hmac.compare_digest(whole[_TIME + _NUMBER :], self._code(head, username)):
            return ""
        age_s = self._now() - int.from_bytes(head[:_TIME], "big")
        return head.hex() if age_s < LIFE_S else ""

    def _code(self, head: bytes, username: str) -> bytes:
        return hmac.digest(self._secret, head + name_of(username).encode(), "sha256")

    def _now(self) -> float:
        return self._clock.now_ns() / 1e9
