"""The keys by which services know each other: each signs with its own, and has the public ones of all.

`keys_dir` has the private keys, a file for each service (0600), made when the service first starts. `trust_dir` has the
public ones, a JWK set for each service: the name of the file is whose they are. A folder that all processes share makes
them known to each other by itself; where there is none, what is in it is copied, or mounted.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from services.kernel.atomic_file import write_atomically
from services.kernel.errors import StartError
from services.kernel.identity.key_file import KeyFile

SERVICE_TOKEN_LIFE_S = 300.0
WORKER_TOKEN_LIFE_S = 6 * 3600.0
"""A worker's token is renewed long before."""
PUBLIC = "public"
"""The folder of public keys, by default in that of the private ones."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, whose it is, and until when it is believed (seconds since 1970)."""

    service: str
    key: Any
    until: float


@dataclass(frozen=True, slots=True)
class _Published:
    """The file of a service: its keys by their ids, and those that it removed."""

    of: str
    keys: Mapping[str, TrustedKey]
    removed: frozenset[str]


class OwnKeys:
    """Key pairs of services of this process."""

    def __init__(self, keys_dir: Path, trust_dir: Path) -> None:
        self._keys_dir = keys_dir
        self._trust_dir = trust_dir
        self._files: dict[str, KeyFile] = {}

    def of(self, service: str) -> KeyFile:
        """A service's keys, made where there are none, and published. Raises StartError."""
        if service not in self._files:
            if not _NAME.fullmatch(service):
                raise StartError(f"{service!r} is no service's name")
            file = KeyFile(self._keys_dir / f"{service}.json", WORKER_TOKEN_LIFE_S)
            file.open()
            self._publish(service, file)
            self._files[service] = file
        return self._files[service]

    def refresh(self) -> None:
        """Read again what was rotated. Raises OSError, ValueError, KeyError or TypeError where it cannot be read."""
        for service, file in self._files.items():
            if file.refresh():
                self._publish(service, file)

    def names(self) -> list[str]:
        """The services that have keys in the folder."""
        return sorted(file.stem for file in self._keys_dir.glob("*.json") if _NAME.fullmatch(file.stem))

    def _publish(self, service: str, file: KeyFile) -> None:
        entries = [
            {
                "kid": key.kid, "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": key.x,
                **({"exp": retires} if (retires := file.retire_time(key)) is not None else {}),
            }
            for key in file.public_keys()
        ]  # fmt: skip
        content = json.dumps({"keys": entries, "removed": list(file.removed)}).encode()
        published = self._trust_dir / f"{service}.jwks"
        try:
            if published.exists() and published.read_bytes() == content:
                return
            self._trust_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_atomically(published, content)
        except OSError as error:
            raise StartError(f"public key of {service}: {published}: {error.strerror}") from None


class TrustedKeys:
    """Public keys of all services, by their ids."""

    def __init__(self, trust_dir: Path) -> None:
        self._folder = trust_dir
        self._keys: dict[str, TrustedKey] = {}
        self._read: dict[str, _Published] = {}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._removed: set[str] = set()
        self.changes = 0
        """Number of times that the keys were others."""

    def find(self, kid: str) -> TrustedKey | None:
        """The key of this id. One that is not known is looked for: a service may have made it just now."""
        key = self._keys.get(kid)
        if key is None:
            self.refresh()
            key = self._keys.get(kid)
        return key if key is not None and key.until > time.time() else None

    def take_removed(self) -> set[str]:
        """Ids of keys that were believed, and that their services have removed since the last call."""
        removed, self._removed = self._removed, set()
        return removed

    def refresh(self) -> None:
        """Read files that changed. What cannot be read at the moment stays as it was."""
        seen = self._scan()
        if seen == self._seen:
            return
        for name in seen:
            if seen[name] != self._seen.get(name) and (published := _read(self._folder / name)) is not None:
                self._read[name] = published
        self._read = {name: published for name, published in self._read.items() if name in seen}
        before = self._keys
        self._keys = {kid: key for published in self._read.values() for kid, key in published.keys.items()}
        self._seen = seen
        self.changes += 1
        for published in self._read.values():
            # A service removes no key of another.
            self._removed |= {kid for kid in published.removed if kid in before and before[kid].service == published.of}

    def _scan(self) -> dict[str, tuple[int, ...]]:
        try:
            files = sorted(self._folder.glob("*.jwks"))
            stats = {file.name: file.stat() for file in files if _NAME.fullmatch(file.stem)}
        except OSError:
            return self._seen
        return {name: (stat.st_mtime_ns, stat.st_ino, stat.st_size) for name, stat in stats.items()}


def _read(file: Path) -> _Published | None:
    """The keys of a file; None where it cannot be read."""
    try:
        document = json.loads(file.read_text())
        keys = {
            str(entry["kid"]): TrustedKey(
                file.stem,
                jwt.PyJWK({name: entry[name] for name in ("kty", "crv", "x", "alg")}).key,
                float(entry.get("exp", "inf")),
            )
            for entry in document["keys"]
            if entry["alg"] == "EdDSA"
        }
        return _Published(file.stem, keys, frozenset(map(str, document.get("removed", ()))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
        return None
