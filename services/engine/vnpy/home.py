"""vnpy's folder: importing vnpy makes files and changes the process; this keeps both where they belong."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def prepare(folder: Path) -> None:
    """Import vnpy so that its files are in `folder/.vntrader`, the working folder stays, and nothing is printed.

    vnpy decides about its folder while it is imported: the working folder's `.vntrader`, else one in the home folder.
    """
    home = folder / ".vntrader"
    home.mkdir(parents=True, exist_ok=True)
    loaded = sys.modules.get("vnpy.trader.utility")
    if loaded is not None:
        _import_quietly()  # another part of this process was first: its folder is vnpy's
        Path(loaded.TEMP_DIR).mkdir(parents=True, exist_ok=True)  # vnpy looks for it once and writes into it always
        return
    before = Path.cwd()
    path_before = list(sys.path)
    os.chdir(folder)
    try:
        with _without("pandas", "polars"):
            _import_quietly()
    finally:
        os.chdir(before)
        sys.path[:] = path_before


def _import_quietly() -> None:
    settings = importlib.import_module("vnpy.trader.setting").SETTINGS
    # Its log file and console would come beside ours; the bridge passes its lines on to our log.
    settings["log.file"] = settings["log.console"] = settings["log.active"] = False
    importlib.import_module("vnpy.trader.engine")


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Hide modules from imports. TA-Lib, which vnpy imports, takes pandas along where it is: 70 MB for nothing here."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
