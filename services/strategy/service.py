"""Rules of strategies: what may be created, changed, started, and seen, always by their owner."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from redfire.events.v1.events_pb2 import Event
from redfire.reasons import Reason

from services.kernel.audit.draft import describe
from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, Duplicate, FailedPrecondition
from services.kernel.events.outbox import Outbox
from services.kernel.identifiers import new_id
from services.kernel.paging import Page, PageResult
from services.quant.calendar import Calendar
from services.quant.sdk.strategy_class import ClassDescription
from services.strategy import parameters as parameter_rules
from services.strategy.active_strategies import ActiveStrategies, TooManyStrategies
from services.strategy.catalogue import Catalogue
from services.strategy.events import StrategyEvent, StrategyEvents
from services.strategy.metrics import Performance, performance
from services.strategy.platform_client import PlatformClient
from services.strategy.repository import StrategyRepository
from services.strategy.sandbox.admission import Admission
from services.strategy.settings import StrategySettings
from services.strategy.starter import Starter
from services.strategy.strategy import LogLine, Status, Strategy

TRADE = "trading:write"
"""The permission without which nobody starts a strategy, whatever else they may do with it."""
CREATED, DELETED = "strategy.created", "strategy.deleted"
_DEPOSITS_S = 60.0
_PERFORMANCE_S = 1.0


class StrategyIsRunning(FailedPrecondition):
    """The strategy must be stopped first."""

    reason = Reason.STRATEGY_RUNNING


class StrategyService:
    """Operations of owners on their strategies."""

    def __init__(
        self,
        repositories: Repositories[StrategyRepository],
        catalogue: Catalogue,
        active: ActiveStrategies,
        events: StrategyEvents,
        platform: PlatformClient,
        admission: Admission,
        outbox: Outbox,
        settings: Callable[[], StrategySettings],
        clock: Clock,
    ) -> None:
        self._repositories = repositories
        self._catalogue = catalogue
        self._active = active
        self._events = events
        self._platform = platform
        self._admission = admission
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._calendar = Calendar.load()
        self._deposits: TtlCache[str, Decimal] = TtlCache(10_000, _DEPOSITS_S, clock)
        self._performances: TtlCache[str, Performance] = TtlCache(1_000, _PERFORMANCE_S, clock)

    async def list_strategy_classes(self, page: Page) -> PageResult[ClassDescription]:
        """The classes that can be run, and the files that did not import, by name."""
        classes: Sequence[ClassDescription] = await self._catalogue.list_classes()
        if page.after is not None:
            classes = [item for item in classes if item.name > page.after[0]]
        return page.slice(classes[: page.size + 1], key=lambda item: [item.name])

    async def create_strategy(
        self,
        user_id: str,
        *,
        display_name: str,
        class_name: str,
        symbol: str,
        account_id: str,
        parameters: Mapping[str, Any],
        request_id: str,
        variables: Mapping[str, Any] | None = None,
    ) -> Strategy:
        """A new strategy; the same request_id again gives the one that it made.

        With `variables` its first run goes on with them, as a later one does with those of the run before.

        Raises UnknownStrategyClass, BrokenStrategyClass, InvalidParameter, UnknownSymbol, NotFound for an account that
        is not the user's, TooManyStrategies.
        """
        if request_id:
            async with self._repositories.read() as repository:
                if made := await repository.find_by_request(user_id, request_id):
                    return made
        description = await self._catalogue.get(class_name)
        values = parameter_rules.merged(description, parameters)
        await self._platform.require_symbol(symbol)
        account_id = await self._platform.account_id(user_id, account_id)
        now = self._clock.now()
        strategy = Strategy(
            user_id=user_id,
            strategy_id=new_id(),
            display_name=display_name or class_name,
            class_name=class_name,
            symbol=symbol,
            account_id=account_id,
            parameters=values,
            create_time=now,
            update_time=now,
            variables=dict(variables or {}),
            ran=bool(variables),
        )
        try:
            async with self._repositories() as repository:
                if await repository.count(user_id) >= self._settings().max_strategies:
                    raise TooManyStrategies(max_strategies=self._settings().max_strategies)
                await repository.add(strategy, request_id)
                await repository.add_event(self._outbox, self._created(strategy))
        except Duplicate:
            async with self._repositories.read() as repository:
                made = await repository.find_by_request(user_id, request_id)
            if made is None:
                raise
            return made
        self._outbox.wake()
        return strategy

    async def get_strategy(self, user_id: str, strategy_id: str) -> Strategy:
        """Raises NotFound, whether it does not exist or belongs to somebody else."""
        known = self._active.find(strategy_id)
        if known is not None and known.user_id == user_id:
            return known
        async with self._repositories.read() as repository:
            return await repository.get(user_id, strategy_id)

    async def list_strategies(
        self, user_id: str, page: Page, *, status: Status | None, class_name: str
    ) -> PageResult[Strategy]:
        """The user's strategies, newest first."""
        async with self._repositories.read() as repository:
            rows = await repository.list_strategies(
                user_id, status=status, class_name=class_name, after=page.after, limit=page.size + 1
            )
        return page.slice(rows, key=lambda strategy: [strategy.strategy_id])

    async def update_strategy(
        self, user_id: str, strategy_id: str, *, display_name: str, parameters: Mapping[str, Any]
    ) -> Strategy:
        """Other parameters, or another name. Raises StrategyIsRunning, InvalidParameter."""
        strategy = await self.get_strategy(user_id, strategy_id)
        values = strategy.parameters
        if parameters:
            description = await self._catalogue.get(strategy.class_name)
            values = parameter_rules.merged(description, parameters, strategy.parameters)
        async with self._repositories() as repository:
            strategy = await repository.get(user_id, strategy_id)
            self._require_stopped(strategy)
            before = {"display_name": strategy.display_name, "parameters": strategy.parameters}
            strategy = replace(
                strategy,
                display_name=display_name or strategy.display_name,
                parameters=values,
                update_time=self._clock.now(),
            )
            after = {"display_name": strategy.display_name, "parameters": strategy.parameters}
            describe(f"strategies/{strategy_id}", before=before, after=after)
            await repository.put(strategy)
        self._events.publish(strategy_id, strategy=strategy)
        return strategy

    async def delete_strategy(self, user_id: str, strategy_id: str) -> None:
        """Forget a strategy and its log; its orders and trades stay. Raises StrategyIsRunning."""
        async with self._repositories() as repository:
            self._require_stopped(await repository.get(user_id, strategy_id))
            await repository.delete(user_id, strategy_id)
            event = self._outbox.event(DELETED)
            event.strategy_deleted.user_id, event.strategy_deleted.strategy_id = user_id, strategy_id
            await repository.add_event(self._outbox, event)
        self._outbox.wake()
        self._events.end(strategy_id, "DELETED")

    async def start_strategy(self, user_id: str, strategy_id: str, starter: Starter) -> Strategy:
        """Start a strategy, which may do what its starter may; running already: as it is.

        Raises Denied, NoSandbox, BrokenStrategyClass, TooManyStrategies.
        """
        if not starter.has(TRADE):
            raise Denied(f"the permission {TRADE} is needed to start a strategy", permission=TRADE)
        self._admission.require_strategy(starter)
        strategy = await self.get_strategy(user_id, strategy_id)
        if strategy.status in (Status.STARTING, Status.RUNNING):
            return strategy
        if strategy.status is Status.STOPPING:
            raise StrategyIsRunning("it is still stopping")
        await self._catalogue.get(strategy.class_name)
        # Read again: it may have been started or deleted while the classes were looked up.
        strategy = await self.get_strategy(user_id, strategy_id)
        if strategy.status.is_active:
            return strategy
        return await self._active.start(strategy, starter, self._settings().max_running)

    async def stop_strategy(self, user_id: str, strategy_id: str) -> Strategy:
        """Stop a strategy and cancel its open orders; stopped already: as it is."""
        strategy = await self.get_strategy(user_id, strategy_id)
        if not strategy.status.is_active:
            return strategy
        stopped = await self._active.stop(strategy_id, self._settings().stop_timeout_s)
        return stopped or await self.get_strategy(user_id, strategy_id)

    async def get_performance(self, user_id: str, strategy_id: str) -> Performance:
        """Its performance so far, from its trades; capital is what was paid into its account."""
        strategy = await self.get_strategy(user_id, strategy_id)
        if known := self._performances.get(strategy_id):
            return known
        contract_size = await self._platform.contract_size(strategy.symbol)
        trades = await self._platform.trades(user_id, strategy.account_id, strategy_id)
        capital = self._deposits.get(strategy.account_id)
        if capital is None:
            capital = await self._platform.deposits(user_id, strategy.account_id)
            self._deposits.put(strategy.account_id, capital)
        price = await self._platform.last_price(user_id, strategy.symbol)
        computed = performance(
            trades,
            contract_size,
            capital,
            None if price is None else Decimal(str(price)),
            strategy.symbol,
            self._calendar,
            self._clock.now() if strategy.status.is_active else None,
        )
        self._performances.put(strategy_id, computed)
        return computed

    async def list_strategy_logs(self, user_id: str, strategy_id: str, page: Page, level: str) -> PageResult[LogLine]:
        """Lines of its log, newest first."""
        async with self._repositories.read() as repository:
            await repository.get(user_id, strategy_id)
            rows = await repository.list_logs(user_id, strategy_id, level=level, after=page.after, limit=page.size + 1)
        return page.slice(rows, key=lambda line: [line.sequence])

    async def stream_strategy_events(
        self, user_id: str, strategy_id: str, heartbeat_s: float
    ) -> AsyncGenerator[StrategyEvent, None]:
        """The strategy as it is now, then its changes and log lines."""
        with self._events.follow(strategy_id) as subscriber:
            sequence = self._events.sequence
            yield StrategyEvent(sequence, strategy=await self.get_strategy(user_id, strategy_id))
            events = self._events.events(subscriber, heartbeat_s, sequence)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

    def _created(self, strategy: Strategy) -> Event:
        event = self._outbox.event(CREATED)
        created = event.strategy_created
        created.user_id, created.strategy_id = strategy.user_id, strategy.strategy_id
        created.class_name, created.symbol = strategy.class_name, strategy.symbol
        created.account_id = strategy.account_id
        return event

    def _require_stopped(self, strategy: Strategy) -> None:
        if strategy.status.is_active or self._active.find(strategy.strategy_id):
            raise StrategyIsRunning
