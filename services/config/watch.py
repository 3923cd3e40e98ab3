"""Followers of a service's values: each has a bounded queue that changes are put into after their commit."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

from services.config.config import Config


class End(Enum):
    """Why a stream ends; the names are those of the contract."""

    SLOW_CONSUMER = "SLOW_CONSUMER"
    SHUTTING_DOWN = "SHUTTING_DOWN"


class Follower:
    """The changes of one service that one stream has not sent yet."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[Config] = asyncio.Queue(size)
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    def offer(self, config: Config) -> None:
        """Add a change; a follower whose queue is full is ended, since what it lost it would never see."""
        try:
            self._queue.put_nowait(config)
        except asyncio.QueueFull:
            self.end(End.SLOW_CONSUMER)

    def end(self, reason: End) -> None:
        """Let the stream end."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def next(self, timeout_s: float) -> Config | End | None:
        """The next change or the stream's end; None when nothing happened for `timeout_s`."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        if self._ended.done():
            return self._ended.result()
        getter = asyncio.ensure_future(self._queue.get())
        try:
            await asyncio.wait((getter, self._ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getter.done():
                getter.cancel()
        if getter.done() and not getter.cancelled():
            return getter.result()
        return self._ended.result() if self._ended.done() else None


class Followers:
    """Everybody who follows, by environment and service."""

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._followers: dict[tuple[str, str], set[Follower]] = {}
        self._draining = False

    @contextmanager
    def follow(self, environment: str, service_name: str) -> Iterator[Follower]:
        """A follower for as long as the block lasts."""
        follower = Follower(self._buffer)
        if self._draining:
            follower.end(End.SHUTTING_DOWN)
        group = self._followers.setdefault((environment, service_name), set())
        group.add(follower)
        try:
            yield follower
        finally:
            group.discard(follower)
            if not group:
                self._followers.pop((environment, service_name), None)

    def publish(self, configs: Iterable[Config]) -> None:
        """Tell those who follow; call it after the commit and in the order of commits."""
        for config in configs:
            for follower in self._followers.get((config.name.environment, config.name.service_name), ()):
                follower.offer(config)

    async def drain(self) -> None:
        """End all streams, and those to come."""
        self._draining = True
        for group in self._followers.values():
            for follower in group:
                follower.end(End.SHUTTING_DOWN)
