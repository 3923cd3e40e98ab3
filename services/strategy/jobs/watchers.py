"""Who follows a job: each open stream holds the newest state alone, however slow its client is."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redfire.reasons import Reason

from services.strategy.jobs.job import Job


@dataclass(frozen=True, slots=True)
class News:
    """The job as it is now, or the reason why the stream ends; neither: nothing happened for a while."""

    job: Job | None = None
    end: str = ""


class Watcher:
    """One open stream."""

    def __init__(self) -> None:
        self._news: News | None = None
        self._arrived = asyncio.Event()

    def offer(self, news: News) -> None:
        """Newer news take the place of older; the end of a job or a stream stays."""
        final = self._news is not None and (self._news.end or (self._news.job and self._news.job.status.has_ended))
        if not final:
            self._news = news
            self._arrived.set()

    async def news(self, heartbeat_s: float) -> AsyncGenerator[News, None]:
        """What comes, with a heartbeat whenever it is silent for so long."""
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._arrived.wait()
            except TimeoutError:
                yield News()
                continue
            self._arrived.clear()
            news, self._news = self._news, None
            assert news is not None
            yield news


class Watchers:
    """All open streams, by job."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = defaultdict(set)
        self._draining = False

    @contextmanager
    def follow(self, job_id: str) -> Iterator[Watcher]:
        """Follow a job while the block runs."""
        watcher = Watcher()
        if self._draining:
            watcher.offer(News(end=Reason.SHUTTING_DOWN.value))
        self._watchers[job_id].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def publish(self, job: Job) -> None:
        """Tell the followers of a job."""
        for watcher in self._watchers.get(job.job_id, ()):
            watcher.offer(News(job))

    def end(self, job_id: str, reason: str) -> None:
        """End the streams of a job."""
        for watcher in self._watchers.get(job_id, ()):
            watcher.offer(News(end=reason))

    async def drain(self) -> None:
        """The process stops: end all streams."""
        self._draining = True
        for job_id in list(self._watchers):
            self.end(job_id, Reason.SHUTTING_DOWN.value)
