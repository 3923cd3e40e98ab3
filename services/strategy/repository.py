"""Strategies, their logs and the list of classes in the database. What users ask is scoped by owner."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from redfire.events.v1.events_pb2 import Event
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.data.writes import Fence, hold_fences
from services.kernel.errors import NotFound
from services.kernel.events.outbox import Outbox
from services.strategy.models import ClassesRow, LogRow, StrategyRow
from services.strategy.starter import Starter
from services.strategy.strategy import LogLine, Status, Strategy

_COLUMNS = (
    "user_id", "strategy_id", "display_name", "class_name", "symbol", "account_id", "parameters", "variables",
    "position", "error", "ran", "create_time", "update_time",
)  # fmt: skip


class StrategyRepository:
    """All reads and writes of the strategy database."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def hold(self, fence: Fence) -> None:
        """Hold a fence to the end of this transaction. Raises Fenced."""
        await hold_fences(self._session, {fence})

    async def get(self, user_id: str, strategy_id: str) -> Strategy:
        """Raises NotFound, whether it does not exist or belongs to somebody else."""
        row = await self._session.get(StrategyRow, (user_id, strategy_id))
        if row is None:
            raise NotFound("strategy", strategy_id)
        return _to_domain(row)

    async def find_by_request(self, user_id: str, request_id: str) -> Strategy | None:
        """The strategy that an earlier call with this id created."""
        query = select(StrategyRow).where(StrategyRow.user_id == user_id, StrategyRow.request_id == request_id)
        row = await self._session.scalar(query)
        return _to_domain(row) if row else None

    async def count(self, user_id: str) -> int:
        """The number that an owner has."""
        query = select(func.count()).select_from(StrategyRow).where(StrategyRow.user_id == user_id)
        return await self._session.scalar(query) or 0

    async def list_strategies(
        self, user_id: str, *, status: Status | None, class_name: str, after: Sequence[Any] | None, limit: int
    ) -> Sequence[Strategy]:
        """An owner's strategies, newest first. `after`: the id of the last one of the page before."""
        query = select(StrategyRow).where(StrategyRow.user_id == user_id)
        if status is not None:
            query = query.where(StrategyRow.status == status.value)
        if class_name:
            query = query.where(StrategyRow.class_name == class_name)
        if after is not None:
            query = query.where(StrategyRow.strategy_id < after[0])
        rows = await self._session.scalars(query.order_by(StrategyRow.strategy_id.desc()).limit(limit))
        return [_to_domain(row) for row in rows]

    async def list_active(self) -> Sequence[Strategy]:
        """Everybody's strategies that a worker should have."""
        active = [status.value for status in Status if status.is_active]
        rows = await self._session.scalars(select(StrategyRow).where(StrategyRow.status.in_(active)))
        return [_to_domain(row) for row in rows]

    async def count_active(self, but: str) -> int:
        """The number of everybody's strategies that a worker should have, without one."""
        active = [status.value for status in Status if status.is_active]
        query = select(func.count()).select_from(StrategyRow).where(StrategyRow.status.in_(active))
        query = query.where(StrategyRow.strategy_id != but)
        return await self._session.scalar(query) or 0

    async def add(self, strategy: Strategy, request_id: str) -> None:
        """A new strategy."""
        values = {name: getattr(strategy, name) for name in _COLUMNS}
        # Ids of clients and of strategies never meet: the latter are for clients that gave none.
        row = StrategyRow(**values, status=strategy.status.value, request_id=request_id or strategy.strategy_id)
        self._session.add(row)
        await self._session.flush()

    async def put(self, strategy: Strategy) -> None:
        """Write what may change of a strategy; one that was deleted meanwhile stays deleted."""
        row = await self._session.get(StrategyRow, (strategy.user_id, strategy.strategy_id))
        if row is None:
            return
        for name in ("display_name", "parameters", "variables", "position", "error", "ran", "update_time"):
            setattr(row, name, getattr(strategy, name))
        row.status = strategy.status.value
        row.starter = asdict(strategy.starter) if strategy.starter else None

    async def delete(self, user_id: str, strategy_id: str) -> None:
        """Forget a strategy and its log."""
        for model in (LogRow, StrategyRow):
            await self._session.execute(delete(model).where(model.user_id == user_id, model.strategy_id == strategy_id))

    async def add_logs(
        self, user_id: str, strategy_id: str, lines: Sequence[LogLine], first_sequence: int
    ) -> Sequence[LogLine]:
        """Append lines; returns them with their sequences."""
        kept = [
            LogLine(line.level, line.message, line.create_time, first_sequence + index)
            for index, line in enumerate(lines)
        ]
        for line in kept:
            self._session.add(
                LogRow(
                    user_id=user_id,
                    strategy_id=strategy_id,
                    sequence=line.sequence,
                    level=line.level,
                    message=line.message,
                    create_time=line.create_time,
                )
            )
        return kept

    async def last_log_sequence(self, user_id: str, strategy_id: str) -> int:
        """The sequence of the newest line, 0 without any."""
        query = select(func.max(LogRow.sequence)).where(LogRow.user_id == user_id, LogRow.strategy_id == strategy_id)
        return await self._session.scalar(query) or 0

    async def trim_logs(self, user_id: str, strategy_id: str, up_to: int) -> None:
        """Delete the lines up to a sequence."""
        await self._session.execute(
            delete(LogRow).where(LogRow.user_id == user_id, LogRow.strategy_id == strategy_id, LogRow.sequence <= up_to)
        )

    async def list_logs(
        self, user_id: str, strategy_id: str, *, level: str, after: Sequence[Any] | None, limit: int
    ) -> Sequence[LogLine]:
        """Lines of a log, newest first."""
        query = select(LogRow).where(LogRow.user_id == user_id, LogRow.strategy_id == strategy_id)
        if level:
            query = query.where(LogRow.level == level)
        if after is not None:
            query = query.where(LogRow.sequence < int(after[0]))
        rows = await self._session.scalars(query.order_by(LogRow.sequence.desc()).limit(limit))
        return [LogLine(row.level, row.message, row.create_time, row.sequence) for row in rows]

    async def find_classes(self) -> tuple[str, list[dict[str, Any]]] | None:
        """The fingerprint and the classes of the last report."""
        row = await self._session.get(ClassesRow, 1)
        return (row.fingerprint, row.classes) if row else None

    async def put_classes(self, fingerprint: str, classes: list[dict[str, Any]]) -> None:
        """Keep a report of classes."""
        await self._session.merge(ClassesRow(row=1, fingerprint=fingerprint, classes=classes))

    async def add_event(self, outbox: Outbox, event: Event) -> None:
        """Tell other services, in this transaction."""
        await outbox.add(self._session, event)


def _to_domain(row: StrategyRow) -> Strategy:
    values = {name: getattr(row, name) for name in _COLUMNS}
    starter = Starter(**row.starter | {"permissions": tuple(row.starter["permissions"])}) if row.starter else None
    return Strategy(**values, status=Status(row.status), starter=starter)
