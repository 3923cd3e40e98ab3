"""Modules that an engine's process imports to start, which takes most of its time."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from services.kernel.runtime.importing import importing

CODE = """
import sys
from pathlib import Path
import services.commands.serve
from services.engine.vnpy import home
home.prepare(Path(sys.argv[1]))
import services.engine.api, services.engine.vnpy.engine, services.engine.vnpy.gateways
print(*sys.modules)
"""
NOT_NEEDED = {"pandas", "polars", "opentelemetry", "matplotlib", "plotly", "pyarrow"}
"""Packages that vnpy and our telemetry would take along, for what most never use."""


@pytest.mark.slow
def test_an_engine_starts_without_what_it_may_never_use(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    imported = set(done.stdout.split())
    assert not NOT_NEEDED & imported and "vnpy.trader.engine" in imported


def test_collection_goes_on_after_imports_whatever_they_raise() -> None:
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
