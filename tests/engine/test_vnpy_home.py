"""vnpy's folder: where it is, and that a start brings it back."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_start_in_the_same_process_brings_a_deleted_folder_back(tmp_path: Path) -> None:
    # In a process of its own: this one may have it in ~/.vntrader, by who imported vnpy first.
    code = f"""
import shutil
from pathlib import Path
from services.engine.vnpy import home as vnpy_home
folder = Path({str(tmp_path)!r})
vnpy_home.prepare(folder)
from vnpy.trader.utility import TEMP_DIR, save_json
assert TEMP_DIR == folder / ".vntrader", TEMP_DIR
shutil.rmtree(TEMP_DIR)
vnpy_home.prepare(folder)
save_json("here.json", {{}})
"""
    environment = {"HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], timeout=60, env=environment, check=True)
    assert (tmp_path / ".vntrader/here.json").read_text() == "{}"


@pytest.mark.slow
def test_a_new_process_makes_its_folder_again_and_leaves_the_home_folder_alone(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data" / "engine"
    home.mkdir()
    code = f"""
from pathlib import Path
from services.engine.vnpy import home as vnpy_home
vnpy_home.prepare(Path({str(data)!r}))
from vnpy.trader.utility import TEMP_DIR
print(TEMP_DIR)
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": str(home)},
            check=True,
        )
        assert done.stdout.strip() == str(data / ".vntrader")
        shutil.rmtree(data / ".vntrader")
    assert not list(home.iterdir())
