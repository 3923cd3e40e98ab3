"""Files of Ed25519 keys that sign tokens, each rotated from outside while a service runs.

A file holds keys in the order of their use. The last one is always the next: it is published but does not sign yet,
so that verifiers of tokens know it beforehand. Rotating lets it sign, as soon as it has been published for long enough,
and adds another next one. Superseded keys stay published until the last token that they signed has ended. A key that
fell into wrong hands is removed: it is published no more, whatever it signed, and its id is kept.
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

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import StartError

# Three times as long as the edge goes without asking for the keys.
PUBLISH_AHEAD_S = 15.0
# A replica that learns of a rotation late signs on with the key before for a moment.
LATE_S = 5.0
MOST_REMOVED = 100


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair; it signs from `activate_time` (seconds since 1970) on, until the next one does."""

    kid: str
    private: Ed25519PrivateKey = field(repr=False)
    publish_time: float
    activate_time: float | None
    longest_token_s: float | None = None
    """The longest life of a token that it signed, seconds; None where that is not known."""

    @property
    def x(self) -> str:
        """The public key as JWKs write it (RFC 8037)."""
        return base64url(self.private.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Rotation:
    """Outcome of a rotation: the key that signs from then on."""

    kid: str
    signs_from: datetime


@dataclass(frozen=True, slots=True)
class _Content:
    keys: list[SigningKey]
    removed: list[str]


class KeyFile:
    """The keys as last read; `refresh` reads them again when the file has changed."""

    def __init__(self, file: Path, longest_token_s: float, now: Callable[[], float] = time.time) -> None:
        """No token that they sign lives for longer than `longest_token_s`."""
        self._file = file
        self._now = now
        self._longest_token_s = longest_token_s
        self._seen: tuple[int, ...] = ()
        self._keys: list[SigningKey] = []
        self.removed: Sequence[str] = ()
        """Ids of keys that were removed."""

    def open(self) -> None:
        """Make keys at the first start and read them. Raises StartError."""
        try:
            self._ensure()
            self.refresh()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # The message of a parser may quote what it read: only its type is logged.
            raise StartError(f"signing keys in {self._file.parent}: {type(error).__name__}") from None

    def refresh(self) -> bool:
        """Read the keys if the file is another one than last time; whether it was."""
        stat = self._file.stat()
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen == self._seen:
            return False
        content = self._read()
        if content is None:
            raise ValueError("there are no keys")
        self._keys, self.removed, self._seen = content.keys, content.removed, seen
        return True

    def signing_key(self, life_s: float | None = None) -> SigningKey:
        """The key that signs now, for a token of this life. Raises OSError when that cannot be noted."""
        now = self._now()
        active = [key for key in self._keys if key.activate_time is not None and key.activate_time <= now]
        key = active[-1] if active else self._keys[0]
        if life_s is not None and (key.longest_token_s is None or key.longest_token_s < life_s):
            self._note_life(key, life_s)
        return key

    def public_keys(self) -> list[SigningKey]:
        """Keys that may have signed a token that has not expired, and those that will."""
        return self._published(self._keys)

    def retire_time(self, key: SigningKey) -> float | None:
        """The moment, seconds since 1970, when its last token has ended; None for one that is not superseded."""
        for one, following in zip(self._keys, self._keys[1:], strict=False):
            if one.kid == key.kid:
                return self._retire_time(one, following)
        return None

    def rotate(self) -> Rotation:
        """Let the next key sign and add another next one; a running service notices within a second."""
        moment = self._now()
        with self._locked():
            content = self._read() or _Content(_first_keys(moment), [])
            following = content.keys[-1]
            starts = max(moment, following.publish_time + PUBLISH_AHEAD_S)
            keys = [*content.keys[:-1], replace(following, activate_time=starts), _new_key(moment, None)]
            self._write(_Content(self._published(keys), content.removed))
        return Rotation(following.kid, datetime.fromtimestamp(starts, UTC))

    def remove(self, kid: str) -> bool:
        """Remove a key, at once and for all: no token that it signed is believed any more. False where there is none.

        When it signed the next one does so from now on.
        """
        moment = self._now()
        with self._locked():
            content = self._read()
            if content is None or kid not in [key.kid for key in content.keys]:
                return False
            keys = [key for key in content.keys if key.kid != kid]
            if not keys or keys[-1].activate_time is not None:
                keys.append(_new_key(moment, None))  # the next one was removed
            if not any(key.activate_time is not None and key.activate_time <= moment for key in keys):
                keys = [*keys[:-1], replace(keys[-1], activate_time=moment), _new_key(moment, None)]
            self._write(_Content(keys, [*content.removed, kid][-MOST_REMOVED:]))
        return True

    def _retire_time(self, key: SigningKey, following: SigningKey) -> float | None:
        if following.activate_time is None:
            return None
        life_s = self._longest_token_s if key.longest_token_s is None else key.longest_token_s
        return following.activate_time + life_s + LATE_S

    def _published(self, keys: Sequence[SigningKey]) -> list[SigningKey]:
        kept, now = [], self._now()
        for key, following in zip(keys, [*keys[1:], None], strict=True):
            retires = self._retire_time(key, following) if following is not None else None
            if retires is None or retires > now:
                kept.append(key)
        return kept

    def _note_life(self, key: SigningKey, life_s: float) -> None:
        """Write down, before it signs, how long the key has to be published."""
        try:
            with self._locked():
                content = self._read()
                if content is None:
                    return
                keys = [
                    replace(one, longest_token_s=max(life_s, one.longest_token_s or 0.0)) if one.kid == key.kid else one
                    for one in content.keys
                ]
                self._write(_Content(keys, content.removed))
            self.refresh()
        except OSError:
            # A file that others write, mounted to be read: its keys stay published for as long as any token may live.
            if key.longest_token_s is not None:
                raise

    def _ensure(self) -> None:
        if self._file.exists():
            return
        with self._locked():
            if self._read() is None:
                self._write(_Content(_first_keys(self._now()), []))

    def _read(self) -> _Content | None:
        if not self._file.exists():
            return None
        document = json.loads(self._file.read_text())
        return _Content([_key(entry) for entry in document["keys"]], list(document.get("removed", ())))

    def _write(self, content: _Content) -> None:
        entries = [
            {
                "seed": base64url(key.private.private_bytes_raw()),
                "publish_time": key.publish_time,
                "activate_time": key.activate_time,
                "longest_token_s": key.longest_token_s,
            }
            for key in content.keys
        ]
        document = {"keys": entries, "removed": content.removed}
        write_atomically(self._file, json.dumps(document).encode(), mode=PRIVATE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._file.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def base64url(data: bytes) -> str:
    """Base64 as JWKs write it (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _first_keys(now: float) -> list[SigningKey]:
    # Nobody has an older list of keys than this one: the second may sign at once.
    return [_new_key(0.0, now), _new_key(0.0, None)]


def _new_key(publish_time: float, activate_time: float | None) -> SigningKey:
    private = Ed25519PrivateKey.generate()
    return SigningKey(_thumbprint(private), private, publish_time, activate_time)


def _thumbprint(private: Ed25519PrivateKey) -> str:
    """The key's id: its JWK thumbprint (RFC 7638)."""
    x = base64url(private.public_key().public_bytes_raw())
    return base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _key(entry: dict[str, Any]) -> SigningKey:
    seed = base64.urlsafe_b64decode(entry["seed"] + "==")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return SigningKey(
        _thumbprint(private),
        private,
        entry["publish_time"],
        entry["activate_time"],
        entry.get("longest_token_s"),
    )
