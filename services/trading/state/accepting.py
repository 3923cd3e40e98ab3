"""Requests that are being written now, and the calls that wait for them."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Accepting(Generic[T]):
    """An order or a group that is being written."""

    __slots__ = ("_waiting", "fingerprint", "started")

    def __init__(self, fingerprint: str, started: float) -> None:
        self.fingerprint = fingerprint
        self.started = started
        self._waiting: list[asyncio.Future[T]] = []

    def outcome(self) -> "asyncio.Future[T]":
        """Resolves with what was written; each who waits has a future of his own, which may be cancelled."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def end(self, written: T | None, error: BaseException | None) -> None:
        """Wake all that wait."""
        for future in self._waiting:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            elif written is not None:
                future.set_result(written)
