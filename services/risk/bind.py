"""Wiring of the risk service."""

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
from services.risk.account_lookup import AccountLookup
from services.risk.api import RiskApi
from services.risk.currency_rates import CurrencyRates
from services.risk.domain.account_exposure import AccountExposure
from services.risk.domain.account_key import AccountKey
from services.risk.domain.limits import NO_CHANGES, AccountLimits
from services.risk.domain.market_status import MarketStatus
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.domain.trading_state import EVERYBODY, NO_STATES, AccountStates, TradingStates
from services.risk.peers.halt_enforcer import HaltEnforcer
from services.risk.peers.price_feed import PriceFeed
from services.risk.peers.shard_feed import ShardFeed
from services.risk.peers.trading_feed import TradingFeed
from services.risk.repository import RiskRepository, Upserts
from services.risk.service import RiskService
from services.risk.setting_service import SettingService
from services.risk.settings import RiskSettings
from services.risk.state.checkpointer import Checkpointer
from services.risk.state.outbox import limits_changed, state_changed
from services.risk.state.risk_event_log import RiskEventLog
from services.risk.state.setting_store import SettingStore
from services.risk.state.setting_watch import SettingWatch


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
    outbox = context.outbox(database, models.OutboxRow)
    shards = context.shards("trading")
    is_shared = shards.is_shared
    leases = context.leases(database) if is_shared else None
    event_log = RiskEventLog(repositories, context.clock, settings.value.event_buffer, leases)

    portfolio = Portfolio(context.clock, settings.value.default_limits())
    states = TradingStates()
    trading = context.peer(OrderServiceStub)
    market, engine = context.peer(MarketServiceStub), context.peer(EngineServiceStub)
    calendar = Calendar.load()
    trading_settings = context.live_section("trading")
    rates = CurrencyRates(trading_settings)
    market_status = MarketStatus(portfolio.prices, context.clock, event_log.observe)
    interval_s = settings.value.price_interval_s
    prices = PriceFeed(market, engine, portfolio, calendar, context.clock, interval_s, rates.rate, market_status)
    trading_settings.on_change(lambda _: prices.revalue())
    counts = ShardCounts(calendar, is_shared=is_shared)
    enforcer = HaltEnforcer(trading, states, portfolio, context.clock)

    async def write_limits(account: AccountKey, limits: AccountLimits) -> None:
        async with repositories() as repository:
            await repository.put_limits(account, limits)
            await repository.add_event(outbox, limits_changed(outbox, account, limits))

    async def write_states(account_id: str, account_states: AccountStates) -> None:
        async with repositories() as repository:
            await repository.put_states(account_id, account_states)
            await repository.add_event(outbox, state_changed(outbox, account_id, account_states))

    def apply_limits(account: AccountKey, values: Sequence[AccountLimits]) -> None:
        portfolio.set_limits(account.user_id, account.account_id, values)

    limit_store = SettingStore(NO_CHANGES, write_limits, apply_limits)
    state_store = SettingStore(NO_STATES, write_states, states.put)
    checkpointer = Checkpointer(
        repositories,
        portfolio,
        limit_store,
        state_store,
        counts,
        context.clock,
        settings.value.save_interval_s,
        is_shared=is_shared,
    )
    peers = trading, portfolio, counts, prices.catalogue_loaded, context.clock
    feed = ShardFeed(*peers, checkpointer.take) if is_shared else TradingFeed(*peers)
    if is_shared:
        shards.on_leaving(checkpointer.leave)
        watch = SettingWatch(repositories, limit_store, state_store, lambda: enforcer.begin(EVERYBODY))
        context.background("settings", watch.run)

    def record_loss(account: AccountExposure, daily_pnl: Decimal) -> None:
        limit = "" if account.limits.max_daily_loss is None else plain(account.limits.max_daily_loss)
        oldest = portfolio.oldest_price(account, context.clock.monotonic())
        numbers = {"limit": limit, "value": plain(-daily_pnl), **oldest}
        reason = Reason.RISK_LIMIT_MAX_DAILY_LOSS
        event_log.record(
            account.user_id, account.account_id, reason, "the day's loss has reached max_daily_loss", numbers
        )
        enforcer.begin(account.account_id)
        checkpointer.save_soon()

    portfolio.on_loss_reached(record_loss)
    lookup = AccountLookup(repositories, portfolio, feed, settings, shards)
    risk = RiskService(
        repositories, portfolio, states, counts, feed, prices, event_log, settings, context.clock, lookup
    )
    setting_service = SettingService(
        lookup, portfolio, states, limit_store, state_store, enforcer, event_log, context.clock
    )

    def apply_defaults(changed: RiskSettings) -> None:
        defaults = changed.default_limits()
        if defaults != portfolio.defaults:
            portfolio.set_defaults(defaults)
            event_log.observe(None, "default limits were changed", defaults.to_document())

    settings.on_change(apply_defaults)
    context.serve(RiskApi(risk, setting_service, context.clock))
    context.on_start(checkpointer.load)
    context.background("prices", prices.run)
    context.background("trading", feed.run)
    context.background("enforcer", enforcer.run)
    context.background("limits", limit_store.run)
    context.background("states", state_store.run)
    context.background("event_log", event_log.write)
    if event_log.watch is not None:
        context.background("events-of-everybody", event_log.watch.run)
    context.background("days", checkpointer.run)
    context.ready_when("trading's snapshot", lambda: feed.complete)
    context.on_drain(event_log.drain)
    context.on_stop(event_log.flush)
    context.on_stop(checkpointer.save)
    for store in (limit_store, state_store):
        context.on_stop(store.flush)
