"""Jobs in the database. What users ask is scoped by owner."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from redfire.events.v1.events_pb2 import Event
from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.data.writes import Fence, hold_fences
from services.kernel.errors import NotFound
from services.kernel.events.outbox import Outbox
from services.strategy.jobs.job import Failure, Job, Kind, Progress, Setup, Status
from services.strategy.models import NO_STATISTIC, JobRow

_NOUNS = {Kind.BACKTEST: "backtest", Kind.OPTIMIZATION: "optimization"}
_AT_ONCE = 1000
_ENDED = [status.value for status in Status if status.has_ended]


class Order(StrEnum):
    """The contract's BacktestOrder."""

    NEWEST = "NEWEST"
    OLDEST = "OLDEST"
    SHARPE_RATIO = "SHARPE_RATIO"
    TOTAL_RETURN = "TOTAL_RETURN"

    @property
    def statistic(self) -> str:
        """The column that it goes by first; none: by time alone."""
        return self.value.lower() if self in (Order.SHARPE_RATIO, Order.TOTAL_RETURN) else ""


class JobRepository:
    """All reads and writes of jobs."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def hold(self, fence: Fence) -> None:
        """Hold a fence to the end of this transaction. Raises Fenced."""
        await hold_fences(self._session, {fence})

    async def get(self, user_id: str, kind: Kind, job_id: str) -> Job:
        """Raises NotFound, whether it does not exist or belongs to somebody else."""
        row = await self._session.get(JobRow, (user_id, job_id))
        if row is None or row.kind != kind:
            raise NotFound(_NOUNS[kind], job_id)
        return _to_domain(row)

    async def find_by_request(self, user_id: str, kind: Kind, request_id: str) -> Job | None:
        """The job that an earlier call with this id asked for."""
        query = select(JobRow).where(
            JobRow.user_id == user_id, JobRow.kind == kind.value, JobRow.request_id == request_id
        )
        row = await self._session.scalar(query)
        return _to_domain(row) if row else None

    async def list_jobs(
        self,
        user_id: str,
        kind: Kind,
        *,
        status: Status | None,
        class_name: str,
        symbol: str,
        order: Order,
        after: Sequence[Any] | None,
        limit: int,
    ) -> Sequence[Job]:
        """An owner's jobs. `after`: `cursor` of the last one of the page before."""
        query = select(JobRow).where(JobRow.user_id == user_id, JobRow.kind == kind.value)
        if status is not None:
            query = query.where(JobRow.status == status.value)
        if class_name:
            query = query.where(JobRow.class_name == class_name)
        if symbol:
            query = query.where(JobRow.symbol == symbol)
        if order.statistic:
            column = getattr(JobRow, order.statistic)
            if after is not None:
                later = and_(column == after[0], JobRow.job_id < after[1])
                query = query.where(or_(column < after[0], later))
            query = query.order_by(column.desc(), JobRow.job_id.desc())
        elif order is Order.OLDEST:
            query = query.where(JobRow.job_id > after[0]) if after is not None else query
            query = query.order_by(JobRow.job_id)
        else:
            query = query.where(JobRow.job_id < after[0]) if after is not None else query
            query = query.order_by(JobRow.job_id.desc())
        return [_to_domain(row) for row in await self._session.scalars(query.limit(limit))]

    async def list_not_ended(self) -> Sequence[Job]:
        """Everybody's jobs that wait or run, in the order in which they were asked for."""
        query = select(JobRow).where(JobRow.status.not_in(_ENDED)).order_by(JobRow.create_time, JobRow.job_id)
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def count_running(self, besides: str) -> int:
        """The number of everybody's jobs that run, but for this one."""
        runs = JobRow.status == Status.RUNNING.value, JobRow.job_id != besides
        return await self._session.scalar(select(func.count()).select_from(JobRow).where(*runs)) or 0

    async def list_ended_before(self, time: datetime, limit: int) -> Sequence[Job]:
        """Everybody's jobs that ended before a time."""
        query = select(JobRow).where(JobRow.end_time < time).order_by(JobRow.end_time).limit(limit)
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def list_beyond(self, keep: int, limit: int) -> Sequence[Job]:
        """The oldest ended jobs of owners who have more than `keep`."""
        crowded = select(JobRow.user_id).where(JobRow.status.in_(_ENDED)).group_by(JobRow.user_id)
        jobs: list[Job] = []
        for user_id in await self._session.scalars(crowded.having(func.count() > keep)):
            query = select(JobRow).where(JobRow.user_id == user_id, JobRow.status.in_(_ENDED))
            rows = await self._session.scalars(query.order_by(JobRow.job_id.desc()).offset(keep).limit(limit))
            jobs += [_to_domain(row) for row in rows]
        return jobs[:limit]

    async def known(self, job_ids: Collection[str]) -> set[str]:
        """Ids, of these, that are jobs."""
        ids = list(job_ids)
        known: set[str] = set()
        # Databases take so many parameters of a statement and no more.
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            known.update(await self._session.scalars(select(JobRow.job_id).where(JobRow.job_id.in_(some))))
        return known

    async def add(self, job: Job, request_id: str) -> None:
        """A new job."""
        row = JobRow(
            user_id=job.user_id,
            job_id=job.job_id,
            kind=job.kind.value,
            # Ids of clients and of jobs never meet: the latter are for clients that gave none.
            request_id=request_id or job.job_id,
            display_name=job.display_name,
            class_name=job.setup.class_name,
            symbol=job.setup.symbol,
            setup=job.setup.to_json(),
            create_time=job.create_time,
        )
        _write(row, job)
        self._session.add(row)
        await self._session.flush()

    async def put(self, job: Job) -> None:
        """Write what may change of a job; one that was deleted meanwhile stays deleted."""
        row = await self._session.get(JobRow, (job.user_id, job.job_id))
        if row is not None:
            _write(row, job)

    async def add_event(self, outbox: Outbox, event: Event) -> None:
        """Tell other services, in this transaction."""
        await outbox.add(self._session, event)

    async def delete(self, user_id: str, job_id: str) -> None:
        """Forget a job."""
        await self._session.execute(delete(JobRow).where(JobRow.user_id == user_id, JobRow.job_id == job_id))


def cursor(job: Job, order: Order) -> list[Any]:
    """The position after which `list_jobs` continues."""
    return [_statistic(job, order.statistic), job.job_id] if order.statistic else [job.job_id]


def cursor_types(order: Order) -> tuple[type, ...]:
    """The types of a cursor."""
    return (float, str) if order.statistic else (str,)


def _statistic(job: Job, name: str) -> float:
    value = job.result.get("statistics", {}).get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return max(float(value), NO_STATISTIC) if number else NO_STATISTIC


def _write(row: JobRow, job: Job) -> None:
    row.status = job.status.value
    row.failure = job.failure.value
    row.done, row.total, row.elapsed_s = job.progress.done, job.progress.total, job.progress.elapsed_s
    row.error, row.error_detail = job.error, job.error_detail
    row.result = dict(job.result)
    row.sharpe_ratio = _statistic(job, Order.SHARPE_RATIO.statistic)
    row.total_return = _statistic(job, Order.TOTAL_RETURN.statistic)
    row.run_time, row.end_time, row.attempts = job.run_time, job.end_time, job.attempts


def _to_domain(row: JobRow) -> Job:
    return Job(
        user_id=row.user_id,
        job_id=row.job_id,
        kind=Kind(row.kind),
        display_name=row.display_name,
        setup=Setup.from_json(row.setup),
        create_time=row.create_time,
        status=Status(row.status),
        progress=Progress(row.done, row.total, row.elapsed_s),
        failure=Failure(row.failure),
        error=row.error,
        error_detail=row.error_detail,
        result=row.result,
        run_time=row.run_time,
        end_time=row.end_time,
        attempts=row.attempts,
    )
