"""Wiring of backtests and optimisations as a service."""

from collections.abc import Callable
from functools import partial

from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.data.database import Database
from services.kernel.events.outbox import Outbox
from services.kernel.runtime.service_context import ServiceContext
from services.kernel.shards.ownership import Ownership
from services.strategy.catalogue import Catalogue
from services.strategy.jobs import datasets
from services.strategy.jobs.api import BacktestApi
from services.strategy.jobs.instruments import Instruments
from services.strategy.jobs.repository import JobRepository
from services.strategy.jobs.scheduler import Scheduler
from services.strategy.jobs.service import JobService
from services.strategy.jobs.watchers import job_watchers
from services.strategy.sandbox.admission import Admission
from services.strategy.settings import StrategySettings


def bind_jobs(
    context: ServiceContext,
    database: Database,
    outbox: Outbox,
    catalogue: Catalogue,
    shards: Ownership,
    settings: Callable[[], StrategySettings],
    admission: Admission,
) -> None:
    """Jobs in the strategy service's database, each run by a process of its own."""
    repositories = database.repositories(JobRepository)
    watchers, leases = job_watchers(), context.leases(database)
    scheduler = Scheduler(context, repositories, watchers, outbox, settings, context.clock, shards, leases, admission)
    service = JobService(
        repositories,
        scheduler,
        watchers,
        catalogue,
        Instruments(context.peer(MarketServiceStub)),
        partial(datasets.check, context.data_dir),
        context.run_blocking,
        settings,
        context.clock,
        context.tasks,
        admission,
    )
    context.serve(BacktestApi(service, context.clock))
    context.on_start(scheduler.tidy)
    shards.on_acquired(scheduler.take)
    shards.on_leaving(scheduler.leave)
    shards.on_lost(scheduler.drop)
    context.background("backtests", scheduler.run)
    context.background("old backtests", scheduler.prune)
    context.on_drain(watchers.drain)
    context.on_drain(scheduler.stop)
    context.on_stop(scheduler.stop)
