"""The locks, the bill of materials, and the comparison with advisories in a file."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.supply_chain.advisories import is_affected
from deploy.supply_chain.lock import read_lock

ROOT = Path(__file__).parents[2]
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements):
    return {canonicalize_name(Requirement(one).name) for one in requirements}


@pytest.mark.parametrize("file", [RUN, DEV], ids=["run", "dev"])
def test_every_package_of_a_lock_has_an_exact_version_and_hashes(file):
    packages = read_lock(file)
    assert len(packages) > 50
    assert all(re.fullmatch("[0-9a-f]{64}", hash_) for package in packages for hash_ in package.hashes)


def test_the_runtime_lock_has_what_runs_and_nothing_that_only_tests():
    locked = {package.name for package in read_lock(RUN)}
    assert names(PROJECT["project"]["dependencies"]) <= locked
    only_tests = names(PROJECT["dependency-groups"]["dev"]) - names(PROJECT["project"]["dependencies"])
    assert {"pytest", "mypy", "moto"} <= only_tests
    assert not only_tests & locked - {"sniffio"}


def test_a_lock_without_a_hash_is_refused(tmp_path):
    (tmp_path / "bad.lock").write_text("click==8.1.7\n")
    with pytest.raises(ValueError, match="click has no exact version with a hash"):
        read_lock(tmp_path / "bad.lock")


def test_whatever_the_makefile_installs_from_a_registry_is_checked_by_its_hash():
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for line in makefile.splitlines() if not line.startswith("#")]
    installs = [line for line in lines if re.search(r"pip install|\$\(INSTALL\)", line)]
    assert len(installs) == 5
    for line in installs:
        hashed = "--require-hashes" in line or "$(INSTALL)" in line
        assert hashed or line.endswith("--no-deps --no-build-isolation -e .")


def run(module, *arguments):
    command = [sys.executable, "-m", f"deploy.supply_chain.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_bill_of_materials_names_every_package_once_and_what_needs_it(tmp_path):
    for name in "a.json", "b.json":
        assert run("sbom", "--output", tmp_path / name).returncode == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    bill = json.loads((tmp_path / "a.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    packages = read_lock(RUN)
    assert [one["purl"] for one in bill["components"]] == [f"pkg:pypi/{p.name}@{p.version}" for p in packages]
    refs = {one["bom-ref"] for one in bill["components"]}
    for dependency in bill["dependencies"]:
        assert set(dependency["dependsOn"]) <= refs
    needs = {one["ref"].split("@")[0]: {n.split("@")[0] for n in one["dependsOn"]} for one in bill["dependencies"]}
    assert "pkg:pypi/grpcio" in needs["pkg:generic/redfire"]
    assert "pkg:pypi/protobuf" in needs["pkg:pypi/grpcio-status"]
    licensed = [one for one in bill["components"] if one.get("licenses")]
    assert len(licensed) > len(packages) / 2


def advisory(name, ranges=(), versions=(), **more):
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "ranges": list(ranges), "versions": list(versions)}
    return {"id": f"TEST-{name}", "summary": "too much", "affected": [affected], **more}


def ecosystem(*events):
    return {"type": "ECOSYSTEM", "events": [dict([event]) for event in events]}


def test_a_locked_version_that_an_advisory_names_fails_the_job(tmp_path):
    version = next(package.version for package in read_lock(RUN) if package.name == "grpcio")
    file = tmp_path / "advisories.json"
    file.write_text(
        json.dumps(
            [
                advisory("GrpcIO", [ecosystem(("introduced", "0"), ("fixed", "9999"))], aliases=["CVE-2026-1"]),
                advisory("aiohttp", [ecosystem(("introduced", "0"), ("fixed", "1.0"))]),
                advisory("click", [ecosystem(("introduced", "0"))], withdrawn="2026-01-01T00:00:00Z"),
                advisory("not-here", [ecosystem(("introduced", "0"))]),
            ]
        )
    )
    job = run("advisories", file)
    assert job.returncode == 1
    assert f"requirements.lock: grpcio {version}: TEST-GrpcIO CVE-2026-1: too much; fixed in 9999" in job.stdout
    assert "aiohttp" not in job.stdout and "click" not in job.stdout
    assert run("advisories", file, "--accept", "CVE-2026-1").returncode == 0


def test_a_folder_of_single_advisories_is_read_too_and_what_is_none_is_refused(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(advisory("h2", [ecosystem(("introduced", "0"), ("fixed", "0.1"))])))
    assert run("advisories", tmp_path).returncode == 0
    (tmp_path / "two.json").write_text('{"vulnerabilities": []}')
    assert run("advisories", tmp_path).returncode == 2
    assert run("advisories", tmp_path / "absent.json").returncode == 2


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("1.9", False),
        ("2.0", True),
        ("2.4.9", True),
        ("2.5", False),
        ("3.0rc1", False),
        ("3.0", True),
        ("3.1", True),
        ("3.2", False),
    ],
)
def test_ranges_have_a_begin_and_an_end(version, affected):
    events = ("introduced", "2.0"), ("fixed", "2.5"), ("introduced", "3.0"), ("last_affected", "3.1")
    assert is_affected(version, {"ranges": [ecosystem(*events)]}) is affected


def test_versions_are_compared_as_versions():
    assert is_affected("1.0", {"versions": ["1.0.0"]})
    assert not is_affected("1.0", {"versions": ["1.0.1", "what?"]})
