"""Takes secrets out of documents: each becomes a file of the data folder, and a reference stays in its place."""

import re
from pathlib import Path
from typing import Any

from services.kernel.runtime.secret_files import FOLDER, SecretFiles, is_reference
from services.kernel.runtime.secret_rule import raw_secrets

_OTHER, _INDEX = re.compile(r"[^\w.-]+"), re.compile(r"\[(\d+)\]")


class FoundSecrets:
    """The secrets of what is imported, by the names of their files."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(self._values)

    def take(self, value: Any, key: str, name: str) -> Any:
        """The value, with a reference for every secret in it. `name` begins the names of its secrets."""
        return self._take(value, name, set(raw_secrets(key, value, name)))

    def _take(self, value: Any, name: str, secrets: set[str]) -> Any:
        if is_reference(value):
            return value
        if isinstance(value, dict):
            return {inner: self._take(item, f"{name}.{inner}", secrets) for inner, item in value.items()}
        if isinstance(value, list):
            return [self._take(item, f"{name}[{index}]", secrets) for index, item in enumerate(value)]
        if name not in secrets:
            return value
        file = self._file(name)
        self._values[file] = str(value)
        return {"secret": file}

    def changed(self, data_dir: Path) -> list[str]:
        """The names of those that the folder does not have, or has with another value. Raises StartError."""
        files = SecretFiles(data_dir / FOLDER)
        return [name for name in self.names if files.find(name) != self._values[name]]

    def write(self, data_dir: Path) -> list[str]:
        """Keep those that are new or other than before; their names. Raises StartError."""
        changed, files = self.changed(data_dir), SecretFiles(data_dir / FOLDER)
        for name in changed:
            files.write(name, self._values[name])
        return changed

    def _file(self, name: str) -> str:
        """A name that a file can have. What is left out of it is told apart by a number."""
        plain = _OTHER.sub("-", _INDEX.sub(r".\1", name.lower())).strip("-.")[:100] or "secret"
        name, number = plain, 1
        while name in self._values:
            number += 1
            name = f"{plain}-{number}"
        return name
