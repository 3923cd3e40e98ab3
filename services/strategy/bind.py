"""Wiring of the strategy service."""

from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.identifiers import new_id
from services.kernel.runtime.service_context import ServiceContext
from services.strategy import models
from services.strategy.active_strategies import ActiveStrategies
from services.strategy.api import StrategyApi, WorkerApi
from services.strategy.catalogue import Catalogue
from services.strategy.events import StrategyEvents
from services.strategy.jobs.bind import bind_jobs
from services.strategy.platform_client import PlatformClient
from services.strategy.repository import StrategyRepository
from services.strategy.sandbox.admission import Admission
from services.strategy.sandbox.profile import Profiles
from services.strategy.sandbox.support import detect
from services.strategy.service import StrategyService
from services.strategy.settings import StrategySettings
from services.strategy.starter_watch import StarterWatch
from services.strategy.workers.assignments import Assignments
from services.strategy.workers.supervisor import PlatformAccess, Supervisor


def bind(context: ServiceContext) -> None:
    """Strategies in a database, run by worker processes that are plain clients of the platform."""
    live = context.live(StrategySettings)
    database = context.database("strategy", models.Base)
    repositories = database.repositories(StrategyRepository)
    outbox = context.outbox(database, models.OutboxRow)
    platform = PlatformClient(
        context.peer(AuthServiceStub),
        context.peer(MarketServiceStub),
        context.peer(OrderServiceStub),
        context.peer(AccountServiceStub),
        context.clock,
        lambda: live.value.stop_with_session,
    )
    assignments = Assignments(platform)

    access = PlatformAccess(context.data_dir / "strategy", context.address_of, context.worker_token, context.peer_tls)
    shards = context.shards()
    support = detect()
    hidden = [context.data_dir, context.secrets.folder]
    admission = Admission(support, Profiles(support, hidden), is_on=context.section(StrategySettings).sandbox == "on")
    admission.announce()
    supervisor = Supervisor(
        assignments, access, admission, lambda: live.value, context.clock, lambda: shards.sure_until
    )
    events = StrategyEvents()

    async def scan(fresh: bool) -> bool:
        return await supervisor.scan(new_id(), fresh)

    catalogue = Catalogue(repositories, lambda: live.value.strategies_dir, scan)
    active = ActiveStrategies(
        repositories,
        assignments,
        supervisor,
        events,
        platform,
        outbox,
        context.tasks,
        context.clock,
        shards,
        context.section(StrategySettings).log_lines,
        StarterWatch(context.revocations, lambda: live.value.stop_with_session),
        admission,
    )
    service = StrategyService(
        repositories, catalogue, active, events, platform, admission, outbox, lambda: live.value, context.clock
    )
    context.serve(StrategyApi(service, context.clock))
    context.serve(WorkerApi(assignments, active, catalogue, supervisor, context.clock, context.worker_token))
    context.on_start(catalogue.load)
    # Workers are processes of their own, which end when leases do.
    shards.wait_out_leases()
    shards.on_acquired(active.take)
    shards.on_leaving(active.leave)
    shards.on_lost(active.drop)
    context.background("workers", supervisor.run)
    context.background("tokens", active.keep_tokens)
    context.background("classes", catalogue.follow)
    context.on_drain(events.drain)
    context.on_drain(supervisor.drain)
    context.on_stop(supervisor.stop)
    context.on_stop(catalogue.stop)
    bind_jobs(context, database, outbox, catalogue, shards, lambda: live.value, admission)
