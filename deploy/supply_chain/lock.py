"""The lock files: packages with their versions and the hashes of what may be installed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"--hash=(\w+):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock."""

    name: str
    version: str
    marker: str
    """Condition of its installation (PEP 508); empty: everywhere."""
    hashes: tuple[str, ...]
    """SHA-256 of each file that may be installed."""


def read_lock(file: Path) -> list[Locked]:
    """The packages of a lock. Raises ValueError for one without an exact version, or without a hash."""
    return [_locked(file, line) for line in _logical_lines(file.read_text(encoding="utf-8"))]


def _logical_lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _locked(file: Path, line: str) -> Locked:
    stated, _, _ = line.partition(" --hash")
    try:
        requirement = Requirement(stated.strip())
    except InvalidRequirement:
        raise ValueError(f"{file.name}: not a package of a lock: {stated}") from None
    exact = [one.version for one in requirement.specifier if one.operator == "=="]
    hashes = tuple(value for kind, value in _HASH.findall(line) if kind == "sha256")
    if len(requirement.specifier) != 1 or not exact or not hashes:
        raise ValueError(f"{file.name}: {requirement.name} has no exact version with a hash")
    return Locked(canonicalize_name(requirement.name), exact[0], str(requirement.marker or ""), hashes)
