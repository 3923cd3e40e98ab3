"""What the strategy service is made of."""

from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.identifiers import new_id
from services.kernel.runtime.service_context import Process
from services.strategy import models
from services.strategy.active_strategies import Running
from services.strategy.api import StrategyApi, WorkerApi
from services.strategy.assignments import Assignments
from services.strategy.catalogue import Catalogue
from services.strategy.events import StrategyEvents
from services.strategy.jobs.bind import bind_jobs
from services.strategy.platform_client import Owners
from services.strategy.repository import StrategyRepository
from services.strategy.service import StrategyService
from services.strategy.settings import StrategySettings
from services.strategy.supervisor import Supervisor, Where


def bind(process: Process) -> None:
    """Strategies in a database, run by worker processes that are plain clients of the platform."""
    live = process.live(StrategySettings)
    database = process.database("strategy", models.Base)
    repositories = database.repositories(StrategyRepository)
    outbox = process.outbox(database, models.OutboxRow)
    owners = Owners(
        process.peer(AuthServiceStub),
        process.peer(MarketServiceStub),
        process.peer(OrderServiceStub),
        process.peer(AccountServiceStub),
        process.clock,
    )
    assignments = Assignments(owners)
    where = Where(process.data_dir / "strategy", process.address_of, process.worker_token)
    supervisor = Supervisor(assignments, where, lambda: live.value, process.clock)
    events = StrategyEvents()

    async def scan(fresh: bool) -> bool:
        return await supervisor.scan(new_id(), fresh)

    catalogue = Catalogue(repositories, lambda: live.value.strategies_dir, scan)
    running = Running(
        repositories,
        assignments,
        supervisor,
        events,
        owners,
        outbox,
        process.tasks,
        process.clock,
        process.section(StrategySettings).log_lines,
    )
    service = StrategyService(repositories, catalogue, running, events, owners, lambda: live.value, process.clock)
    process.serve(StrategyApi(service, process.clock))
    process.serve(WorkerApi(assignments, running, catalogue, supervisor, process.clock))
    process.on_start(catalogue.load)
    process.on_start(running.resume)
    process.background("workers", supervisor.run)
    process.background("tokens", running.keep_tokens)
    process.background("classes", catalogue.follow)
    process.on_drain(events.drain)
    process.on_drain(supervisor.drain)
    process.on_stop(supervisor.stop)
    process.on_stop(catalogue.stop)
    bind_jobs(process, database, catalogue, lambda: live.value)
