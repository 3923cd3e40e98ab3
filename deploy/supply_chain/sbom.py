"""`python -m deploy.supply_chain.sbom`: the bill of materials of the runtime lock, in CycloneDX 1.6 (JSON).

The same lock gives the same bytes: it has no time of its making. Licences are those that the installed packages state.
"""

import argparse
import json
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.supply_chain.lock import Locked, read_lock
from services.kernel.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = f"pkg:generic/redfire@{VERSION}"


def bill_of_materials(packages: list[Locked]) -> dict[str, Any]:
    """The document."""
    # Some are there in two versions, for two versions of Python.
    known: dict[str, list[str]] = {}
    for package in packages:
        known.setdefault(package.name, []).append(_purl(package))

    def needed(name: str) -> list[str]:
        return sorted(purl for one in _needs(name) for purl in known.get(one, ()))

    content = "\n".join(f"{one.name}=={one.version} {' '.join(one.hashes)}" for one in packages)
    application = {"type": "application", "bom-ref": APPLICATION, "name": "redfire", "version": VERSION}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": application},
        "components": [_component(package) for package in packages],
        "dependencies": [
            {"ref": APPLICATION, "dependsOn": needed("redfire")},
            *({"ref": _purl(package), "dependsOn": needed(package.name)} for package in packages),
        ],
    }


def _component(package: Locked) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(package),
        "name": package.name,
        "version": package.version,
        "purl": _purl(package),
        # A hash for each wheel, of which one is installed.
        "externalReferences": [
            {"type": "distribution", "url": _purl(package), "hashes": [{"alg": "SHA-256", "content": content}]}
            for content in package.hashes
        ],
    }
    if package.marker:
        component["properties"] = [{"name": "redfire:marker", "value": package.marker}]
    if (about := _metadata(package)) is not None:
        if "Summary" in about:
            component["description"] = about["Summary"]
        if licence := _licence(about):
            component["licenses"] = [licence]
    return component


def _licence(about: PackageMetadata) -> dict[str, Any] | None:
    if "License-Expression" in about:
        return {"expression": about["License-Expression"]}
    classifiers = about.get_all("Classifier") or ()
    classified = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    text = str(about["License"]) if "License" in about else ""
    name = ", ".join(classified) or (text if len(text) < 100 and "\n" not in text else "")
    return {"license": {"name": name}} if name else None


def _metadata(package: Locked) -> PackageMetadata | None:
    try:
        about = metadata(package.name)
    except PackageNotFoundError:
        return None  # of another platform
    return about if about["Version"] == package.version else None


def _needs(name: str) -> set[str]:
    try:
        stated = [Requirement(one) for one in requires(name) or ()]
    except PackageNotFoundError:
        return set()
    return {canonicalize_name(one.name) for one in stated if one.marker is None or one.marker.evaluate({"extra": ""})}


def _purl(package: Locked) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock", help="the lock to describe")
    parser.add_argument("--output", type=Path, help="the file to write; by default standard output")
    chosen = parser.parse_args()
    text = json.dumps(bill_of_materials(read_lock(chosen.lock)), indent=2, ensure_ascii=False) + "\n"
    if chosen.output is None:
        sys.stdout.write(text)
    else:
        chosen.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
