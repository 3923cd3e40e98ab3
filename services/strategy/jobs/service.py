"""Rules of backtests and optimisations: what may be asked for, read and ended, always by their owner."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Duplicate, FailedPrecondition, Invalid, NotFound, ResourceExhausted
from services.kernel.identifiers import new_id
from services.kernel.paging import Page, PageResult
from services.kernel.tasks import Tasks
from services.quant.backtest.job import BacktestError
from services.quant.sdk.strategy_class import ClassDescription
from services.strategy import parameters as parameter_rules
from services.strategy.catalogue import Catalogue
from services.strategy.jobs.execution.folder import DAYS, POINTS, TRADES, BadResult, JobFolder
from services.strategy.jobs.instruments import DEFAULTS, Instruments
from services.strategy.jobs.job import Job, Kind, Search, Setup, Status
from services.strategy.jobs.repository import JobRepository, Order, cursor
from services.strategy.jobs.scheduler import Scheduler
from services.strategy.jobs.watchers import JobUpdate, Watchers, job_updates
from services.strategy.sandbox.admission import Admission
from services.strategy.settings import StrategySettings
from services.strategy.starter import Starter

_TABLES = {Kind.BACKTEST: (TRADES, DAYS), Kind.OPTIMIZATION: (POINTS,)}
_RETRY_S = 10.0
# Each may take seconds of one of the platform's few threads.
_CHECKS = 2
_TARGET = "sharpe_ratio"
Blocking = Callable[..., Awaitable[Any]]


class TooManyJobs(ResourceExhausted):
    """Too many of your jobs are waiting already."""

    reason = Reason.OVERLOADED


class JobEnded(FailedPrecondition):
    """The job has ended already."""

    reason = Reason.JOB_ENDED


class JobNotFinished(FailedPrecondition):
    """The job has not finished: there is nothing to read yet."""

    reason = Reason.JOB_NOT_FINISHED


class EmptyDateRange(Invalid):
    """No data lie between these dates."""

    reason = Reason.EMPTY_DATE_RANGE


class DatasetNotFound(NotFound):
    """The data are not in the store."""

    reason = Reason.DATASET_NOT_FOUND


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """A request for a backtest or an optimisation; None where a default is to be taken."""

    class_name: str
    symbol: str
    interval: str
    dataset: str
    start_time: datetime | None
    end_time: datetime | None
    parameters: Mapping[str, Any]
    capital: Decimal | None
    commission_rate: Decimal | None
    slippage: Decimal | None
    contract_size: Decimal | None
    price_tick: Decimal | None
    fill_model: str
    check_lookahead: bool = False
    search: Search | None = None


class JobService:
    """Operations of owners on their backtests and optimisations."""

    def __init__(
        self,
        repositories: Repositories[JobRepository],
        scheduler: Scheduler,
        watchers: Watchers,
        catalogue: Catalogue,
        instruments: Instruments,
        check_data: Callable[[Setup], None],
        blocking: Blocking,
        settings: Callable[[], StrategySettings],
        clock: Clock,
        tasks: Tasks,
        admission: Admission,
    ) -> None:
        """`check_data` raises BacktestError when the store has no rows for a setup; it blocks."""
        self._repositories = repositories
        self._scheduler = scheduler
        self._watchers = watchers
        self._catalogue = catalogue
        self._instruments = instruments
        self._check_data = check_data
        self._blocking = blocking
        self._settings = settings
        self._clock = clock
        self._tasks = tasks
        self._admission = admission
        self._entering = asyncio.Lock()
        self._checking = asyncio.Semaphore(_CHECKS)

    async def create_job(
        self,
        user_id: str,
        kind: Kind,
        request: BacktestRequest,
        *,
        display_name: str,
        request_id: str,
        starter: Starter,
    ) -> Job:
        """A new job, waiting; the same request_id again gives the one that it asked for.

        Raises UnknownStrategyClass, BrokenStrategyClass, InvalidParameter, DatasetNotFound, EmptyDateRange, Invalid,
        TooManyJobs, NoSandbox.
        """
        self._admission.require_job(starter)
        if request_id and (made := await self._find(user_id, kind, request_id)):
            return made
        self._require_room(user_id)
        setup = await self._setup(request)
        job = Job(
            user_id=user_id,
            job_id=new_id(),
            kind=kind,
            display_name=display_name or request.class_name,
            setup=setup,
            create_time=self._clock.now(),
        )
        # To its end, also when the caller disconnects: what is in the database alone would never run.
        return await asyncio.shield(self._tasks.spawn("new job", self._enter(job, request_id), awaited=True))

    async def _enter(self, job: Job, request_id: str) -> Job:
        # One at a time, so that parallel calls do not get past the limit.
        async with self._entering:
            self._require_room(job.user_id)
            try:
                async with self._repositories() as repository:
                    await repository.hold(self._scheduler.fence(job.user_id))
                    await repository.add(job, request_id)
            except Duplicate:
                made = await self._find(job.user_id, job.kind, request_id)
                if made is None:
                    raise
                return made
            self._scheduler.submit(job)
        return self._scheduler.find(job.job_id) or job

    async def get_job(self, user_id: str, kind: Kind, job_id: str) -> Job:
        """Raises NotFound, whether it does not exist or belongs to somebody else."""
        known = self._scheduler.find(job_id)
        if known is not None and known.user_id == user_id and known.kind is kind:
            return known
        async with self._repositories.read() as repository:
            return await repository.get(user_id, kind, job_id)

    async def list_jobs(
        self,
        user_id: str,
        kind: Kind,
        page: Page,
        *,
        status: Status | None = None,
        class_name: str = "",
        symbol: str = "",
        order: Order = Order.NEWEST,
    ) -> PageResult[Job]:
        """The user's jobs."""
        async with self._repositories.read() as repository:
            rows = await repository.list_jobs(
                user_id,
                kind,
                status=status,
                class_name=class_name,
                symbol=symbol,
                order=order,
                after=page.after,
                limit=page.size + 1,
            )
        owned = page.slice(rows, key=lambda job: cursor(job, order))
        return replace(owned, items=[self._scheduler.find(job.job_id) or job for job in owned.items])

    async def cancel_job(self, user_id: str, kind: Kind, job_id: str) -> Job:
        """End a job; canceled already: as it is. Raises JobEnded."""
        job = await self.get_job(user_id, kind, job_id)
        if not job.status.has_ended:
            await self._scheduler.cancel(job_id)
            job = await self.get_job(user_id, kind, job_id)
        if job.status is not Status.CANCELED:
            raise JobEnded(f"it has ended already: {job.status}", status=job.status)
        return job

    async def delete_job(self, user_id: str, kind: Kind, job_id: str) -> None:
        """Delete a job and its results; one that waits or runs is ended before."""
        job = await self.get_job(user_id, kind, job_id)
        if not job.status.has_ended:
            await self._scheduler.cancel(job_id)
        await self._scheduler.delete(job)

    async def watch_job(
        self, user_id: str, kind: Kind, job_id: str, heartbeat_s: float
    ) -> AsyncGenerator[JobUpdate, None]:
        """The job as it is now, then its changes, to its end."""
        with self._watchers.follow(job_id) as watcher:
            job = await self.get_job(user_id, kind, job_id)
            yield JobUpdate(job)
            if job.status.has_ended:
                return
            updates = job_updates(watcher, heartbeat_s)
            try:
                async for item in updates:
                    yield item
                    if item.end or (item.job is not None and item.job.status.has_ended):
                        return
            finally:
                await updates.aclose()

    async def list_job_rows(
        self, user_id: str, kind: Kind, job_id: str, table: str, page: Page
    ) -> PageResult[tuple[int, Mapping[str, Any]]]:
        """Rows of one of the tables that a job wrote, with their numbers from 1. Raises JobNotFinished."""
        assert table in _TABLES[kind]
        folder = await self._results(user_id, kind, job_id)
        offset = max(page.after[0], 0) if page.after is not None else 0
        rows: Sequence[Mapping[str, Any]] = await self._read(folder.read_rows, table, offset, page.size + 1)
        return page.slice(list(enumerate(rows, offset + 1)), key=lambda item: [item[0]])

    async def get_job_report(self, user_id: str, kind: Kind, job_id: str, lang: str) -> bytes:
        """A job's report. Raises JobNotFinished."""
        folder = await self._results(user_id, kind, job_id)
        page: bytes | None = await self._read(folder.read_report, lang)
        if page is None:
            raise JobNotFinished("it has no report: it failed before its end")
        return page

    async def _setup(self, request: BacktestRequest) -> Setup:
        description = await self._catalogue.get(request.class_name)
        search = None
        if request.search is not None:
            search = replace(request.search, target=request.search.target or _TARGET)
            self._check_ranges(description, search, request.parameters)
        terms = await self._instruments.terms(request.symbol, request.contract_size, request.price_tick)
        setup = Setup(
            class_name=request.class_name,
            symbol=request.symbol,
            interval=request.interval,
            dataset=request.dataset or request.symbol,
            start_time=request.start_time,
            end_time=request.end_time,
            parameters=_fixed(parameter_rules.merged(description, request.parameters), search),
            capital=_or(request.capital, DEFAULTS.capital),
            commission_rate=_or(request.commission_rate, DEFAULTS.rate),
            slippage=_or(request.slippage, DEFAULTS.slippage),
            contract_size=terms.contract_size,
            price_tick=terms.price_tick,
            fill_model=request.fill_model,
            check_lookahead=request.check_lookahead,
            search=search,
        )
        try:
            setup.backtest_job()
            async with self._checking:
                await self._blocking(self._check_data, setup)
        except BacktestError as error:
            raise refusal(error, setup) from None
        return setup

    def _check_ranges(self, description: ClassDescription, search: Search, parameters: Mapping[str, Any]) -> None:
        """Every range is of a parameter that the class has and that takes its values, and they are not too many."""
        ranges = search.ranges
        names = [item.name for item in ranges]
        for index, item in enumerate(ranges):
            if names.count(item.name) > 1 or item.name in parameters:
                raise Invalid(f"parameter {item.name} is given twice", field=f"ranges[{index}].name")
            whole = next((p.type == "int" for p in description.parameters if p.name == item.name), False)
            if whole and not (item.start.is_integer() and item.step.is_integer()):
                raise Invalid(f"{item.name} takes whole numbers", field=f"ranges[{index}]")
            parameter_rules.merged(description, {item.name: item.start})
        most = self._settings().optimization_points
        counts = [item.count for item in ranges]
        # The genetic search tries few of many.
        if max(counts) > most or (search.method == "grid" and math.prod(counts) > most):
            raise Invalid(f"more than {most} points", field="ranges", max_points=most)

    def _require_room(self, user_id: str) -> None:
        most = self._settings().backtest_queue
        if self._scheduler.waiting(user_id) >= most:
            raise TooManyJobs(retry_after_s=_RETRY_S, max_waiting=most)

    async def _find(self, user_id: str, kind: Kind, request_id: str) -> Job | None:
        async with self._repositories.read() as repository:
            made = await repository.find_by_request(user_id, kind, request_id)
        return made and (self._scheduler.find(made.job_id) or made)

    async def _results(self, user_id: str, kind: Kind, job_id: str) -> JobFolder:
        job = await self.get_job(user_id, kind, job_id)
        if not job.result:
            raise JobNotFinished("it failed before it had a result" if job.status is Status.FAILED else "")
        return self._scheduler.folder(job_id)

    async def _read(self, read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._blocking(read, *arguments)
        except BadResult as error:
            raise JobNotFinished(f"it left nothing to read: {error}") from error


def _or(given: Decimal | None, default: float) -> Decimal:
    return Decimal(str(default)) if given is None else given


def _fixed(parameters: Mapping[str, Any], search: Search | None) -> dict[str, Any]:
    varied = {item.name for item in search.ranges} if search is not None else set()
    return {name: value for name, value in parameters.items() if name not in varied}


def refusal(error: BacktestError, setup: Setup) -> Exception:
    """The library's complaint as the contract says it."""
    message = str(error)
    match error.field:
        case "dataset":
            return DatasetNotFound(message=message, dataset=setup.dataset, interval=setup.interval)
        case "start_time" | "end_time" | "start" | "end":
            return EmptyDateRange(message, field="start_time")
        case field:
            return Invalid(message, field=_FIELDS.get(field, field))


_FIELDS = {"size": "contract_size", "pricetick": "price_tick", "rate": "commission_rate", "fill": "fill_model"}
