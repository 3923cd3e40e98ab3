"""Assignments of strategies to workers, and the streams that carry them.

Workers come in groups of one live process each; strategies belong to groups, so that a worker that died is replaced
by another that gets the same strategies. All strategies of a group have the same owner: what runs in one process can
read each other's memory.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from redfire.reasons import Reason

from services.kernel.errors import Denied, FailedPrecondition, NotFound, RedFireError, Unauthenticated
from services.kernel.identifiers import new_id
from services.strategy.platform_client import PlatformClient
from services.strategy.strategy import Strategy

HEARTBEAT_S = 5.0
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """Run a strategy. `resume`: with the variables of before."""

    strategy: Strategy
    access_token: str
    resume: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a strategy."""

    strategy_id: str


@dataclass(frozen=True, slots=True)
class Token:
    """A new token for a strategy's owner."""

    strategy_id: str
    access_token: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat; the first one follows all assignments that there were."""


Assignment = Start | Stop | Token | Heartbeat | None


@dataclass(slots=True)
class _Assigned:
    strategy: Strategy
    group: str
    stopping: bool = False
    renew_at: float = 0.0


class Assignments:
    """Strategies by worker group; `None` in a worker's queue ends its stream."""

    def __init__(self, platform: PlatformClient) -> None:
        self._platform = platform
        self._assigned: dict[str, _Assigned] = {}
        self._groups: dict[str, str] = {}
        self._queues: dict[str, asyncio.Queue[Assignment]] = {}
        self._denied: list[tuple[str, str]] = []

    # For the supervisor.

    def groups(self) -> dict[str, list[str]]:
        """The groups that have strategies, with these."""
        members: dict[str, list[str]] = {}
        for strategy_id, assigned in self._assigned.items():
            members.setdefault(assigned.group, []).append(strategy_id)
        return members

    def owner_of(self, group: str) -> str:
        """The user whose strategies a group has; empty when it has none."""
        members = (assigned for assigned in self._assigned.values() if assigned.group == group)
        first = next(members, None)
        return "" if first is None else first.strategy.user_id

    def new_worker(self, group: str) -> str:
        """The id of a group's new worker; an older one of the group is refused from now on."""
        worker_id = new_id()
        for old in [known for known, of in self._groups.items() if of == group]:
            self.end_worker(old)
        self._groups[worker_id] = group
        return worker_id

    def end_worker(self, worker_id: str) -> None:
        """End a worker's stream and forget it."""
        self._groups.pop(worker_id, None)
        if queue := self._queues.pop(worker_id, None):
            queue.put_nowait(None)

    def release(self, worker_id: str) -> None:
        """End a worker's stream; it may still report how its strategies ended."""
        if queue := self._queues.pop(worker_id, None):
            queue.put_nowait(None)

    def split(self, strategy_ids: Iterable[str]) -> None:
        """Move half of them to a group of their own: one of them kills workers, and it is not known which."""
        moved = sorted(strategy_ids)
        group = new_id()
        for strategy_id in moved[: len(moved) // 2]:
            if assigned := self._assigned.get(strategy_id):
                assigned.group = group

    # For the service.

    def assign(self, strategy: Strategy) -> None:
        """Have a strategy run; sent to its worker at once when there is one."""
        assigned = self._assigned[strategy.strategy_id] = _Assigned(strategy, strategy.user_id)
        if queue := self._queue_of(assigned.group):
            queue.put_nowait(Start(strategy, "", strategy.ran))

    def update(self, strategy: Strategy) -> None:
        """Update the strategy that a new worker of its group would start."""
        if assigned := self._assigned.get(strategy.strategy_id):
            assigned.strategy = strategy

    def stop(self, strategy_id: str) -> None:
        """Ask its worker to stop it."""
        if assigned := self._assigned.get(strategy_id):
            assigned.stopping = True
            if queue := self._queue_of(assigned.group):
                queue.put_nowait(Stop(strategy_id))

    def group_of(self, strategy_id: str) -> str:
        """The group whose worker runs a strategy; empty when none does."""
        assigned = self._assigned.get(strategy_id)
        return "" if assigned is None else assigned.group

    def connected(self, strategy_id: str) -> bool:
        """Return whether a worker that may run it is connected."""
        assigned = self._assigned.get(strategy_id)
        return assigned is not None and self._queue_of(assigned.group) is not None

    def withdraw(self, strategy_id: str) -> None:
        """Remove the assignment of a strategy that ended."""
        self._assigned.pop(strategy_id, None)

    def drain(self) -> None:
        """The platform stops: end all streams, and workers leave the market in order."""
        for worker_id in list(self._queues):
            self.release(worker_id)

    # For workers.

    def require(self, worker_id: str, strategy_id: str = "") -> None:
        """Raises Denied for a worker that is not one any more, or a strategy that another one runs."""
        group = self._groups.get(worker_id)
        assigned = self._assigned.get(strategy_id)
        if group is None or (assigned is not None and assigned.group != group):
            raise Denied("this worker has been replaced")

    async def watch_assignments(self, worker_id: str) -> AsyncGenerator[Assignment, None]:
        """Yield a worker's assignments: all that is assigned, a heartbeat, then changes."""
        self.require(worker_id)
        queue: asyncio.Queue[Assignment] = asyncio.Queue()
        if older := self._queues.get(worker_id):
            older.put_nowait(None)
        self._queues[worker_id] = queue
        group = self._groups[worker_id]
        for assigned in list(self._assigned.values()):
            if assigned.group == group and not assigned.stopping:
                queue.put_nowait(Start(assigned.strategy, "", assigned.strategy.ran))
        queue.put_nowait(Heartbeat())
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        item = await queue.get()
                except TimeoutError:
                    item = Heartbeat()
                if item is None:
                    return
                if isinstance(item, Start):
                    item = await self._with_token(item, queue)
                    if item is None:
                        continue
                yield item
        finally:
            if self._queues.get(worker_id) is queue:
                del self._queues[worker_id]

    async def renew_tokens(self, monotonic: float) -> None:
        """Exchange tokens that will soon end; call it every few seconds."""
        for strategy_id, assigned in list(self._assigned.items()):
            queue = self._queue_of(assigned.group)
            if queue is None or not assigned.renew_at or monotonic < assigned.renew_at:
                continue
            try:
                token, life_s = await self._platform.strategy_token(assigned.strategy)
            except RedFireError as error:
                if _is_denied(error):
                    self._denied.append((strategy_id, error.message))
                else:
                    assigned.renew_at = monotonic + _ASK_AGAIN_S
                continue
            assigned.renew_at = monotonic + life_s / 2
            queue.put_nowait(Token(strategy_id, token))

    def take_denied(self) -> list[tuple[str, str]]:
        """Strategies whose owners may not trade any more, and why; each once."""
        denied, self._denied = self._denied, []
        return denied

    async def _with_token(self, start: Start, queue: "asyncio.Queue[Assignment]") -> Start | None:
        assigned = self._assigned.get(start.strategy.strategy_id)
        if assigned is None or assigned.stopping:
            return None
        try:
            token, life_s = await self._platform.strategy_token(start.strategy)
        except RedFireError as error:
            if _is_denied(error):
                self._denied.append((start.strategy.strategy_id, error.message))
            else:
                asyncio.get_running_loop().call_later(_ASK_AGAIN_S, queue.put_nowait, start)
            return None
        assigned.renew_at = asyncio.get_running_loop().time() + life_s / 2
        return Start(assigned.strategy, token, assigned.strategy.ran)

    def _queue_of(self, group: str) -> "asyncio.Queue[Assignment] | None":
        for worker_id, of in self._groups.items():
            if of == group and worker_id in self._queues:
                return self._queues[worker_id]
        return None


def _is_denied(error: RedFireError) -> bool:
    """Test whether auth says that the strategy's owner may not trade: asked again, it would say so again.

    All else passes, also that auth does not know this service: it restarts, and hears of keys a moment later.
    """
    if isinstance(error, Unauthenticated):
        return error.reason is not Reason.UNAUTHENTICATED
    return isinstance(error, Denied | NotFound | FailedPrecondition)
