"""A PostgreSQL server whose data folder is a disk of its own, which chaos fills."""

from tests.chaos.disk import DataDisk
from tests.machine import lacks
from tests.postgres import PostgresServer
from tests.running import until

SIZE_MB = 1024
LOG_MB = 128
"""The most that its log of changes takes before a checkpoint; by default that is more than the disk has."""
BACK_S = 120.0


class PostgresOnDisk(PostgresServer):
    """One server on a disk of its own where this process may mount one, else as any."""

    def __init__(self) -> None:
        self.disk: DataDisk | None = None
        super().__init__()

    def _make(self) -> None:
        self._settings["max_wal_size"] = f"{LOG_MB}MB"
        self.disk = DataDisk(self.folder / "data", SIZE_MB, self._user)
        super()._make()

    def fill(self) -> None:
        """Leave no byte of its disk free."""
        assert self.disk is not None
        self.disk.fill()

    def empty(self) -> None:
        """Give the room back, and start it again where it ended meanwhile, as its operator does."""
        assert self.disk is not None
        self.disk.empty()
        until(self._is_back, BACK_S, step_s=0.05)

    def _is_back(self) -> bool:
        if self.running.poll() is not None:
            self.start()
        return self.is_ready()

    def close(self) -> None:
        self.stop()
        if self.disk is not None:
            self.disk.close()
        super().close()


def server_on_disk() -> PostgresOnDisk:
    """A running server. Where PostgreSQL is not installed the test is skipped; under CI it fails."""
    try:
        return PostgresOnDisk()
    except FileNotFoundError as error:
        lacks(str(error))
