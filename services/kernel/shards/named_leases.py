"""Leases by name that replicas share in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from services.kernel.identifiers import new_id
from services.kernel.shards.lease_table import LOST, Lease, LeaseTable
from services.kernel.shards.leases import Work
from services.kernel.shards.renewal import LeaseHolder
from services.kernel.tasks import Tasks

NOTIFY_PAUSE_S = 0.01
"""Time between two notifications: what happens meanwhile needs none of its own."""


class SharedLeases(LeaseHolder):
    """Leases that processes share by the table `named_leases`; the first that wants a free one has it."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], address: Callable[[], str], tasks: Tasks) -> None:
        """`connect` opens a connection of asyncpg's to the service's database."""
        holder = new_id()
        super().__init__(LeaseTable(connect, "named_leases", holder, address), holder)
        self._address = address
        self._tasks = tasks
        self._wanted: set[str] = set()
        self._owners: dict[str, str] = {}
        self._running: asyncio.Task[None] | None = None
        self._hooks: dict[str, Callable[[], None]] = {}
        self._topics: set[str] = set()
        self._notifying: asyncio.Task[None] | None = None

    def epoch(self, name: str) -> int | None:
        """The epoch, unless the lease may have ended."""
        return self.held.get(name) if self.is_sure else None

    def owner(self, name: str) -> str | None:
        """The address that the lease names."""
        return self._address() if self.epoch(name) is not None else self._owners.get(name)

    async def while_held(self, name: str, work: Work) -> None:
        """Work whenever the lease is held; see `Leases`."""
        if name in self._wanted:
            raise ValueError(f"the lease {name} is wanted twice")
        self._wanted.add(name)
        if self._running is None:
            self._running = self._tasks.supervise("leases", self.run)
        self.look()
        try:
            while not await self._work_once(name, work):
                pass
        finally:
            self._wanted.discard(name)
            await asyncio.shield(self._give_up([name]))

    def on_notified(self, topic: str, hook: Callable[[], None]) -> None:
        """Call a hook when a process notifies of a topic, this one too; heard while a lease is wanted here."""
        self._hooks[topic] = hook

    def notify(self, topic: str) -> None:
        """Notify all processes, soon."""
        self._topics.add(topic)
        if self._notifying is None or self._notifying.done():
            self._notifying = self._tasks.spawn("leases.notify", self._notify())

    async def release(self) -> None:
        """Give everything up at an orderly stop."""
        self._wanted.clear()
        for task in (self._running, self._notifying):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._give_up(list(self.held))
        self.table.discard()

    async def _work_once(self, name: str, work: Work) -> bool:
        """Wait for the lease and work; whether the work ended by itself."""
        while self.epoch(name) is None:
            await self.changed(1.0)
        epoch = self.epoch(name)
        task = asyncio.ensure_future(work())
        try:
            while not task.done() and self.epoch(name) == epoch:
                changed = asyncio.ensure_future(self.changed(1.0))
                try:
                    await asyncio.wait([task, changed], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            is_done = task.done()
            task.cancel()
            await asyncio.wait([task])
        if is_done:
            task.result()
        return is_done

    async def _give_up(self, names: Collection[str]) -> None:
        gone = [name for name in names if name in self.held]
        self.lose(gone)
        if gone:
            try:
                await self.table.drop(gone)
            except LOST:
                self.table.discard()

    async def _notify(self) -> None:
        while self._topics:
            try:
                await self.table.notify(self._topics.pop())
            except LOST:
                self.table.discard()
            await asyncio.sleep(NOTIFY_PAUSE_S)

    def _notified(self, payload: str) -> None:
        if not payload:
            super()._notified(payload)
        elif hook := self._hooks.get(payload):
            hook()

    def _lost(self, keys: Collection[str]) -> None:
        """Nothing: who works looks by itself."""

    async def _decide(self, leases: list[Lease]) -> None:
        rows = {str(lease.key): lease for lease in leases}
        self._owners = {name: one.address for name, one in rows.items() if not one.is_free}
        if new := self._wanted - rows.keys():
            await self.table.add(new)
            self.look()
        free = [name for name in self._wanted - self.held.keys() if name in rows and self._is_due(rows[name])]
        if free:
            await self._take(free)

    def _is_due(self, lease: Lease) -> bool:
        return lease.is_free or lease.owner == self.holder
