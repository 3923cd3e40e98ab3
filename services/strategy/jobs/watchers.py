"""Subscribers of jobs: each open stream holds the newest state alone, however slow its client is."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from services.kernel.streams import End, LatestSubscriber, Subscriber, Subscribers
from services.strategy.jobs.job import Job

Watchers = Subscribers[str, Job]


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """The job as it is now, or the reason why the stream ends; neither: nothing happened for a while."""

    job: Job | None = None
    end: str = ""


def job_watchers() -> Watchers:
    """Watchers by job id, of which none waits for more than the newest state."""
    return Subscribers(lambda: LatestSubscriber(lambda job: job.status.has_ended))


async def job_updates(watcher: Subscriber[Job], heartbeat_s: float) -> AsyncGenerator[JobUpdate, None]:
    """States as they come, with a heartbeat whenever it is silent for so long, to the end."""
    async for item in watcher.items(heartbeat_s):
        yield JobUpdate(end=item.reason) if isinstance(item, End) else JobUpdate(item)
