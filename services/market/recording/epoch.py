"""The epoch (one run of the engine's feed) that is recorded, and how far it is."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from redfire.engine.v1 import engine_pb2

Started = engine_pb2.StreamTicksResponse.Started


@dataclass(slots=True)
class Epoch:
    """The epoch that is recorded."""

    name: str = ""
    number: int = 0
    """Orders epochs in the archive: of two that have rows of the same time, the higher one counts."""
    first_sequence: int = 0
    position: int = 0
    recorded: int = 0
    """Its ticks that were recorded."""
    realtime: bool = True
    """Its ticks carry the present time: it is no replay."""

    def goes_on(self, started: Started) -> bool:
        """Return true when a stream that starts so is in this epoch."""
        return bool(started.epoch) and started.epoch == self.name

    def next(self, started: Started) -> "Epoch":
        """The epoch of a stream that starts so."""
        number = max(self.number + 1, started.first_sequence)
        return Epoch(started.epoch, number, started.first_sequence, started.position, realtime=started.realtime)

    def started(self) -> Started:
        """The message of a stream that starts here."""
        return Started(
            epoch=self.name, first_sequence=self.first_sequence, position=self.position, realtime=self.realtime
        )

    def dump(self) -> dict[str, Any]:
        """All of it in plain values."""
        return asdict(self)

    def copy(self) -> "Epoch":
        """The epoch as it is now."""
        return replace(self)
