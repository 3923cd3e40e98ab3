"""The duty to record, which one replica at a time has by a lease: bars and history on a feed of their own.

Who has it reads the engine's ticks a second time, from where the log ends: its clients' streams go on beside, as they
are, and what came before it had the duty is recorded all the same. It writes with the fence of its lease's epoch.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.data.folder_fence import FolderFence
from services.kernel.shards.leases import Leases
from services.market.recording.unarchived import TickPosition
from services.market.replicas.following_role import FollowingRole
from services.market.replicas.recording_role import RecordingRole
from services.market.upstream import Upstream
from services.quant.bars import Interval

_log = logging.getLogger(__name__)
LEASE = "recorder"
IsHeld = Callable[[], bool]


class RecordingDuty:
    """Records whenever this replica holds the lease; answers other replicas as the one that records, or refuses."""

    def __init__(
        self,
        folder: Path,
        leases: Leases,
        follower: FollowingRole,
        make: Callable[[FolderFence, IsHeld], tuple[RecordingRole, Upstream]],
    ) -> None:
        """`folder` is that of history; `make` makes what records, and what reads the engine for it."""
        self._folder = folder
        self._leases = leases
        self._follower = follower
        self._make = make
        self._role: RecordingRole | None = None
        self._is_resigned = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def failure(self) -> str:
        """The reason for which this replica does not record as it should; empty when it does, or need not."""
        return self._role.failure if self._role is not None else ""

    async def run(self) -> None:
        """Record whenever the lease is held, until cancelled."""
        if self._is_resigned.is_set():
            await asyncio.Event().wait()
        await self._leases.while_held(LEASE, self._record)

    async def resign(self) -> None:
        """Leave the duty to another replica, which archives what is in the log."""
        self._is_resigned.set()
        await self._is_idle.wait()

    async def _record(self) -> None:
        epoch = self._leases.epoch(LEASE)
        if epoch is None or self._is_resigned.is_set():
            return

        def is_held() -> bool:
            return self._leases.epoch(LEASE) == epoch

        self._is_idle.clear()
        role, upstream = self._make(FolderFence(self._folder, epoch), is_held)
        try:
            await role.restore()
            self._role = role
            _log.info("this replica records from now on, in epoch %d of the lease", epoch)
            await self._run(role, upstream)
        finally:
            is_restored, self._role = self._role is not None, None
            try:
                await role.drain()
                # Whoever goes on waits for this: to archive takes seconds, to read the log again does not.
                await (role.close(archives=False) if is_restored and is_held() else role.abandon())
            finally:
                self._is_idle.set()

    async def _run(self, role: RecordingRole, upstream: Upstream) -> None:
        async with asyncio.TaskGroup() as group:
            work = (role.run, upstream.run, upstream.acknowledge, upstream.refresh)
            tasks = [group.create_task(one()) for one in work]
            await self._is_resigned.wait()
            for task in tasks:
                task.cancel()

    # What other replicas ask -------------------------------------------------------------------------------------

    def watch_bars(self, heartbeat_s: float) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """Yield all bars that close from now on. Raises: TooSlow, NotTheRecorder."""
        return self._recorded.watch_bars(heartbeat_s)

    def read_log(self, max_bytes: int) -> AsyncGenerator[pb.ReadLogResponse, None]:
        """Yield the write-ahead log. Raises: NotTheRecorder."""
        return self._recorded.read_log(max_bytes)

    async def read_ticks(
        self, symbol: str, start_ns: int, end_ns: int, after: TickPosition | None, limit: int
    ) -> pb.ReadUnarchivedTicksResponse:
        """The runs of ticks that are not archived. Raises: NotTheRecorder."""
        return await self._recorded.read_ticks(symbol, start_ns, end_ns, after, limit)

    async def read_bars(
        self, symbol: str, interval: Interval, start_ns: int, end_ns: int
    ) -> pb.ReadUnarchivedBarsResponse:
        """The bars that are not archived. Raises: NotTheRecorder."""
        return await self._recorded.read_bars(symbol, interval, start_ns, end_ns)

    @property
    def _recorded(self) -> RecordingRole | FollowingRole:
        return self._role or self._follower


class NoSubscriptions:
    """Subscriptions of the feed that records: none, since each replica asks for all it wants."""

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn nothing."""

    async def connect(self, *, on_demand: bool, known: Iterable[str] = ()) -> None:
        """Ask for nothing."""

    def disconnect(self) -> None:
        """Nothing was asked for."""

    async def refresh(self) -> None:
        """Ask for nothing."""
