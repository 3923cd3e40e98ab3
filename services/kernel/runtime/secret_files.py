"""Secrets in files of a private folder, one each, and references to them, `{"secret": "NAME"}`, in settings."""

import re
from pathlib import Path
from typing import Any

from services.kernel.data.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import StartError

FOLDER = "secrets"
"""Its name in the data folder."""
_NAME = re.compile(r"\w[\w.-]{0,127}")


def is_reference(value: Any) -> bool:
    """Test for `{"secret": "name"}`."""
    return isinstance(value, dict) and value.keys() == {"secret"} and isinstance(value["secret"], str)


class SecretFiles:
    """Reads and writes the secrets of one folder, which may be a mounted volume of the kind Kubernetes has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> str | None:
        """A secret's value without the line end of its file; None where there is no such file. Raises StartError."""
        try:
            return self._file(name).read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise StartError(f"secret {name}: {self._file(name)}: {reason}") from None

    def write(self, name: str, value: str) -> None:
        """Keep a secret where only its owner reads it. Raises StartError."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._file(name), value.encode(), mode=PRIVATE)
        except OSError as error:
            raise StartError(f"secret {name}: {self._file(name)}: {error.strerror}") from None

    def resolve(self, value: Any) -> Any:
        """The value with every reference in it replaced by its secret. Raises StartError that names a missing one."""
        if is_reference(value):
            secret = self.find(value["secret"])
            if secret is None:
                raise StartError(f"secret {value['secret']}: there is no {self._file(value['secret'])}")
            return secret
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StartError(f"{name!r} is not a secret's name: letters, digits, '_', '.' and '-'")
        return self._folder / name
