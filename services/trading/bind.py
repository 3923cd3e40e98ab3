"""Wiring of the trading service."""

import asyncio

from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.events.v1.events_pb2 import Event
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.events.inbox import Receipt
from services.kernel.runtime.service_context import ServiceContext
from services.quant.calendar import Calendar
from services.trading import convert, models
from services.trading.account_api import AccountApi
from services.trading.account_opening import Accounts
from services.trading.account_service import AccountService
from services.trading.api import OrderApi
from services.trading.day.day_ends import DayEnds
from services.trading.day.margin_calls import MarginCalls
from services.trading.day.settlement import Settlement
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.currency_rates import CurrencyRates
from services.trading.domain.pre_trade_checks import PreTradeChecks
from services.trading.domain.reduce_only import ReduceOnly
from services.trading.domain.trading_day import TradingDays
from services.trading.emulation.exit_checks import ExitChecks
from services.trading.emulation.leases import Leases
from services.trading.emulation.order_groups import GroupSettlement
from services.trading.emulation.self_trade_prevention import SelfTradePrevention
from services.trading.emulation.stops import Stops
from services.trading.external_repository import ExternalRepository
from services.trading.group_service import GroupService
from services.trading.list_repository import ListRepository
from services.trading.peers.engine_client import EngineClient
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskClient
from services.trading.preview_service import PreviewService
from services.trading.reconciliation_api import ReconciliationApi
from services.trading.reconciliation_service import ReconciliationService
from services.trading.replace_service import ReplaceService
from services.trading.repository import Statements, TradingRepository
from services.trading.service import OrderService
from services.trading.settings import TradingSettings
from services.trading.state.commit_log import CommitLog
from services.trading.state.outbox import OutboxEvents
from services.trading.state.shard_watch import ShardWatch
from services.trading.state.store import TradingStore
from services.trading.state.streams import Streams
from services.trading.state.trimming import Trimming
from services.trading.strategy_orders import StrategyOrders
from services.trading.venue.externals import Externals
from services.trading.venue.live_accounts import LiveAccounts
from services.trading.venue.order_router import OrderRouter
from services.trading.venue.position_adjustments import PositionAdjustments
from services.trading.venue.reconciliation import Reconciliation
from services.trading.venue.report_handler import ReportHandler

ENGINE_AWAY_PAUSE_S = 0.5
"""The longest pause between two attempts to follow an engine that is away: no order is taken until it is followed."""


def bind(context: ServiceContext) -> None:
    """Build the service."""
    start, settings = context.section(TradingSettings), context.live(TradingSettings)
    database = context.database("trading", models.Base)
    repositories, lists = database.repositories(TradingRepository), ListRepository(database.reader())
    outbox = context.outbox(database, models.OutboxRow)
    market, engine = context.peer(MarketServiceStub), EngineClient(context.peer(EngineServiceStub))
    risk = RiskClient(context.peer(RiskServiceStub))

    calendar = Calendar.load()
    days = TradingDays(calendar, context.clock.now_ns, engine.recorded)
    cache = TradingCache(
        start.kept_finished_orders,
        lambda: settings.value.close_first,
        days,
        CurrencyRates(lambda: settings.value.currency_rates),
        engine.simulated,
        engine.time_in_forces,
        start.enforce_sessions,
    )
    statements = Statements(database)
    commit_log = CommitLog(database.writer(), statements, OutboxEvents(outbox), convert.change_to_pb, cache.last_prices)
    store = TradingStore(cache, commit_log, repositories, context.clock, convert.change_to_pb, convert.describe_change)
    streams = Streams(
        context.clock,
        lambda: settings.value.stream_buffer,
        store.snapshot,
        store.missed,
        commit_log.kept,
        lambda: commit_log.published,
    )
    quotes = Quotes(market, context.tasks, cache.last_prices, context.clock, engine.simulated, engine.recorded)

    def takes_orders(symbol: str, gateway: str) -> bool:
        # The simulated exchange is open round the clock, unless it keeps the exchanges' hours.
        round_the_clock = engine.simulated.get(gateway, True) and not cache.enforces_sessions
        return round_the_clock or days.takes_orders(gateway, symbol)

    pre_trade_checks = PreTradeChecks(
        cache,
        settings,
        quotes,
        connected=engine.is_connected,
        posts=lambda gateway: engine.simulated.get(gateway, True),  # vnpy's gateways have no post-only orders
        takes_orders=takes_orders,
    )
    exits = ExitChecks(store, risk, context.tasks)
    settlement = GroupSettlement(store, exits)
    stops = Stops(store, quotes, pre_trade_checks, risk, exits, context.tasks, engine.is_connected)
    self_trade_prevention = SelfTradePrevention(store)

    def complete(changes: ChangeSet) -> None:
        self_trade_prevention.complete(changes)
        stops.arm(settlement.complete(changes))
        self_trade_prevention.complete(changes)  # an order may wait for one that its group has just ended
        for trade in changes.trades:
            if not trade.order_id:
                quotes.watch(trade.symbol)  # a position that nobody here asked for

    store.on_commit(complete)
    store.on_commit(stops.complete)
    reduce_only = ReduceOnly(cache)
    store.on_commit(reduce_only.complete)
    store.on_loaded(reduce_only.rebuild)
    store.on_dropped(reduce_only.rebuild)
    store.on_dropped(streams.move)
    shard_watch = ShardWatch(store, context.clock, lambda: settings.value.stream_buffer)
    external_repositories = database.repositories(ExternalRepository)
    instruments = Instruments(market, cache.instruments)
    externals = Externals(store, database, external_repositories, instruments)
    adjustments = PositionAdjustments(store, instruments, quotes)
    reconcile = asyncio.Event()
    order_router = OrderRouter(store, engine, context.tasks, start.senders, reconcile.set)
    live_accounts = LiveAccounts(store)
    report_handler = ReportHandler(store, stops, engine, externals, live_accounts, reconcile.set)
    reconciliation = Reconciliation(
        store,
        engine,
        settings,
        externals,
        external_repositories,
        context.tasks,
        live_accounts,
        adjustments,
        order_router,
        report_handler,
        reconcile,
    )
    store.on_recovered(streams.publish_all)
    store.on_published(lambda changes, updates: streams.publish(changes.user_id, updates) if updates else None)

    day_ends = DayEnds(store, calendar, engine.is_connected)
    accounts = Accounts(store, engine, settings)
    orders = OrderService(
        store,
        accounts,
        instruments,
        quotes,
        pre_trade_checks,
        risk,
        stops,
        reduce_only,
        self_trade_prevention,
        lists,
    )
    replaces = ReplaceService(store, instruments, quotes, pre_trade_checks, risk, stops, engine, context.tasks)
    leases = Leases(store, accounts, database.writer(), statements, orders.cancel_leased)
    previews = PreviewService(accounts, instruments, quotes, pre_trade_checks, risk, leases, context.clock)
    groups = GroupService(store, accounts, orders, pre_trade_checks, risk, stops, repositories)
    context.serve(OrderApi(orders, groups, replaces, previews, streams, leases, shard_watch, StrategyOrders(store)))
    context.serve(
        ReconciliationApi(
            ReconciliationService(store, externals, external_repositories, reconciliation, instruments, engine)
        )
    )
    context.serve(AccountApi(AccountService(store, accounts, orders, lists)))

    async def open_first_account(event: Event, receipt: Receipt) -> None:
        await accounts.open_first(event.user_registered.user_id, receipt)

    async def drain() -> None:
        await streams.drain()
        await shard_watch.drain()
        await order_router.idle()

    context.inbox(database, models.InboxRow).subscribe("user.registered", open_first_account)
    ownership = context.shards()
    ownership.on_acquired(store.load)
    ownership.on_lost(store.drop)
    context.on_start(store.open)
    context.on_drain(drain)
    context.ready_when("books", lambda: store.is_open)
    context.ready_when("gateways", lambda: reconciliation.done_once)
    context.background("recover", store.recover)
    context.background("events", report_handler.follow, longest_pause_s=ENGINE_AWAY_PAUSE_S)
    context.background("reconcile", reconciliation.run)
    context.background("prices", quotes.follow)
    context.background("stops", stops.run)
    context.background("stops-retry", stops.retry)
    context.background("day-ends", day_ends.run)
    context.background("self-trades", self_trade_prevention.run)
    context.background("leases", leases.run)
    context.background("instruments", instruments.refresh)
    trimming = Trimming(
        commit_log, repositories, lambda: settings.value.resume_window, context.clock, by_period=database.is_shared
    )
    context.background("trim", trimming.run)
    context.background("settlement", Settlement(store, quotes).run)
    if start.enforce_sessions:
        context.background("margin-calls", MarginCalls(store).run)
