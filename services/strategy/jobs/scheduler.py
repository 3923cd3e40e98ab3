"""Runs jobs: so many at once, the rest in order, each in a process of its own; goes on after a restart."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from redfire.events.v1.events_pb2 import Event

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.data.writes import Fence
from services.kernel.errors import ShardMoved, Unavailable
from services.kernel.events.outbox import Outbox
from services.kernel.runtime.service_context import ServiceContext
from services.kernel.shards.leases import Leases
from services.kernel.shards.ownership import Ownership, shard_of
from services.quant.archive import layout
from services.strategy.jobs import datasets
from services.strategy.jobs.execution.folder import LOG, BadResult, JobFolder, Outcome, list_job_ids
from services.strategy.jobs.execution.job_spec import JobSpec
from services.strategy.jobs.execution.process import JobProcess, Limits, ProcessExit, kill_left
from services.strategy.jobs.job import Failure, Job, Kind, Progress, Status
from services.strategy.jobs.queue import FairQueue
from services.strategy.jobs.repository import JobRepository
from services.strategy.jobs.watchers import Watchers
from services.strategy.sandbox.admission import Admission
from services.strategy.sandbox.profile import CODE, Needs
from services.strategy.settings import StrategySettings

log = logging.getLogger(__name__)
T = TypeVar("T")
TOPIC = "backtests"
DATA = "data"
"""The copy of what a job reads, where it cannot read the archive; removed with all else that is no result."""
FINISHED, FAILED = "strategy.backtest_finished", "strategy.backtest_failed"
_ATTEMPTS = 3
_LOOK_S = 1.0
_PRUNE_S = 600.0
_PRUNED = 100
_FILE_BYTES = 1 << 30
_RETRY_S = 0.5
_RETRIES_S = 30.0
_OTHERS_FIRST_S = 0.2
_GRACE_S = 0.5
"""A cancel takes effect within a second."""


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    process: JobProcess | None = None
    canceled: bool = False
    lost: bool = False


class Scheduler:
    """Jobs that have not ended, in memory, of the users whose shards this process has.

    Changes are written before they are published.
    """

    def __init__(
        self,
        context: ServiceContext,
        repositories: Repositories[JobRepository],
        watchers: Watchers,
        outbox: Outbox,
        settings: Callable[[], StrategySettings],
        clock: Clock,
        shards: Ownership,
        leases: Leases,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._context = context
        self._shards = shards
        self._epochs: dict[int, int] = {}
        self._repositories = repositories
        self._watchers = watchers
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._root = context.data_dir / "strategy" / "backtests"
        self._jobs: dict[str, Job] = {}
        self._queue = FairQueue()
        self._running: dict[str, _Running] = {}
        self._wake = asyncio.Event()
        self._leases = leases
        leases.on_notified(TOPIC, self._wake.set)
        # The platform runs as many as it may: this process looks again later.
        self._is_full = False
        self._draining = False

    def folder(self, job_id: str) -> JobFolder:
        """The folder of a job's results."""
        return JobFolder(self._root, job_id)

    def find(self, job_id: str) -> Job | None:
        """A job that waits or runs, as it is now."""
        job = self._jobs.get(job_id)
        if job is None or job.status is not Status.QUEUED:
            return job
        return replace(job, queue_position=self._queue.position(job.user_id, job_id))

    def waiting(self, user_id: str) -> int:
        """The number of a user's jobs that wait."""
        return self._queue.count(user_id)

    async def tidy(self) -> None:
        """Remove what the last process left."""
        if not self._shards.is_shared:
            await self._context.run_blocking(kill_left, self._root.absolute())
        there = await self._context.run_blocking(list_job_ids, self._root)
        async with self._repositories.read() as repository:
            orphans = set(there) - await repository.known(there)
        for job_id in orphans:
            await self._context.run_blocking(self.folder(job_id).delete)

    async def take(self, shards: Mapping[int, int]) -> None:
        """Take up the jobs of users who come: what ran is run again, from its beginning, and not without end."""
        self._epochs.update(shards)
        async with self._repositories.read() as repository:
            jobs = [job for job in await repository.list_not_ended() if shard_of(job.user_id) in shards]
        if self._shards.is_shared:  # a replica that stands still may have left them running
            for job in jobs:
                if job.status is Status.RUNNING:
                    await self._context.run_blocking(kill_left, self.folder(job.job_id).part.absolute())
        async with self._repositories() as repository:
            for job in jobs:
                await repository.hold(self.fence(job.user_id))
                if job.status is Status.RUNNING:
                    job = job.interrupted()
                    if job.attempts >= _ATTEMPTS:
                        error = f"the platform stopped while it ran, {job.attempts} times"
                        job = job.failed(self._clock.now(), Failure.INTERRUPTED, error)
                    await repository.put(job)
                    if (event := self._event(job)) is not None:
                        await repository.add_event(self._outbox, event)
                if job.status is Status.QUEUED:
                    self._enqueue(job)
        self._wake.set()

    async def leave(self, shards: Collection[int]) -> None:
        """End what runs of users who go; it waits again, for the replica that they go to."""
        jobs = [job for job in self._jobs.values() if shard_of(job.user_id) in shards]
        for job in jobs:
            if self._queue.remove(job.user_id, job.job_id):
                del self._jobs[job.job_id]
        await self._cancel([self._running[job.job_id] for job in jobs if job.job_id in self._running])

    def drop(self, shards: Collection[int]) -> None:
        """Forget the jobs of users whom another replica has, or may have; what still runs of them is killed."""
        for job in [job for job in self._jobs.values() if shard_of(job.user_id) in shards]:
            if self._queue.remove(job.user_id, job.job_id):
                del self._jobs[job.job_id]
            if running := self._running.get(job.job_id):
                running.lost = True
                running.task.cancel()
        for shard in shards:
            self._epochs.pop(shard, None)

    def submit(self, job: Job) -> None:
        """Run a job when its turn comes; it is in the database."""
        self._enqueue(job)
        self._wake.set()

    async def cancel(self, job_id: str) -> Job | None:
        """End a job that waits or runs; None when it does neither. It is over when this returns."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if self._queue.remove(job.user_id, job_id):
            job = job.ended(self._clock.now(), Status.CANCELED)
            # To its end, also when the caller disconnects: it is in no queue any more.
            await asyncio.shield(
                self._context.tasks.spawn(f"cancel {job_id}", self._patiently(self._end, job), awaited=True)
            )
            return job
        running = self._running.get(job_id)
        if running is not None:
            running.canceled = True
            if running.process is not None:
                try:
                    if job.kind is Kind.OPTIMIZATION and job.progress.done:  # hours of points are worth keeping
                        running.process.ask_to_end()
                        await asyncio.wait([running.task], timeout=_GRACE_S)
                finally:
                    running.process.kill()
            await asyncio.wait([running.task])
        return None

    async def run(self) -> None:
        """Start what may be started, until cancelled."""
        while True:
            self._wake.clear()
            self._is_full = False
            limit = self._settings().max_backtests or os.cpu_count() or 1
            while not self._draining and not self._is_full and len(self._running) < limit:
                owners = Counter(self._jobs[job_id].user_id for job_id in self._running)
                job_id = self._queue.pop(owners)
                if job_id is None:
                    break
                task = asyncio.get_running_loop().create_task(self._run(job_id), name=f"job {job_id}")
                self._running[job_id] = _Running(task)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def prune(self) -> None:
        """Delete what is too old or too much, now and then."""
        while True:
            settings = self._settings()
            before = self._clock.now() - timedelta(days=settings.backtest_keep_days)
            async with self._repositories.read() as repository:
                old = await repository.list_ended_before(before, _PRUNED)
                many = await repository.list_beyond(settings.backtest_keep, _PRUNED)
            for job in {job.job_id: job for job in (*old, *many)}.values():
                await self.delete(job)
            if len(old) < _PRUNED and len(many) < _PRUNED:
                await asyncio.sleep(_PRUNE_S)

    async def delete(self, job: Job) -> None:
        """Delete a job that has ended, and its results."""
        async with self._repositories() as repository:
            await repository.delete(job.user_id, job.job_id)
        self._watchers.end(job.job_id, "DELETED")
        await self._context.run_blocking(self.folder(job.job_id).delete)

    async def stop(self) -> None:
        """Kill what runs; it waits again and is run by the next process."""
        self._draining = True
        await self._cancel(self._running.values())

    @staticmethod
    async def _cancel(running: Collection[_Running]) -> None:
        tasks = [one.task for one in running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fence(self, user_id: str) -> Fence:
        """The fence of writes of a user's jobs. Raises ShardMoved."""
        shard = shard_of(user_id)
        if shard not in self._epochs:
            raise ShardMoved(shard=shard)
        return Fence(shard, self._epochs[shard])

    def _enqueue(self, job: Job) -> None:
        self._jobs[job.job_id] = job
        self._queue.add(job.user_id, job.job_id)

    async def _run(self, job_id: str) -> None:
        waiting = job = self._jobs[job_id]
        waits = False
        try:
            job = job.begun(self._clock.now())
            if not await self._patiently(self._begin, job):
                waits = not self._running[job_id].canceled
                if not waits:
                    await self._patiently(self._end, waiting.ended(self._clock.now(), Status.CANCELED))
                return
            job = await self._finish(job)
            await self._patiently(self._end, job)
        except asyncio.CancelledError:
            # The platform stops, or the user goes to another replica: this try does not count.
            if not self._running[job_id].lost:
                await self._put(replace(job.interrupted(), attempts=job.attempts - 1))
            raise
        except ShardMoved:
            log.warning("job %s is another replica's now", job_id)
        except Exception:
            log.exception("job %s failed", job_id)
            job = replace(job, result={})  # it may be what could not be written
            job = job.failed(self._clock.now(), Failure.INTERNAL, "internal error")
            await self._patiently(self._end, job)
        finally:
            del self._running[job_id]
            if waits:
                self._is_full = True
                self._queue.put_back(job.user_id, job_id)
            else:
                self._jobs.pop(job_id, None)
                self._pass_on()

    async def _finish(self, job: Job) -> Job:
        """Run its process; the job as it ended."""
        running = self._running[job.job_id]
        folder = self.folder(job.job_id)
        await self._context.run_blocking(folder.begin)
        try:
            data_dir = await self._context.run_blocking(
                partial(datasets.bring, self._context.data_dir, job.setup, folder.part / DATA)
            )
        except OSError as error:
            log.warning("the archive cannot be read for job %s: %s", job.job_id, error)
            await self._context.run_blocking(folder.delete)
            return job.failed(self._clock.now(), Failure.INTERNAL, "the archive of ticks and bars cannot be read")
        process = running.process = self._new_process(job, folder, data_dir)
        started = self._clock.monotonic()

        def further(done: int, total: int) -> None:
            elapsed_s, before = self._clock.monotonic() - started, self._jobs[job.job_id].progress
            now = Progress(done, total, elapsed_s, before.prepared_s if before.total else elapsed_s)
            self._jobs[job.job_id] = replace(job, progress=now)
            self._watchers.publish(job.job_id, [self._jobs[job.job_id]])

        process_exit = ProcessExit() if running.canceled else await process.run(further)
        progress = replace(self._jobs[job.job_id].progress, elapsed_s=self._clock.monotonic() - started)
        job = replace(job, progress=progress)
        if running.canceled:
            if job.kind is Kind.OPTIMIZATION:
                # What it has written down counts, though it was killed then.
                job = replace(
                    job, result=(await self._context.run_blocking(self._outcome, folder, ProcessExit())).result
                )
            else:
                await self._context.run_blocking(folder.delete)
            return job.ended(self._clock.now(), Status.CANCELED)
        outcome = await self._context.run_blocking(self._outcome, folder, process_exit)
        job = replace(job, result=outcome.result)
        if outcome.failure is Failure.NONE:
            job = replace(job, progress=replace(progress, done=progress.total))
            return job.ended(self._clock.now(), Status.FINISHED)
        return job.failed(self._clock.now(), outcome.failure, outcome.error, outcome.error_detail)

    def _outcome(self, folder: JobFolder, process_exit: ProcessExit) -> Outcome:
        """Read the outcome in its folder, unless it was killed or ended early. Results that can be read are kept."""
        try:
            folder.tidy()
            outcome = None if process_exit.failure is not Failure.NONE else folder.read_outcome()
            if outcome is not None:
                folder.check_tables()
            if outcome is not None and folder.size() > self._settings().backtest_result_bytes:
                raise BadResult(f"its result is larger than {self._settings().backtest_result_bytes >> 20} MiB")
        except BadResult as error:
            outcome = Outcome(Failure.BAD_RESULT, str(error))
        except OSError:
            outcome = Outcome(Failure.BAD_RESULT, "its folder is gone or cannot be read")
        if outcome is None:
            failure = Failure.EXITED if process_exit.failure is Failure.NONE else process_exit.failure
            outcome = Outcome(failure, process_exit.error or "the strategy ended its process (exit code 0)")
        if outcome.result:
            folder.publish()
        else:
            folder.delete()
        return outcome

    def _new_process(self, job: Job, folder: JobFolder, data_dir: Path) -> JobProcess:
        settings = self._settings()
        search = job.kind is Kind.OPTIMIZATION
        workers = (settings.optimization_workers or os.cpu_count() or 1) if search else 0
        home = Path(self._root.parent, "home", job.user_id).absolute()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        memory_bytes = settings.backtest_memory_bytes
        give = partial(self._admission.give, job.user_id)
        give(home, folder.part)
        part, strategies_dir = folder.part.absolute(), settings.strategies_dir and settings.strategies_dir.absolute()
        needs = Needs(
            job.user_id,
            read=[
                self._root.parent.absolute() / CODE,
                data_dir.absolute() / layout.FOLDER,
                *([strategies_dir] if strategies_dir else []),
            ],
            write=[home, part],
            memory_bytes=memory_bytes,
            file_bytes=_FILE_BYTES,
            processes=workers,
        )
        spec = JobSpec(
            job_id=job.job_id,
            kind=job.kind.value,
            setup=job.setup.to_json(),
            root=str(self._root.absolute()),
            folder=str(part),
            data_dir=str(data_dir.absolute()),
            strategies_dir=str(strategies_dir) if strategies_dir else "",
            home=str(home),
            parent=os.getpid(),
            memory_bytes=memory_bytes,
            workers=workers,
            point_timeout_s=settings.backtest_timeout_s,
            sandbox=self._admission.profile(needs),
        )
        timeout_s = settings.optimization_timeout_s if search else settings.backtest_timeout_s
        # A search shares its data by a file, which is no larger than it is in memory.
        disk_bytes = settings.backtest_result_bytes + memory_bytes
        limits = Limits(timeout_s, memory_bytes * (1 + workers), workers, disk_bytes)
        return JobProcess(spec, limits, folder.part / LOG, give)

    def _pass_on(self) -> None:
        """Begin the next; where replicas share a limit, those of the others come first."""
        self._leases.notify(TOPIC)
        if self._shards.is_shared and self._settings().max_backtests:
            asyncio.get_running_loop().call_later(_OTHERS_FIRST_S, self._wake.set)
        else:
            self._wake.set()

    async def _begin(self, job: Job) -> bool:
        """Write that a job runs, unless as many run already as the platform may; whether it was written."""
        limit = self._settings().max_backtests
        async with self._repositories() as repository:
            await repository.hold(self.fence(job.user_id))
            # Replicas write one after the other: none comes between.
            if limit and await repository.count_running(job.job_id) >= limit:
                return False
            await repository.put(job)
        self._jobs[job.job_id] = job
        self._watchers.publish(job.job_id, [job])
        return True

    async def _put(self, job: Job) -> None:
        async with self._repositories() as repository:
            await repository.hold(self.fence(job.user_id))
            await repository.put(job)
        self._jobs[job.job_id] = job
        self._watchers.publish(job.job_id, [job])

    async def _patiently(self, write: Callable[[Job], Awaitable[T]], job: Job) -> T:
        """Retry until the database takes it: while its disk is full, nothing begins and nothing has ended."""
        pause_s = _RETRY_S
        while True:
            try:
                return await write(job)
            except ShardMoved:
                raise
            except (Unavailable, OSError):
                log.exception("job %s cannot be written, again in %g s", job.job_id, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRIES_S)

    async def _end(self, job: Job) -> None:
        async with self._repositories() as repository:
            await repository.hold(self.fence(job.user_id))
            await repository.put(job)
            if (event := self._event(job)) is not None:
                await repository.add_event(self._outbox, event)
        self._outbox.wake()
        self._jobs.pop(job.job_id, None)
        self._watchers.publish(job.job_id, [job])

    def _event(self, job: Job) -> Event | None:
        """The event of a job that has ended; a canceled one has none."""
        if job.status is Status.FINISHED:
            event = self._outbox.event(FINISHED)
            finished = event.backtest_finished
            finished.user_id, finished.backtest_id, finished.kind = job.user_id, job.job_id, job.kind.value
            finished.class_name, finished.symbol = job.setup.class_name, job.setup.symbol
            return event
        if job.status is Status.FAILED:
            event = self._outbox.event(FAILED)
            failed = event.backtest_failed
            failed.user_id, failed.backtest_id, failed.kind = job.user_id, job.job_id, job.kind.value
            failed.failure, failed.error = f"JOB_FAILURE_{job.failure.value}", job.error
            return event
        return None
