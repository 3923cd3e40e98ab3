"""Ownership of shards: which of them this process serves, and who is told when that changes.

The state of a user is in the memory of one process, the owner of the user's shard; it alone may change that state. An
owner writes with its fence, (shard, epoch): the database refuses the writes of one that another has succeeded.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import lru_cache
from hashlib import blake2b

from services.kernel.data.writes import Fence
from services.kernel.errors import ShardMoved

log = logging.getLogger(__name__)
SHARDS = 64
"""The number of shards, which never changes: databases keep users' shards."""
ALL_SHARDS = range(SHARDS)

OnAcquired = Callable[[Mapping[int, int]], Awaitable[None]]
OnLost = Callable[[Collection[int]], None]
OnLeaving = Callable[[Collection[int]], Awaitable[None]]


# An order asks it seven times, and a look takes a tenth of the digest.
@lru_cache(65_536)
def shard_of(user_id: str) -> int:
    """The shard of a user with everything that is the user's, 0 to 63; the same in every process and version."""
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), "big") % SHARDS


class Ownership(ABC):
    """Shards of one service, as one of its processes sees them."""

    is_shared = False
    """True if there may be other owners, to whom calls are forwarded."""

    def __init__(self, address: Callable[[], str]) -> None:
        """`address` answers where this process serves."""
        self.address = address
        self._acquired_hooks: list[OnAcquired] = []
        self._lost_hooks: list[OnLost] = []
        self._leaving_hooks: list[OnLeaving] = []
        self._changed_hooks: list[Callable[[], None]] = []

    def on_acquired(self, hook: OnAcquired) -> None:
        """Run a hook with epochs by shard when shards come here; they are served once all hooks are done.

        `owns` answers None for them meanwhile. A hook that raises gives them up again, and `on_lost` is told.
        """
        self._acquired_hooks.append(hook)

    def on_lost(self, hook: OnLost) -> None:
        """Call a hook when shards are no longer this process's: from then on nothing of them may be written.

        Of shards whose `on_acquired` is still running it is called at once, and again after that.
        """
        self._lost_hooks.append(hook)

    def on_leaving(self, hook: OnLeaving) -> None:
        """Run a hook before shards are handed over: what works for their users is to end, within a few seconds."""
        self._leaving_hooks.append(hook)

    def wait_out_leases(self) -> None:  # noqa: B027 there is nobody else
        """Take the shards of a process that has ended no sooner than its leases end.

        For services with other processes that work for users as long as the leases last.
        """

    def on_changed(self, hook: Callable[[], None]) -> None:
        """Call a hook whenever something about the shards changes or is learned."""
        self._changed_hooks.append(hook)

    @abstractmethod
    def owns(self, shard: int) -> int | None:
        """The epoch in which this process serves a shard; None when it does not, or is no longer sure."""

    @property
    def sure_until(self) -> float:
        """The moment until which what is owned certainly is, by `renewal.now`; infinite where there is no lease."""
        return math.inf

    @abstractmethod
    def owned(self) -> Mapping[int, int]:
        """Epochs by shard of what this process serves now."""

    @abstractmethod
    def owner(self, shard: int) -> str | None:
        """The address of the process that serves a shard, as far as it is known here; None while nobody does."""

    @abstractmethod
    async def start(self) -> None:
        """Take what is this process's; returns when that is served."""

    @abstractmethod
    async def release(self) -> None:
        """Give everything up at an orderly stop, so that others take it at once."""

    def begin_call(self, shard: int) -> bool:
        """Note the begin of a call that this process is to serve; False where it cannot now."""
        return self.owns(shard) is not None

    def end_call(self, shard: int) -> None:  # noqa: B027 nobody waits for it here
        """Note the end of a call whose begin was noted."""

    async def changed(self, seconds: float) -> None:
        """Wait until something about the shards changes or is learned, at most so long."""
        await asyncio.sleep(seconds)

    def look(self) -> None:  # noqa: B027 there is nobody else
        """Find out anew who owns what: what is known has turned out to be old."""

    def fence(self, user_id: str) -> Fence:
        """The fence of writes for a user. Raises ShardMoved when the user's shard is not served here."""
        shard = shard_of(user_id)
        epoch = self.owns(shard)
        if epoch is None:
            raise ShardMoved(shard=shard)
        return Fence(shard, epoch)

    async def _run_acquired(self, shards: Mapping[int, int]) -> None:
        for hook in self._acquired_hooks:
            await hook(shards)

    async def _run_leaving(self, shards: Collection[int]) -> None:
        for hook in self._leaving_hooks:
            try:
                await hook(shards)
            except Exception:
                log.exception("a hook of shards that leave failed")

    def announce(self) -> None:
        """Call the hooks of changes."""
        for hook in self._changed_hooks:
            hook()

    def _run_lost(self, shards: Collection[int]) -> None:
        for hook in self._lost_hooks:
            try:
                hook(shards)
            except Exception:
                log.exception("a hook of lost shards failed")


class SoleOwnership(Ownership):
    """Ownership of all shards by the only process there is: on SQLite the folder's lock is the lease."""

    EPOCH = 1

    def __init__(self, address: Callable[[], str]) -> None:
        """`address` answers where this process serves."""
        super().__init__(address)
        self._owned: Mapping[int, int] = {}

    def owns(self, shard: int) -> int | None:
        """The epoch, once loaded."""
        return self._owned.get(shard)

    def owned(self) -> Mapping[int, int]:
        """All shards, once loaded."""
        return self._owned

    def owner(self, shard: int) -> str | None:
        """This process, once loaded."""
        return self.address() if shard in self._owned else None

    async def start(self) -> None:
        """Load all shards."""
        every = dict.fromkeys(ALL_SHARDS, self.EPOCH)
        await self._run_acquired(every)
        self._owned = every

    async def release(self) -> None:
        """Nobody could take them."""
