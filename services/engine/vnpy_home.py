"""vnpy's folder: importing vnpy makes files and changes the process; this keeps both where they belong."""

import importlib
import os
import sys
from pathlib import Path


def prepare(folder: Path) -> None:
    """Import vnpy so that its files are in `folder/.vntrader`, the working folder stays, and nothing is printed.

    vnpy decides about its folder while it is imported: the working folder's `.vntrader`, else one in the home folder.
    """
    home = folder / ".vntrader"
    home.mkdir(parents=True, exist_ok=True)
    loaded = sys.modules.get("vnpy.trader.utility")
    if loaded is None:
        before = Path.cwd()
        path_before = list(sys.path)
        os.chdir(folder)
        try:
            settings = importlib.import_module("vnpy.trader.setting").SETTINGS
            # Its log file and console would come beside ours; the bridge passes its lines on to our log.
            settings["log.file"] = settings["log.console"] = settings["log.active"] = False
            importlib.import_module("vnpy.trader.engine")
        finally:
            os.chdir(before)
            sys.path[:] = path_before
        return
    # Another part of this process was first: its folder is vnpy's.
    settings = importlib.import_module("vnpy.trader.setting").SETTINGS
    settings["log.file"] = settings["log.console"] = settings["log.active"] = False
    importlib.import_module("vnpy.trader.engine")
