"""What backtests and optimisations as a service are made of."""

from collections.abc import Callable
from functools import partial

from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.data.database import Database
from services.kernel.runtime.service_context import Process
from services.strategy.catalogue import Catalogue
from services.strategy.jobs import datasets
from services.strategy.jobs.api import BacktestApi
from services.strategy.jobs.instruments import Instruments
from services.strategy.jobs.repository import JobRepository
from services.strategy.jobs.scheduler import Scheduler
from services.strategy.jobs.service import JobService
from services.strategy.jobs.watchers import Watchers
from services.strategy.settings import StrategySettings


def bind_jobs(
    process: Process, database: Database, catalogue: Catalogue, settings: Callable[[], StrategySettings]
) -> None:
    """Jobs in the strategy service's database, each run by a process of its own."""
    repositories = database.repositories(JobRepository)
    watchers = Watchers()
    scheduler = Scheduler(process, repositories, watchers, settings, process.clock)
    service = JobService(
        repositories,
        scheduler,
        watchers,
        catalogue,
        Instruments(process.peer(MarketServiceStub)),
        partial(datasets.check, process.data_dir),
        process.run_blocking,
        settings,
        process.clock,
        process.tasks,
    )
    process.serve(BacktestApi(service, process.clock))
    process.on_start(scheduler.resume)
    process.background("backtests", scheduler.run)
    process.background("old backtests", scheduler.prune)
    process.on_drain(watchers.drain)
    process.on_drain(scheduler.stop)
    process.on_stop(scheduler.stop)
