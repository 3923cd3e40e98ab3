"""The version of RedFire that is installed when a process starts: Python imports this where PYTHONPATH has its folder.

The file that INSTALLED_VERSION_FILE names has the version's folder. A process of services takes what is there when it
starts; all else takes what its parent did, as a process does that goes on while another version is installed beside it.
Each writes down which it is.
"""

import os
import sys
from pathlib import Path

if installed := os.environ.get("INSTALLED_VERSION_FILE"):
    if "serve" in sys.orig_argv or "INSTALLED_VERSION" not in os.environ:
        os.environ["INSTALLED_VERSION"] = Path(installed).read_text()
    version = Path(os.environ["INSTALLED_VERSION"])
    Path(f"{installed}-{os.getpid()}").write_text(str(version))
    sys.path[:0] = [str(version), str(version / "gen" / "python")]
