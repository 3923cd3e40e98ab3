"""What the risk service is made of."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.reasons import Reason
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.decimals import plain
from services.kernel.runtime.service_context import ServiceContext
from services.quant.calendar import Calendar
from services.risk import models
from services.risk.api import RiskApi
from services.risk.currency_rates import CurrencyRates
from services.risk.domain.book import AccountBook
from services.risk.domain.day_counts import DayCounts
from services.risk.domain.limits import NO_CHANGES, AccountLimits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.trading_state import EVERYBODY, NO_STATES, AccountStates, TradingStates
from services.risk.peers.price_feed import PriceFeed
from services.risk.peers.trading_feed import TradingFeed
from services.risk.repository import AccountKey, RiskRepository, Upserts
from services.risk.service import RiskService
from services.risk.settings import RiskSettings
from services.risk.state.checkpointer import Keeper
from services.risk.state.enforcer import Enforcer
from services.risk.state.risk_event_log import Journal
from services.risk.state.setting_store import SettingStore


def bind(context: ServiceContext) -> None:
    """Checks in memory, fed by trading and the market, with limits, states, days and events in a database."""
    settings = context.live(RiskSettings)
    database = context.database("risk", models.Base)
    upserts = Upserts(
        day=database.upsert(models.DayRow, ["user_id", "account_id"]),
        event=database.upsert(models.EventRow, ["user_id", "event_id"]),
        counts=database.upsert(models.CountRow, ["user_id", "account_id", "symbol", "trading_day"]),
        feed=database.upsert(models.FeedRow, ["stream"]),
    )
    repositories = database.repositories(partial(RiskRepository, upserts=upserts))
    journal = Journal(repositories, context.clock, settings.value.event_buffer)

    def record_loss(book: AccountBook, daily_pnl: Decimal) -> None:
        limit = "" if book.limits.max_daily_loss is None else plain(book.limits.max_daily_loss)
        numbers = {"limit": limit, "value": plain(-daily_pnl)}
        reason = Reason.RISK_LIMIT_MAX_DAILY_LOSS
        journal.record(book.user_id, book.account_id, reason, "the day's loss has reached max_daily_loss", numbers)
        enforcer.begin(book.account_id)
        keeper.save_soon()

    portfolio = Portfolio(context.clock, settings.value.default_limits(), record_loss)
    states = TradingStates()
    trading = context.peer(OrderServiceStub)
    market, engine = context.peer(MarketServiceStub), context.peer(EngineServiceStub)
    calendar = Calendar.load()
    trading_settings = context.live_section("trading")
    rates = CurrencyRates(trading_settings)
    prices = PriceFeed(market, engine, portfolio, calendar, context.clock, settings.value.price_interval_s, rates.rate)
    trading_settings.on_change(lambda _: prices.revalue())
    counts = DayCounts(calendar)
    feed = TradingFeed(trading, portfolio, counts, prices.catalogue_loaded, context.clock)
    enforcer = Enforcer(trading, states, portfolio, context.clock)

    async def write_limits(account: AccountKey, limits: AccountLimits) -> None:
        async with repositories() as repository:
            await repository.put_limits(account, limits)

    async def write_states(account_id: str, account_states: AccountStates) -> None:
        async with repositories() as repository:
            await repository.put_states(account_id, account_states)

    def apply_limits(account: AccountKey, values: Sequence[AccountLimits]) -> None:
        portfolio.set_limits(account.account_id, values)

    limit_store = SettingStore(NO_CHANGES, write_limits, apply_limits)
    state_store = SettingStore(NO_STATES, write_states, states.put)
    keeper = Keeper(
        repositories, portfolio, limit_store, state_store, counts, context.clock, settings.value.save_interval_s
    )
    risk = RiskService(
        repositories,
        portfolio,
        states,
        limit_store,
        state_store,
        counts,
        feed,
        prices,
        enforcer,
        journal,
        settings,
        context.clock,
    )

    def take_defaults(changed: RiskSettings) -> None:
        defaults = changed.default_limits()
        if defaults != portfolio.defaults:
            portfolio.set_defaults(defaults)
            journal.record("", EVERYBODY, None, "default limits were changed", defaults.to_document())

    settings.on_change(take_defaults)
    context.serve(RiskApi(risk, context.clock))
    context.on_start(keeper.load)
    context.background("prices", prices.run)
    context.background("trading", feed.run)
    context.background("enforcer", enforcer.run)
    context.background("limits", limit_store.run)
    context.background("states", state_store.run)
    context.background("journal", journal.write)
    context.background("days", keeper.run)
    context.ready_when("trading's snapshot", lambda: feed.complete)
    context.on_drain(journal.drain)
    context.on_stop(journal.flush)
    context.on_stop(keeper.save)
    for store in (limit_store, state_store):
        context.on_stop(store.flush)
