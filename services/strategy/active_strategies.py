"""Strategies that run: what workers report of them is kept, published to subscribers, and acted upon."""

import asyncio
import contextvars
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prometheus_client import Gauge
from redfire.events.v1.events_pb2 import Event
from redfire.reasons import Reason

from services.kernel.backoff import Backoff
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.data.writes import Fence
from services.kernel.errors import (
    CommitUnknown,
    DeadlineExceeded,
    RedFireError,
    ResourceExhausted,
    ShardMoved,
    Unavailable,
)
from services.kernel.events.outbox import Outbox
from services.kernel.shards.ownership import ALL_SHARDS, Ownership, shard_of
from services.kernel.tasks import Tasks
from services.strategy.events import StrategyEvents
from services.strategy.platform_client import PlatformClient
from services.strategy.repository import StrategyRepository
from services.strategy.sandbox.admission import Admission, NoSandbox
from services.strategy.starter import Starter
from services.strategy.starter_watch import StarterWatch
from services.strategy.strategy import LogLine, Report, Status, Strategy
from services.strategy.workers.assignments import Assignments
from services.strategy.workers.supervisor import Supervisor

log = logging.getLogger(__name__)
STARTED, STOPPED, FAILED = "strategy.started", "strategy.stopped", "strategy.failed"
active_strategies = Gauge("active_strategies", "Strategies that run or are about to.")
_SWEEP_S = 3.0
_SWEEP_AGAIN_S = 1.0
_RENEW_S = 1.0
_TRIM_EVERY = 100
_LOOK_S = 0.5
_MISSING_TIMES = 3
_LEAVE_S = 2.3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class TooManyStrategies(ResourceExhausted):
    """An owner has too many strategies already, or too many run."""

    reason = Reason.OVERLOADED


@dataclass(slots=True)
class _Entry:
    """An active strategy: as it is, and as was last `kept` and published. Its lock keeps writes in order; `over` is set
    once it is stopped or failed, or another replica's. `leaving`: it stops here, to go on at another replica."""

    strategy: Strategy
    kept: Strategy
    fence: Fence
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False
    leaving: bool = False


class ActiveStrategies:
    """The strategies that a worker has or will have: of the users whose shards this process has."""

    def __init__(
        self,
        repositories: Repositories[StrategyRepository],
        assignments: Assignments,
        supervisor: Supervisor,
        events: StrategyEvents,
        platform: PlatformClient,
        outbox: Outbox,
        tasks: Tasks,
        clock: Clock,
        shards: Ownership,
        log_lines: int,
        starters: StarterWatch,
        admission: Admission,
    ) -> None:
        self._repositories = repositories
        self._assignments = assignments
        self._supervisor = supervisor
        self._events = events
        self._platform = platform
        self._outbox = outbox
        self._tasks = tasks
        self._clock = clock
        self._shards = shards
        self._log_lines = log_lines
        self._starters = starters
        self._admission = admission
        self._entries: dict[str, _Entry] = {}
        self._sequences: dict[str, int] = {}
        supervisor.on_failed(self.failed)

    def find(self, strategy_id: str) -> Strategy | None:
        """An active strategy as it is now."""
        entry = self._entries.get(strategy_id)
        return entry.kept if entry else None

    async def take(self, shards: Mapping[int, int]) -> None:
        """Run what ran of the users of shards that come, epochs by shard; what was stopping has stopped."""
        async with self._repositories.read() as repository:
            active = await repository.list_active()
        for strategy in active:
            shard = shard_of(strategy.user_id)
            if shard not in shards:
                continue
            entry = self._entries[strategy.strategy_id] = _Entry(strategy, strategy, Fence(shard, shards[shard]))
            if strategy.status is Status.STOPPING:
                self._spawn("stopped strategy", self._finish(entry, Status.STOPPED, ""))
                continue
            try:
                self._admission.require_strategy(strategy.starter or Starter())
            except NoSandbox as error:
                self._spawn("strategy without a sandbox", self._finish(entry, Status.ERROR, error.message))
                continue
            await self._save(entry, replace(strategy, status=Status.STARTING))
            self._assign(entry)

    async def leave(self, shards: Collection[int]) -> None:
        """Have workers leave the market in order with the strategies of shards that go to another replica."""
        if len(shards) == len(ALL_SHARDS):
            await self._supervisor.drain()
            return
        leaving = [entry for entry in self._entries.values() if entry.fence.shard in shards]
        for entry in leaving:
            entry.leaving = True
            strategy_id = entry.strategy.strategy_id
            if self._assignments.connected(strategy_id):
                self._assignments.stop(strategy_id)
            elif not entry.ending:
                self._forget(entry)
        if leaving:
            await asyncio.wait([asyncio.ensure_future(entry.over.wait()) for entry in leaving], timeout=_LEAVE_S)

    def drop(self, shards: Collection[int]) -> None:
        """Forget the strategies of shards that another replica has, or may have; what still runs them is ended."""
        for entry in [entry for entry in self._entries.values() if entry.fence.shard in shards]:
            self._supervisor.end(entry.strategy.strategy_id)
            entry.ending = True
            self._forget(entry)

    async def start(self, strategy: Strategy, starter: Starter, most: int) -> Strategy:
        """Have a strategy run, where fewer than `most` of all users do. Raises TooManyStrategies, ShardMoved."""
        if entry := self._entries.get(strategy.strategy_id):
            return entry.strategy
        fence = self._shards.fence(strategy.user_id)
        entry = self._entries[strategy.strategy_id] = _Entry(strategy, strategy, fence)
        wanted = replace(strategy, status=Status.STARTING, error="", starter=starter)
        try:
            await self._save(entry, wanted, most=most)
        except (CommitUnknown, asyncio.CancelledError):
            # It may be written, and the caller gone: nothing is left half begun.
            self._spawn("start strategy", self._go_on_starting(entry, most))
            raise
        except BaseException:
            self._forget(entry)
            raise
        self._assign(entry)
        return entry.strategy

    async def stop(self, strategy_id: str, timeout_s: float) -> Strategy | None:
        """Stop a strategy and wait for its end, at most so long; None when it does not run."""
        entry = self._entries.get(strategy_id)
        if entry is None:
            return None
        await self._save_or_restore(entry, Status.STOPPING)
        connected = self._assignments.connected(strategy_id)
        self._assignments.stop(strategy_id)
        if connected:
            self._spawn("stop strategy", self._ensure_end(entry))
        else:
            await self._finish(entry, Status.STOPPED, "")
        try:
            async with asyncio.timeout(timeout_s):
                await entry.over.wait()
        except TimeoutError:
            log.info("strategy %s takes long to stop", strategy_id)
        return entry.strategy

    async def report_strategies(self, worker_id: str, reports: Sequence[Report]) -> None:
        """Take a worker's report on its strategies."""
        for report in reports:
            self._assignments.require(worker_id, report.strategy_id)
            entry = self._entries.get(report.strategy_id)
            if entry is None or entry.ending:
                continue
            status = report.status
            if entry.strategy.status is Status.STOPPING and status.is_active:
                status = Status.STOPPING
            elif entry.leaving and status is Status.STOPPING:
                status = entry.strategy.status  # it goes on elsewhere
            known = replace(
                entry.strategy,
                variables=report.variables or entry.strategy.variables,
                position=report.position,
                ran=entry.strategy.ran or status is Status.RUNNING,
            )
            if status.is_active:
                await self._save(entry, replace(known, status=status), report.lines)
                self._assignments.update(entry.strategy)
            elif entry.leaving and status is Status.STOPPED and known.status is not Status.STOPPING:
                await self._save(entry, known, report.lines)
                self._forget(entry)
            else:
                entry.strategy = known
                await self._finish(entry, status, report.error, report.lines)

    async def failed(self, strategy_id: str, error: str) -> None:
        """Set a strategy to ERROR: it blocked or ended its worker, or its owner may not trade any more."""
        if (entry := self._entries.get(strategy_id)) and not entry.ending:
            line = LogLine("ERROR", error, self._clock.now())
            await self._finish(entry, Status.ERROR, error, (line,), sweep_again=True)

    async def keep_tokens(self) -> None:
        """Renew workers' tokens before they end, until cancelled."""
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._assignments.renew_tokens(asyncio.get_running_loop().time())
            ended = [
                (entry.strategy.strategy_id, self._starters.reason(entry.strategy.starter)) for entry in self._running()
            ]
            for strategy_id, reason in ended:
                if reason:
                    self._assignments.stop(strategy_id)
                    await self.failed(strategy_id, reason)
            for strategy_id, reason in self._assignments.take_denied():
                self._assignments.stop(strategy_id)
                await self.failed(strategy_id, f"its owner may not trade: {reason}")

    def _running(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if not entry.ending]

    async def _finish(
        self,
        entry: _Entry,
        status: Status,
        error: str,
        lines: Sequence[LogLine] = (),
        *,
        sweep_again: bool = False,
    ) -> None:
        if entry.ending:
            return
        entry.ending = True
        # In a task of its own: the worker, or the caller, that waits for it may be gone before the database is back.
        await asyncio.shield(self._spawn("end of strategy", self._end(entry, status, error, lines), awaited=True))
        if sweep_again:
            # An order may have been on its way when the worker died.
            self._spawn("cancel orders", self._sweep_later(entry.strategy))

    async def _end(self, entry: _Entry, status: Status, error: str, lines: Sequence[LogLine]) -> None:
        """Write the end of a strategy, for as long as it takes and it is this replica's."""
        strategy = entry.strategy
        self._assignments.withdraw(strategy.strategy_id)
        await self._sweep(strategy)
        try:
            await self._save_surely(entry, replace(strategy, status=status, error=error), lines)
        finally:
            self._forget(entry)

    async def _go_on_starting(self, entry: _Entry, most: int) -> None:
        """Start a strategy of which nobody knows whether that is written."""
        try:
            await self._save_surely(entry, entry.strategy, most=most)
        except (ShardMoved, TooManyStrategies):
            self._forget(entry)
        else:
            self._assign(entry)

    def _assign(self, entry: _Entry) -> None:
        """Have a worker run it, unless its shard has gone meanwhile, or it was stopped."""
        if self._entries.get(entry.strategy.strategy_id) is entry and not entry.ending:
            self._assignments.assign(entry.strategy)
            self._supervisor.wake()
            self._count()

    def _forget(self, entry: _Entry) -> None:
        """Run a strategy no more."""
        strategy_id = entry.strategy.strategy_id
        self._assignments.withdraw(strategy_id)
        if self._entries.get(strategy_id) is entry:
            del self._entries[strategy_id]
        self._sequences.pop(strategy_id, None)  # another replica may write its log
        entry.over.set()
        self._count()

    async def _ensure_end(self, entry: _Entry) -> None:
        """A worker that dies while it stops a strategy reports nothing any more."""
        missing = 0
        while not entry.over.is_set() and missing < _MISSING_TIMES:
            await asyncio.sleep(_LOOK_S)
            missing = 0 if self._assignments.connected(entry.strategy.strategy_id) else missing + 1
        await self._finish(entry, Status.STOPPED, "")

    async def _sweep(self, strategy: Strategy) -> None:
        """The worker has cancelled them; this is for the one that could not."""
        try:
            await asyncio.wait_for(
                self._platform.cancel_open_orders(strategy.user_id, strategy.account_id, strategy.strategy_id), _SWEEP_S
            )
        except (RedFireError, TimeoutError) as failure:
            log.warning("orders of strategy %s may be open: %s", strategy.strategy_id, failure)

    async def _sweep_later(self, strategy: Strategy) -> None:
        await asyncio.sleep(_SWEEP_AGAIN_S)
        if strategy.strategy_id not in self._entries:
            await self._sweep(strategy)

    async def _save_or_restore(self, entry: _Entry, status: Status) -> None:
        """Write another status; what is not written does not hold."""
        former = entry.strategy.status
        try:
            await self._save(entry, replace(entry.strategy, status=status))
        except BaseException:
            entry.strategy = replace(entry.strategy, status=former)
            raise

    async def _save_surely(
        self, entry: _Entry, strategy: Strategy, lines: Sequence[LogLine] = (), most: int | None = None
    ) -> None:
        """Write what nobody will ask for again, however long the database is away, or what came of it meanwhile.

        Raises ShardMoved, TooManyStrategies.
        """
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            try:
                await self._save(entry, strategy, lines, most)
            except ShardMoved:
                raise
            except (Unavailable, DeadlineExceeded) as error:
                log.warning("strategy %s is written again: %s", strategy.strategy_id, error.message)
                await asyncio.sleep(backoff.pause_s())
                strategy = entry.strategy
            else:
                return

    async def _save(
        self, entry: _Entry, strategy: Strategy, lines: Sequence[LogLine] = (), most: int | None = None
    ) -> None:
        strategy = entry.strategy = replace(strategy, update_time=self._clock.now())
        async with entry.lock:
            former = entry.kept.status
            async with self._repositories() as repository:
                # Another write may have come between: the last state is what counts.
                strategy = entry.strategy
                await repository.hold(entry.fence)
                # Replicas write one after the other: none comes between.
                if most is not None and await repository.count_active(strategy.strategy_id) >= most:
                    raise TooManyStrategies("too many strategies run already", max_running=most)
                await repository.put(strategy)
                kept = await self._keep_lines(repository, strategy, lines)
                event = None if strategy.status is former else self._event(strategy)
                if event is not None:
                    await repository.add_event(self._outbox, event)
            entry.kept = strategy
            self._events.publish(strategy.strategy_id, strategy=strategy)
            for line in kept:
                self._events.publish(strategy.strategy_id, line=line)
            if event is not None:
                self._outbox.wake()

    async def _keep_lines(
        self, repository: StrategyRepository, strategy: Strategy, lines: Sequence[LogLine]
    ) -> Sequence[LogLine]:
        if not lines:
            return ()
        key = (strategy.user_id, strategy.strategy_id)
        last = self._sequences.get(strategy.strategy_id)
        if last is None:
            last = await repository.last_log_sequence(*key)
        kept = await repository.add_logs(*key, lines, last + 1)
        now = last + len(lines)
        self._sequences[strategy.strategy_id] = now
        if now // _TRIM_EVERY != last // _TRIM_EVERY:
            await repository.trim_logs(*key, now - self._log_lines)
        return kept

    def _event(self, strategy: Strategy) -> Event | None:
        """The event of a strategy that has come to another status."""
        event = None
        if strategy.status is Status.STARTING:
            event = self._outbox.event(STARTED)
            event.strategy_started.user_id = strategy.user_id
            event.strategy_started.strategy_id = strategy.strategy_id
        elif strategy.status is Status.STOPPED:
            event = self._outbox.event(STOPPED)
            event.strategy_stopped.user_id = strategy.user_id
            event.strategy_stopped.strategy_id = strategy.strategy_id
        elif strategy.status is Status.ERROR:
            event = self._outbox.event(FAILED)
            event.strategy_failed.user_id = strategy.user_id
            event.strategy_failed.strategy_id = strategy.strategy_id
            event.strategy_failed.error = strategy.error
        return event

    def _spawn(self, name: str, work: Coroutine[Any, Any, None], *, awaited: bool = False) -> "asyncio.Task[None]":
        # What goes on after a call must not end with the call's deadline.
        return contextvars.Context().run(partial(self._tasks.spawn, name, work, awaited=awaited))

    def _count(self) -> None:
        active_strategies.set(len(self._entries))
