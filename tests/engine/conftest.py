import tempfile
from pathlib import Path

import pytest

from services.engine.vnpy import home as vnpy_home

# Before any test module imports vnpy: its folder must not be made in the home folder.
vnpy_home.prepare(Path(tempfile.mkdtemp(prefix="redfire-vnpy-")))


@pytest.fixture
def front():
    """A CTP front at tcp://front."""
    from tests.engine.ctp_front import CtpFront
    from tests.engine.ctp_gateway import FRONTS

    made = CtpFront()
    FRONTS["tcp://front"] = made
    yield made
    made.gate.set()
    made.answers.set()
    made.instruments_ready.set()
    del FRONTS["tcp://front"]


@pytest.fixture
def ctp_platform(tmp_path, monkeypatch):
    """A platform that trades at the front, and its trader."""
    from tests.engine.ctp_gateway import FRONTS
    from tests.engine.ctp_platform import CtpPlatform

    made = CtpPlatform(tmp_path, monkeypatch)
    yield made
    made.front.gate.set()
    del FRONTS["tcp://front"]
