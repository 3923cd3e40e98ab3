"""Leases by name: of what only one replica does, such as relaying an outbox or running a strategy."""

from collections.abc import Awaitable, Callable
from typing import Protocol

NAMED_LEASES = "named_leases"
Work = Callable[[], Awaitable[None]]


class Leases(Protocol):
    """Leases by name in one service's database."""

    def epoch(self, name: str) -> int | None:
        """The epoch in which this process holds a lease; None when it does not, or is no longer sure."""

    def owner(self, name: str) -> str | None:
        """The address of the holder, as far as it is known here."""

    async def while_held(self, name: str, work: Work) -> None:
        """Work whenever this process holds the lease, until cancelled; the work is cancelled when it is lost.

        Work that ends, or raises, gives the lease up and ends this too.
        """

    def on_notified(self, topic: str, hook: Callable[[], None]) -> None:
        """Call a hook when a process notifies the others of a topic."""

    def notify(self, topic: str) -> None:
        """Notify the other processes, soon; one that is cut off from the database misses it."""

    async def release(self) -> None:
        """Give everything up at an orderly stop."""


class SoleLeases:
    """All leases, held by the only process there is."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address

    def epoch(self, name: str) -> int | None:
        """Always the same."""
        return 1

    def owner(self, name: str) -> str | None:
        """This process."""
        return self._address()

    async def while_held(self, name: str, work: Work) -> None:
        """Work."""
        await work()

    def on_notified(self, topic: str, hook: Callable[[], None]) -> None:
        """Nobody else is there to notify."""

    def notify(self, topic: str) -> None:
        """Nobody else is there."""

    async def release(self) -> None:
        """Nobody could take them."""
