import tempfile
from pathlib import Path

from services.engine import vnpy_home

# Before any test module imports vnpy: its folder must not be made in the home folder.
vnpy_home.prepare(Path(tempfile.mkdtemp(prefix="redfire-vnpy-")))
