"""Building the compiled modules: without a compiler, twice, at once, and after the sources were changed."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.quant import compile as building
from tests.quant.backtest.builds import BUILDS, MUST_BE_COMPILED

SCRIPT = [sys.executable, "-m", "services.quant.compile"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a build needs, with nothing built."""
    for target in building.TARGETS:
        folder = tmp_path.joinpath(*target.package.split("."))
        folder.mkdir(parents=True)
        for package in (folder, *folder.parents):
            if package.is_relative_to(tmp_path) and package != tmp_path:
                (package / "__init__.py").touch()
        for names in target.sources.values():
            for name in names:
                shutil.copy(target.folder / name, folder / name)
    shutil.copy(building.__file__, tmp_path / "services/quant/compile.py")
    return tmp_path


def built(tree: Path) -> set[str]:
    return {
        path.name
        for target in building.TARGETS
        for path in tree.joinpath(*target.package.split(".")).iterdir()
        if path.suffix in (".so", ".stamp")
    }


def run(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        SCRIPT, cwd=tree, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200
    )


def test_without_a_compiler_one_line_says_so_and_nothing_fails(tree: Path):
    ran = run(tree, PATH="")
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert len(lines) == len(building.TARGETS)
    assert all("No C compiler" in line and "pure Python" in line for line in lines)
    assert not ran.stderr
    assert not built(tree)


@pytest.mark.parametrize("target", building.TARGETS, ids=lambda target: target.name)
def test_a_stamp_of_other_sources_is_no_build(tree: Path, target: building.Target):
    copy = replace(target, root=tree)
    assert not building.is_built(copy)
    copy.stamp.write_text(copy.fingerprint())
    assert building.is_built(copy)
    source = copy.folder / next(iter(copy.sources.values()))[0]
    source.write_text(source.read_text() + "# changed\n")
    assert not building.is_built(copy)


@pytest.mark.skipif(not building.compiler(), reason="there is no C compiler")
@pytest.mark.slow
def test_two_builds_at_once_and_a_third_leave_one_that_is_whole(tree: Path):
    both = [subprocess.Popen(SCRIPT, cwd=tree, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=280)[0] for process in both]
    # Each is built by one of the two, whichever came first.
    lines = sorted(line for output in outputs for line in output.splitlines())
    assert lines == ["The compiled backtest core is built.", "The compiled tick codec is built."]
    before = built(tree)
    assert len(before) == 6  # modules, and the stamp that both call the same
    assert run(tree).stdout == ""
    assert built(tree) == before


@pytest.mark.skipif(not MUST_BE_COMPILED, reason="only where CI says so")
def test_in_ci_the_compiled_builds_are_among_those_that_are_tested():
    assert BUILDS == ("pure", "compiled")
    assert all(building.is_built(target) for target in building.TARGETS)
