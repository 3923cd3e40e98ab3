"""`python -m deploy.supply_chain.advisories FILE`: compares the locks with known vulnerabilities, without a network.

FILE is a JSON list of advisories in the OSV format (https://ossf.github.io/osv-schema/), or a folder of such files and
of files with one advisory each, as a database of them is exported. Exit code 1 where a locked version is affected.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from deploy.supply_chain.lock import Locked, read_lock

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")


@dataclass(frozen=True, slots=True)
class Finding:
    """A locked package that an advisory is about."""

    lock: str
    package: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    summary: str
    fixed: tuple[str, ...]


def read_advisories(path: Path) -> Iterator[Mapping[str, Any]]:
    """The advisories of a file or folder. Raises ValueError for what is none."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no advisories in it")
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        for advisory in document if isinstance(document, list) else [document]:
            if not isinstance(advisory, dict) or "id" not in advisory or "affected" not in advisory:
                raise ValueError(f"{file}: not an advisory in the OSV format")
            yield advisory


def findings(locks: Mapping[str, Sequence[Locked]], advisories: Iterator[Mapping[str, Any]]) -> list[Finding]:
    """The locked packages that advisories which were not withdrawn are about, by lock and package."""
    by_name: dict[str, list[tuple[str, Locked]]] = {}
    for lock, packages in locks.items():
        for package in packages:
            by_name.setdefault(package.name, []).append((lock, package))
    result = []
    for advisory in advisories:
        if advisory.get("withdrawn"):
            continue
        for affected in advisory["affected"]:
            stated = affected.get("package", {})
            if stated.get("ecosystem", "").partition(":")[0] != "PyPI":
                continue
            for lock, package in by_name.get(canonicalize_name(stated.get("name", "")), ()):
                if is_affected(package.version, affected):
                    result.append(_finding(lock, package, advisory, affected))
    return sorted(set(result), key=lambda one: (one.lock, one.package, one.advisory))


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Test a version against an `affected` object: its list of versions, or one of its ranges (OSV, "Evaluation")."""
    present = Version(version)
    if any(_same(present, one) for one in affected.get("versions", ())):
        return True
    ranges = (one for one in affected.get("ranges", ()) if one.get("type") in ("ECOSYSTEM", "SEMVER"))
    return any(_is_in_range(present, one.get("events", ())) for one in ranges)


def _is_in_range(present: Version, events: Sequence[Mapping[str, str]]) -> bool:
    ordered = sorted(events, key=lambda event: _at(next(iter(event.values()))))
    inside = False
    for event in ordered:
        if "introduced" in event and _at(event["introduced"]) <= present:
            inside = True
        ends = ("fixed" in event and _at(event["fixed"]) <= present) or (
            "last_affected" in event and _at(event["last_affected"]) < present
        )
        if ends:
            inside = False
    return inside


def _at(version: str) -> Version:
    return Version("0.dev0") if version == "0" else Version(version)


def _same(present: Version, other: str) -> bool:
    try:
        return Version(other) == present
    except InvalidVersion:
        return False


def _finding(lock: str, package: Locked, advisory: Mapping[str, Any], affected: Mapping[str, Any]) -> Finding:
    fixed = [
        event["fixed"] for one in affected.get("ranges", ()) for event in one.get("events", ()) if "fixed" in event
    ]
    summary = " ".join((advisory.get("summary") or advisory.get("details") or "").split())[:120]
    aliases = tuple(advisory.get("aliases", ()))
    return Finding(lock, package.name, package.version, advisory["id"], aliases, summary, tuple(fixed))


def main() -> None:
    """The command line. Exit codes: 0 nothing is affected, 1 something is, 2 the file cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("path", type=Path, help="a JSON list of OSV advisories, or a folder of them")
    parser.add_argument("--lock", type=Path, action="append", help="the locks to compare; by default both")
    parser.add_argument("--accept", action="append", default=[], metavar="ID", help="an advisory that is no concern")
    chosen = parser.parse_args()
    try:
        locks = {file.name: read_lock(file) for file in chosen.lock or LOCKS}
        found = findings(locks, read_advisories(chosen.path))
    except (OSError, ValueError) as error:
        sys.exit(_fail(str(error)))
    open_ = [one for one in found if not {one.advisory, *one.aliases} & set(chosen.accept)]
    for one in open_:
        fixed = f"; fixed in {', '.join(one.fixed)}" if one.fixed else ""
        names = " ".join((one.advisory, *one.aliases))
        sys.stdout.write(f"{one.lock}: {one.package} {one.version}: {names}: {one.summary}{fixed}\n")
    sys.stdout.write(f"{sum(len(one) for one in locks.values())} locked packages, {len(open_)} affected\n")
    sys.exit(1 if open_ else 0)


def _fail(reason: str) -> int:
    sys.stderr.write(f"advisories: {reason}\n")
    return 2


if __name__ == "__main__":
    main()
