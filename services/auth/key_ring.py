"""The keys that sign access tokens: a file in the data folder, rotated from outside while the service runs.

The file holds keys in the order of their use. The last one is always the next: it is published but does not sign yet,
so that verifiers of tokens know it beforehand (the edge asks for keys every few seconds only). Rotating lets it
sign, as soon as it has been published for long enough, and adds another next one. Superseded keys stay published
until the last token that they may have signed has ended.
"""

import base64
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.settings import LONGEST_ACCESS_TOKEN_S
from services.kernel.data.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import StartError

FILE = "keys.json"
# Three times as long as the edge goes without asking for the keys.
PUBLISH_AHEAD_S = 15.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair; it signs from `activate_time` (seconds since 1970) on, until the next one does."""

    kid: str
    private: Ed25519PrivateKey = field(repr=False)
    publish_time: float
    activate_time: float | None

    @property
    def x(self) -> str:
        """The public key as JWKs write it (RFC 8037)."""
        return _base64url(self.private.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Rotation:
    """Outcome of a rotation: the key that signs from then on."""

    kid: str
    signs_from: datetime


def rotate(folder: Path, now: float | None = None) -> Rotation:
    """Let the next key sign and publish another next one; a running service notices within a second."""
    moment = time.time() if now is None else now
    with _locked(folder):
        keys = _read(folder) or _first_keys(moment)
        following = keys[-1]
        starts = max(moment, following.publish_time + PUBLISH_AHEAD_S)
        keys = [*keys[:-1], replace(following, activate_time=starts), _new_key(moment, None)]
        _write(folder, published(keys, moment))
    return Rotation(following.kid, datetime.fromtimestamp(starts, UTC))


def ensure_keys(folder: Path, now: float) -> None:
    """Make the first keys where there are none."""
    if (folder / FILE).exists():
        return
    with _locked(folder):
        if _read(folder) is None:
            _write(folder, _first_keys(now))


def published(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    """Keys of tokens that may still be valid: not those superseded longer ago than a token lives."""
    kept = []
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        superseded = following.activate_time if following else None
        if superseded is None or superseded + LONGEST_ACCESS_TOKEN_S > now:
            kept.append(key)
    return kept


class KeyRing:
    """The keys as last read; `refresh` reads them again when the file has changed."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now
        self._seen: tuple[int, ...] = ()
        self._keys: list[SigningKey] = []

    def open(self) -> None:
        """Make keys at the first start and read them. Raises StartError."""
        try:
            ensure_keys(self._folder, self._now())
            self.refresh()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # The message of a parser may quote what it read: only its type is logged.
            raise StartError(f"signing keys in {self._folder}: {type(error).__name__}") from None

    def refresh(self) -> bool:
        """Read the keys if the file is another one than last time; whether it was."""
        stat = (self._folder / FILE).stat()
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen == self._seen:
            return False
        keys = _read(self._folder)
        if not keys:
            raise ValueError("there are no keys")
        self._keys, self._seen = keys, seen
        return True

    def signing_key(self) -> SigningKey:
        """The key that signs now."""
        now = self._now()
        active = [key for key in self._keys if key.activate_time is not None and key.activate_time <= now]
        return active[-1] if active else self._keys[0]

    def public_keys(self) -> list[SigningKey]:
        """Keys that may have signed a token that has not expired, and those that will."""
        return published(self._keys, self._now())


def _first_keys(now: float) -> list[SigningKey]:
    # Nobody has an older list of keys than this one: the second may sign at once.
    return [_new_key(0.0, now), _new_key(0.0, None)]


def _new_key(publish_time: float, activate_time: float | None) -> SigningKey:
    private = Ed25519PrivateKey.generate()
    return SigningKey(_thumbprint(private), private, publish_time, activate_time)


def _thumbprint(private: Ed25519PrivateKey) -> str:
    """The key's id: its JWK thumbprint (RFC 7638)."""
    x = _base64url(private.public_key().public_bytes_raw())
    return _base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _read(folder: Path) -> list[SigningKey] | None:
    file = folder / FILE
    if not file.exists():
        return None
    return [_key(entry) for entry in json.loads(file.read_text())["keys"]]


def _key(entry: dict[str, Any]) -> SigningKey:
    seed = base64.urlsafe_b64decode(entry["seed"] + "==")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return SigningKey(_thumbprint(private), private, entry["publish_time"], entry["activate_time"])


def _write(folder: Path, keys: Sequence[SigningKey]) -> None:
    entries = [
        {
            "seed": _base64url(key.private.private_bytes_raw()),
            "publish_time": key.publish_time,
            "activate_time": key.activate_time,
        }
        for key in keys
    ]
    write_atomically(folder / FILE, json.dumps({"keys": entries}).encode(), mode=PRIVATE)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
