"""Secrets in files of a private folder, one each, and references to them, `{"secret": "NAME"}`, in settings.

Where there is no such file the variable `REDFIRE_SECRET__NAME` counts, in capitals and with `_` for all other signs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import StartError

FOLDER = "secrets"
"""Its name in the data folder."""
VARIABLES = "REDFIRE_SECRET__"
"""The beginning of the environment's variables that hold secrets."""
SECRET_NAME = re.compile(r"\w[\w.-]{0,127}")


def is_reference(value: Any) -> bool:
    """Test for `{"secret": "name"}`."""
    return isinstance(value, dict) and value.keys() == {"secret"} and isinstance(value["secret"], str)


def variable_of(name: str) -> str:
    """The variable that may hold a secret: `ctp-password` → `REDFIRE_SECRET__CTP_PASSWORD`."""
    return VARIABLES + re.sub(r"\W", "_", name).upper()


class SecretFiles:
    """Reads and writes the secrets of one folder, which may be a mounted volume of the kind Kubernetes has."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        """`environ` has the secrets that are in no file; by default there are none."""
        self._folder = folder
        self._environ = environ or {}

    @property
    def folder(self) -> Path:
        """The folder that they are in."""
        return self._folder

    def find(self, name: str) -> str | None:
        """A secret's value without the line end of its file; None where there is neither. Raises StartError."""
        try:
            return self._file(name).read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            return self._environ.get(variable_of(name))
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
                name = value["secret"]
                raise StartError(f"secret {name}: there is no {self._file(name)} and no variable {variable_of(name)}")
            return secret
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def _file(self, name: str) -> Path:
        if not SECRET_NAME.fullmatch(name):
            raise StartError(f"{name!r} is not a secret's name: letters, digits, '_', '.' and '-'")
        return self._folder / name
