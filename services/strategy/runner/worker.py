"""A worker process: takes assignments from the strategy service, runs them, reports their state."""

import asyncio
import logging
from contextlib import aclosing, suppress

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import worker_pb2

from services.kernel.clock import Clock
from services.kernel.errors import Denied, RedFireError, Unauthenticated
from services.kernel.rpc.client import answer, messages
from services.kernel.rpc.silence import until_silent
from services.quant.sdk.guard import Guard
from services.quant.sdk.loading import Loader
from services.quant.sdk.strategy_class import ClassDescription
from services.quant.sdk.worker_heartbeat import HeartbeatFile, Slot
from services.strategy.runner.connections import Connections
from services.strategy.runner.report import Phase
from services.strategy.runner.runner import StrategyRunner

log = logging.getLogger(__name__)
_BEAT_S = 0.25
_REPORT_S = 1.0
_RETRY_S = 0.5
_LEAVE_S = 4.0
_TIMEOUT_S = 5.0


class Worker:
    """Runs strategies until the service ends the stream of assignments."""

    def __init__(
        self, worker_id: str, connections: Connections, loader: Loader, clock: Clock, heartbeat: HeartbeatFile | None
    ) -> None:
        self._worker_id = worker_id
        self._connections = connections
        self._loader = loader
        self._clock = clock
        self._heartbeat = heartbeat
        self._runners: dict[str, StrategyRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots: dict[str, Slot] = {}
        self._again: dict[str, worker_pb2.WatchAssignmentsResponse.Start] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the service ends the stream; then strategies leave the market in order."""
        helpers = [asyncio.create_task(self._beat()), asyncio.create_task(self._report_until_cancelled())]
        try:
            await self._follow()
            await self._leave()
        finally:
            for task in (*helpers, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(*helpers, *self._tasks.values(), return_exceptions=True)

    async def scan(self) -> None:
        """Report the classes that there are."""
        classes: list[ClassDescription] = []
        if self._heartbeat:
            self._heartbeat.beat()
        for descriptions in self._loader.scan(self._heartbeat):
            classes.extend(descriptions)
        request = worker_pb2.ReportClassesRequest(
            worker_id=self._worker_id, classes=[_class_to_pb(one) for one in classes]
        )
        while True:
            try:
                await answer(self._connections.worker.ReportClasses(request, **self._with()))
                return
            except (Unauthenticated, Denied):
                raise
            except RedFireError as error:
                log.warning("classes are not reported yet: %s", error.message)
                await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        request = worker_pb2.WatchAssignmentsRequest(worker_id=self._worker_id)
        while True:
            named: set[str] = set()
            synced = False
            try:
                stream = self._connections.worker.WatchAssignments(request, metadata=self._connections.worker_metadata)
                async with aclosing(until_silent(messages(stream))) as assignments:
                    async for message in assignments:
                        self._take(message, named)
                        if message.HasField("heartbeat") and not synced:
                            # All that is assigned has been named: what is not was taken away meanwhile.
                            synced = True
                            for strategy_id in set(self._runners) - named:
                                self._runners[strategy_id].stop()
                return
            except (Unauthenticated, Denied):
                raise
            except RedFireError as error:
                log.warning("the strategy service does not answer: %s", error.message)
                await asyncio.sleep(_RETRY_S)

    def _take(self, message: worker_pb2.WatchAssignmentsResponse, named: set[str]) -> None:
        if message.HasField("start"):
            strategy_id = message.start.strategy.strategy_id
            named.add(strategy_id)
            runner = self._runners.get(strategy_id)
            if runner is None:
                self._start(message.start)
            elif runner.report.phase in (Phase.STOPPED, Phase.ERROR, Phase.STOPPING):
                self._again[strategy_id] = message.start
            else:
                runner.access.renew(message.start.access_token)
        elif message.HasField("stop"):
            self._again.pop(message.stop.strategy_id, None)
            if runner := self._runners.get(message.stop.strategy_id):
                runner.stop()
        elif message.HasField("worker_token"):
            self._connections.renew(message.worker_token)
        elif message.HasField("token") and (runner := self._runners.get(message.token.strategy_id)):
            runner.access.renew(message.token.access_token)

    def _start(self, start: worker_pb2.WatchAssignmentsResponse.Start) -> None:
        strategy_id = start.strategy.strategy_id
        slot = self._heartbeat.take(strategy_id) if self._heartbeat else None
        if slot is not None:
            self._slots[strategy_id] = slot
        runner = StrategyRunner(start, self._connections, self._loader, Guard(slot), self._clock, self._changed.set)
        self._runners[strategy_id] = runner
        self._tasks[strategy_id] = asyncio.create_task(runner.run(), name=strategy_id)

    async def _leave(self) -> None:
        """Cancel orders and report all states: the platform stops."""
        for runner in self._runners.values():
            runner.stop(suspend=True)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=_LEAVE_S)
        await self._report(final=True)

    async def _report_until_cancelled(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REPORT_S):
                    await self._changed.wait()
            urgent = self._changed.is_set()
            self._changed.clear()
            if not await self._report(only_urgent=urgent):
                await asyncio.sleep(_RETRY_S)
                self._changed.set()

    async def _report(self, *, only_urgent: bool = False, final: bool = False) -> bool:
        """Send what changed; False when it did not arrive. Strategies that are over are forgotten once it did."""
        request = worker_pb2.ReportStrategiesRequest(worker_id=self._worker_id)
        sent = []
        for runner in list(self._runners.values()):
            if runner.report.changed and not (only_urgent and not runner.report.urgent):
                runner.refresh()
                urgent = runner.report.urgent
                message, lines = runner.report.take()
                request.reports.append(message)
                sent.append((runner, lines, urgent))
        if not sent:
            return True
        try:
            await answer(self._connections.worker.ReportStrategies(request, **self._with()))
        except RedFireError as error:
            log.warning("a report did not arrive: %s", error.message)
            for runner, lines, urgent in sent:
                runner.report.put_back(lines, urgent)
            return False
        for runner, _, _ in sent:
            if runner.report.phase in (Phase.STOPPED, Phase.ERROR) and not runner.report.changed and not final:
                self._forget(runner.report.strategy_id)
        return True

    def _forget(self, strategy_id: str) -> None:
        # Its feeds may take a moment to close: others do not wait for that.
        self._ended.add(task := self._tasks.pop(strategy_id))
        task.add_done_callback(self._ended.discard)
        del self._runners[strategy_id]
        if self._heartbeat and (slot := self._slots.pop(strategy_id, None)):
            self._heartbeat.release(slot)
        if again := self._again.pop(strategy_id, None):
            self._start(again)

    async def _beat(self) -> None:
        while self._heartbeat is not None:
            self._heartbeat.beat()
            await asyncio.sleep(_BEAT_S)

    def _with(self) -> dict[str, object]:
        return {"timeout": _TIMEOUT_S, "metadata": self._connections.worker_metadata}


def _class_to_pb(description: ClassDescription) -> pb.StrategyClass:
    made = pb.StrategyClass(
        name=description.name,
        family=f"STRATEGY_FAMILY_{description.family}",
        doc=description.doc,
        error=description.error,
    )
    for parameter in description.parameters:
        made.parameters.add(
            name=parameter.name, type=parameter.type, default_value=ParseDict(parameter.default, Value())
        )
    return made
