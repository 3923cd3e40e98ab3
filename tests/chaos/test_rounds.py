"""Ten rounds and more of faults under clients that trade; `make chaos ROUNDS=50` plays as many as one likes."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.rounds import play, table
from tests.chaos.topology import Embedded, EmbeddedPostgres, Replicated

SEED = 20261129
OF_REPLICAS = {
    *(f"kill -9 of one of {service}" for service in ("trading", "strategy", "market", "user")),
    *(f"kill -9 of {part}" for part in ("engine", "a worker", "PostgreSQL", "RabbitMQ")),
    *("one of trading stands still", "PostgreSQL away", "Redis away", "Redis emptied", "RabbitMQ cut off"),
    *("trading–engine cut off", "disk full under market", "rolling restart"),
}
"""Faults of two replicas that there is time for here."""


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("topology", [Embedded, EmbeddedPostgres, Replicated])
def test_after_every_fault_logs_books_memory_and_venue_agree(topology, tmp_path):
    faults = [fault for fault in FAULTS[topology] if topology is not Replicated or fault.name in OF_REPLICAS]
    here = topology(tmp_path)
    played = play(here, faults, len(faults), SEED)
    print(table(here, SEED, played))
    assert [(one.fault, one.problems) for one in played if one.problems] == []
    assert {one.fault for one in played} == (OF_REPLICAS if topology is Replicated else {one.name for one in faults})
    assert all(one.counts["acknowledged"] for one in played)
