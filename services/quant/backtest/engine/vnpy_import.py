"""Importing vnpy for a backtest: it leaves no files, no log and no database connection behind."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def prepare_vnpy() -> None:
    """Import vnpy's CTA part; again: does nothing.

    vnpy decides about its folder while it is imported: the working folder's `.vntrader`, else one that it makes in
    the home folder. Where there is none in the working folder it gets a temporary one, and the working folder stays.
    """
    if "vnpy.trader.setting" in sys.modules and "vnpy_ctastrategy" in sys.modules:
        return
    before, path_before = Path.cwd(), list(sys.path)
    if not Path(".vntrader").exists() and "vnpy.trader.utility" not in sys.modules:
        folder = tempfile.mkdtemp(prefix="redfire-vnpy-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        Path(folder, ".vntrader").mkdir()
        os.chdir(folder)
    try:
        from vnpy.trader.setting import SETTINGS

        SETTINGS["log.file"] = SETTINGS["log.console"] = False
        import vnpy_ctastrategy  # noqa: F401
    finally:
        if Path.cwd() != before:
            os.chdir(before)
            sys.path[:] = path_before
