"""Building the compiled core: without a compiler, twice, at once, and after the sources were changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.quant.backtest.engine import compile as building
from tests.quant.backtest.builds import BUILDS, MUST_BE_COMPILED

ROOT = Path(building.__file__).parents[4]
SCRIPT = [sys.executable, "-m", "services.quant.backtest.engine.compile"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a build needs, with nothing built."""
    folder = tmp_path / "services/quant/backtest/engine"
    folder.mkdir(parents=True)
    for package in (folder, *folder.parents[:3]):
        (package / "__init__.py").touch()
    for names in (("compile.py",), *building.SOURCES.values()):
        for name in names:
            shutil.copy(building.HERE / name, folder / name)
    return tmp_path


def built(tree: Path) -> set[str]:
    return {
        path.name for path in (tree / "services/quant/backtest/engine").iterdir() if path.suffix in (".so", ".stamp")
    }


def run(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        SCRIPT, cwd=tree, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200
    )


def test_without_a_compiler_one_line_says_so_and_nothing_fails(tree: Path):
    ran = run(tree, PATH="")
    assert ran.returncode == 0
    assert ran.stdout.count("\n") == 1
    assert "No C compiler" in ran.stdout
    assert "pure Python" in ran.stdout
    assert not ran.stderr
    assert not built(tree)


def test_a_stamp_of_other_sources_is_no_build(tree: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tree / "services/quant/backtest/engine"
    monkeypatch.setattr(building, "HERE", folder)
    monkeypatch.setattr(building, "STAMP", folder / building.STAMP.name)
    assert not building.is_built()
    building.STAMP.write_text(building.fingerprint())
    assert building.is_built()
    with (folder / "core.py").open("a") as source:
        source.write("# changed\n")
    assert not building.is_built()


@pytest.mark.skipif(not building.compiler(), reason="there is no C compiler")
@pytest.mark.slow
def test_two_builds_at_once_and_a_third_leave_one_that_is_whole(tree: Path):
    both = [subprocess.Popen(SCRIPT, cwd=tree, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=280)[0] for process in both]
    assert sorted(outputs) == ["", "The compiled backtest core is built.\n"]
    before = built(tree)
    assert len(before) == 4
    assert run(tree).stdout == ""
    assert built(tree) == before


@pytest.mark.skipif(not MUST_BE_COMPILED, reason="only where CI says so")
def test_in_ci_the_compiled_build_is_among_those_that_are_tested():
    assert BUILDS == ("pure", "compiled")
