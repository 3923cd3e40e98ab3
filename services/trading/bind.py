"""What the trading service is made of."""

import asyncio

from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.events.v1.events_pb2 import Event
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

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
from services.trading.domain.cache import Book
from services.trading.domain.change_set import Changes
from services.trading.domain.currencies import Currencies
from services.trading.domain.pre_trade_checks import Acceptance
from services.trading.domain.reduce_only import ReduceOnly
from services.trading.domain.trading_days import TradingDays
from services.trading.emulation.exit_checks import ExitChecks
from services.trading.emulation.leases import Leases
from services.trading.emulation.order_groups import GroupSettlement
from services.trading.emulation.self_trade_prevention import CancelFirst
from services.trading.emulation.stops import Stops
from services.trading.external_repository import ExternalRepository
from services.trading.group_service import GroupService
from services.trading.peers.engine_client import Venue
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskGate
from services.trading.preview_service import Previews
from services.trading.reconciliation_api import ReconciliationApi
from services.trading.reconciliation_service import ReconciliationService
from services.trading.replace_service import Replacement
from services.trading.repository import Statements, TradingRepository
from services.trading.service import OrderService
from services.trading.settings import TradingSettings
from services.trading.state.commit_log import Journal
from services.trading.state.outbox import OutboxEvents
from services.trading.state.store import Desk
from services.trading.state.streams import Streams
from services.trading.venue.externals import Externals
from services.trading.venue.order_router import Dispatcher
from services.trading.venue.position_adjustments import PositionAdjustments
from services.trading.venue.reconciliation import Reconciliation
from services.trading.venue.report_handler import Intake

TRIM_EVERY_S = 60.0


def bind(process: ServiceContext) -> None:
    """Build the service."""
    start, settings = process.section(TradingSettings), process.live(TradingSettings)
    database = process.database("trading", models.Base)
    repositories = database.repositories(TradingRepository)
    outbox = process.outbox(database, models.OutboxRow)
    market, venue = process.peer(MarketServiceStub), Venue(process.peer(EngineServiceStub))
    risk = RiskGate(process.peer(RiskServiceStub))

    calendar = Calendar.load()
    days = TradingDays(calendar, process.clock.now_ns)
    book = Book(
        start.kept_finished_orders,
        lambda: settings.value.close_first,
        days,
        Currencies(lambda: settings.value.currency_rates),
        venue.simulated,
        venue.time_in_forces,
        start.enforce_sessions,
    )
    statements = Statements(database)
    journal = Journal(database.writer(), statements, OutboxEvents(outbox), convert.encode_change, book.last_prices)
    desk = Desk(book, journal, repositories, process.clock, convert.encode_change, convert.describe_change)
    streams = Streams(
        process.clock,
        lambda: settings.value.stream_buffer,
        desk.snapshot,
        desk.missed,
        lambda: (journal.trimmed_through, journal.published),
    )
    quotes = Quotes(market, process.tasks, book.last_prices, process.clock, venue.simulated)

    def takes_orders(symbol: str, gateway: str) -> bool:
        # The simulated exchange is open round the clock, unless it keeps the exchanges' hours.
        round_the_clock = venue.simulated.get(gateway, True) and not book.enforces_sessions
        return round_the_clock or calendar.takes_orders(symbol, process.clock.now_ns())

    acceptance = Acceptance(
        book,
        settings,
        quotes,
        connected=venue.is_connected,
        posts=lambda gateway: venue.simulated.get(gateway, True),  # vnpy's gateways have no post-only orders
        takes_orders=takes_orders,
    )
    exits = ExitChecks(desk, risk, process.tasks)
    settlement = GroupSettlement(desk, exits)
    stops = Stops(desk, quotes, acceptance, risk, exits, process.tasks, venue.is_connected)
    cancel_first = CancelFirst(desk)

    def complete(changes: Changes) -> None:
        cancel_first.complete(changes)
        stops.arm(settlement.complete(changes))
        cancel_first.complete(changes)  # an order may wait for one that its group has just ended
        for trade in changes.trades:
            if not trade.order_id:
                quotes.watch(trade.symbol)  # a position that nobody here asked for

    desk.on_commit(complete)
    desk.on_commit(stops.complete)
    reduce_only = ReduceOnly(book)
    desk.on_commit(reduce_only.complete)
    desk.on_reloaded(reduce_only.rebuild)
    external_repositories = database.repositories(ExternalRepository)
    instruments = Instruments(market, book.instruments)
    externals = Externals(desk, database, external_repositories, instruments)
    adjustments = PositionAdjustments(desk, instruments, quotes)
    reconcile = asyncio.Event()
    dispatcher = Dispatcher(desk, venue, process.tasks, start.senders, reconcile.set)
    intake = Intake(desk, stops, venue, externals, reconcile.set)
    reconciliation = Reconciliation(
        desk, venue, settings, external_repositories, process.tasks, adjustments, dispatcher, intake, reconcile
    )
    desk.on_published(lambda changes, news: streams.publish(changes.user_id, news) if news else None)

    day_ends = DayEnds(desk, calendar, venue.is_connected)
    accounts = Accounts(desk, venue, settings)
    orders = OrderService(
        desk, accounts, instruments, quotes, acceptance, risk, stops, reduce_only, cancel_first, repositories
    )
    replacement = Replacement(desk, instruments, quotes, acceptance, risk, stops, venue, process.tasks)
    leases = Leases(desk, accounts, repositories, database.writer(), statements, orders.cancel_leased)
    previews = Previews(accounts, instruments, quotes, acceptance, risk, leases, process.clock)
    groups = GroupService(desk, accounts, orders, acceptance, risk, stops, repositories)
    process.serve(OrderApi(orders, groups, replacement, previews, streams, leases))
    process.serve(
        ReconciliationApi(
            ReconciliationService(desk, externals, external_repositories, reconciliation, instruments, venue)
        )
    )
    process.serve(AccountApi(AccountService(desk, accounts, orders, repositories)))

    async def open_first_account(event: Event) -> None:
        await accounts.open_first(event.user_registered.user_id)

    async def trim() -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            await desk.trim(settings.value.resume_window)

    async def drain() -> None:
        await streams.drain()
        await dispatcher.idle()

    process.events.subscribe("user.registered", open_first_account)
    process.on_start(desk.load)
    process.on_start(leases.load)
    process.on_drain(drain)
    process.ready_when("books", lambda: desk.is_open)
    process.ready_when("gateways", lambda: reconciliation.done_once)
    process.background("recover", desk.recover)
    process.background("events", intake.follow)
    process.background("reconcile", reconciliation.run)
    process.background("prices", quotes.follow)
    process.background("stops", stops.keep)
    process.background("stops-retry", stops.retry)
    process.background("day-ends", day_ends.keep)
    process.background("self-trades", cancel_first.keep)
    process.background("leases", leases.keep)
    process.background("instruments", instruments.refresh)
    process.background("trim", trim)
    process.background("settlement", Settlement(desk, quotes).run)
    if start.enforce_sessions:
        process.background("margin-calls", MarginCalls(desk).run)
