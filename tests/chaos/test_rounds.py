"""Ten rounds and more of faults under clients that trade; `make chaos ROUNDS=50` plays as many as one likes."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.rounds import play, table
from tests.chaos.topology import Embedded, EmbeddedPostgres

SEED = 20261129


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("topology", [Embedded, EmbeddedPostgres])
def test_after_every_fault_logs_books_memory_and_venue_agree(topology, tmp_path):
    here = topology(tmp_path)
    played = play(here, len(FAULTS[topology]), SEED)
    print(table(here, SEED, played))
    assert [(one.fault, one.problems) for one in played if one.problems] == []
    assert {one.fault for one in played} == {fault.name for fault in FAULTS[topology]}
    assert all(one.counts["acknowledged"] for one in played)
