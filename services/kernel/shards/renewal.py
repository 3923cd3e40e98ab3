"""Keeping leases: renewing those that are held, and knowing in time that they may be lost.

A holder is sure of its leases until a moment that it reckons by its own clock from before the renewal was sent; only
later could the database give them to somebody else. A process that stood still, or cannot reach the database, thus
knows by itself that it owns nothing any more.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from services.kernel.backoff import Backoff
from services.kernel.shards.lease_table import LEASE_S, LOST, Lease, LeaseTable
from services.kernel.shards.process_watch import ProcessWatch
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
RENEW_S = 1.0
MARGIN_S = 0.5
"""For clocks that do not run alike, and for what is still on its way when a holder stops being sure."""
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 1.0
"""Between attempts while the database is away: a lease that ends meanwhile is soon noticed, and nothing is flooded."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class LeaseHolder(ABC):
    """Leases of one table that this process holds: `held`, epochs by key."""

    def __init__(self, table: LeaseTable, holder: str) -> None:
        """`holder` is the table's: a name that no other run of a process has."""
        self.holder = holder
        self.table = table
        self.held: dict[Any, int] = {}
        self._until = self._renew_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._look_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_away = False
        self.not_before = 0.0
        """Time from which it may take leases again, after it could make no use of some."""
        self.takes_from_ended = True
        """True where the leases of a process that has ended are taken at once; else when they end."""
        self._processes = ProcessWatch(self._note_ended)
        self._ended: set[str] = set()
        table.on_notification(self._notified)

    @property
    def is_sure(self) -> bool:
        """Test whether what is held cannot be anybody else's yet."""
        return now() < self._until

    @property
    def sure_until(self) -> float:
        """The moment by `now` up to which it is sure."""
        return self._until

    def look(self) -> None:
        """Look at the table now, not when the next renewal is due."""
        self._look_now.set()

    async def run(self) -> None:
        """Keep what is held and take what is due, until cancelled."""
        try:
            await self._keep()
        finally:
            await self._processes.close()

    async def _keep(self) -> None:
        backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            self._look_now.clear()
            try:
                pause_s = await self._step()
                if self._is_away:
                    log.info("the database of leases answers again")
                self._is_away = False
                backoff.reset()
            except LOST as error:
                level = logging.DEBUG if self._is_away else logging.WARNING
                log.log(level, "leases cannot be kept: %s: %s", type(error).__name__, error)
                self._is_away = True
                self.table.discard()
                await asyncio.sleep(backoff.pause_s())
                continue
            await wait_for_event(self._look_now, pause_s)

    async def changed(self, seconds: float) -> None:
        """Wait until something is known that was not, at most so long."""
        await wait_for_event(self._changed, seconds)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @abstractmethod
    async def _decide(self, leases: list[Lease]) -> None:
        """Take, or give away, by what the table says."""

    @abstractmethod
    def _lost(self, keys: Collection[Any]) -> None:
        """Be told that these are held no longer."""

    def _notified(self, payload: str) -> None:
        self.look()

    async def _step(self) -> float:
        """Look, renew when it is time, and decide; the seconds until the next look, unless something is notified."""
        started = now()
        if self.held and not self.is_sure:
            self._expire()
        if ended := set(self._ended):
            await self.table.end(ended)
            self._ended -= ended
        is_due = started >= self._renew_at
        before = dict(self.held)
        leases = await self.table.see(before, is_due, started >= self.not_before)
        mine = {lease.key: lease.epoch for lease in leases if lease.owner == self.holder and lease.key is not None}
        if is_due:
            renewed = {lease.key for lease in leases if lease.is_renewed}
            mine = {key: epoch for key, epoch in mine.items() if key in renewed}
            self._renew_at = started + RENEW_S
            self._until = started + LEASE_S - MARGIN_S
            self._watch_until()
        self.lose([key for key, epoch in before.items() if mine.get(key) != epoch])
        if self.takes_from_ended:
            others = [lease for lease in leases if not lease.is_free and lease.owner != self.holder]
            self._processes.watch({lease.owner: lease.address for lease in others})
        await self._decide(leases)
        self._announce()
        ends = [lease.left_s for lease in leases if lease.owner not in ("", self.holder) and lease.left_s > 0]
        first_end = started + min(ends, default=LEASE_S) + 0.01
        return max(0.0, min(self._renew_at, first_end) - now())

    async def _take(self, keys: Collection[Any]) -> dict[Any, int]:
        """Take leases that are free; those that were."""
        taken = await self.table.take(keys)
        self.held.update(taken)
        return taken

    def lose(self, keys: Collection[Any]) -> None:
        """Hold these no longer."""
        gone = [key for key in keys if self.held.pop(key, None) is not None]
        if gone:
            self._lost(gone)
            self._announce()

    def _note_ended(self, holder: str) -> None:
        log.info("the process of a holder of leases has ended")
        self._ended.add(holder)
        self.look()

    def _watch_until(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(max(0.0, self._until - now()), self._expire)

    def _expire(self) -> None:
        if self.is_sure:
            self._watch_until()
        elif self.held:
            log.warning("%d leases were not renewed in time and are given up", len(self.held))
            self.lose(list(self.held))
