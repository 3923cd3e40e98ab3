"""Limits, states, days and events in the database."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from redfire.enums import TradingState
from redfire.events.v1.events_pb2 import Event
from redfire.reasons import Reason
from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.data.writes import TableWrite, write_rows
from services.kernel.events.outbox import Outbox
from services.risk import models
from services.risk.domain.account_key import AccountKey
from services.risk.domain.daily import DailyPnl
from services.risk.domain.day_counts import CountRow, FeedPosition
from services.risk.domain.limits import AccountLimits, Limits
from services.risk.domain.risk_event import RiskEvent
from services.risk.domain.trading_state import AccountStates, StateSetting
from services.risk.models import DayRow, EventRow, LimitsRow, SettingChangeRow, StateRow

_TRADING = "trading"
_GROUP = 500


class Upserts(NamedTuple):
    """Statements that write rows whether they are there or not, made once."""

    day: TableWrite
    event: TableWrite
    counts: TableWrite
    feed: TableWrite


class RiskRepository:
    """All reads and writes of the risk database."""

    def __init__(self, session: AsyncSession, upserts: Upserts) -> None:
        self._session = session
        self._upserts = upserts

    async def list_limits(self) -> dict[AccountKey, AccountLimits]:
        """Limits that differ from the defaults, by account."""
        return {
            AccountKey(row.user_id, row.account_id): AccountLimits(
                Limits.from_document(row.granted), Limits.from_document(row.own), row.granted_time_ns or 0
            )
            for row in await self._session.scalars(select(LimitsRow))
        }

    async def put_limits(self, account: AccountKey, limits: AccountLimits) -> None:
        """Keep an account's own limits."""
        row = LimitsRow(
            user_id=account.user_id,
            account_id=account.account_id,
            granted=limits.granted.to_document(),
            own=limits.own.to_document(),
            granted_time_ns=limits.granted_time_ns,
        )
        await self._session.merge(row)
        await self._note_change()

    async def setting_changes(self) -> int:
        """The number of changes of limits and states so far."""
        return await self._session.scalar(select(SettingChangeRow.number)) or 0

    async def _note_change(self) -> None:
        row = await self._session.get(SettingChangeRow, 1)
        if row is None:
            self._session.add(SettingChangeRow(id=1, number=1))
        else:
            row.number += 1

    async def list_states(self) -> dict[str, AccountStates]:
        """All states that are set, by account."""
        settings: dict[str, list[StateSetting]] = {}
        for row in await self._session.scalars(select(StateRow)):
            setting = StateSetting(
                row.account_id, row.user_id, TradingState(row.state), row.reason, row.updated_by, row.update_time
            )
            settings.setdefault(row.account_id, []).append(setting)
        return {account_id: AccountStates.of(given) for account_id, given in settings.items()}

    async def put_states(self, account_id: str, states: AccountStates) -> None:
        """Keep the states of an account instead of those before."""
        await self._session.execute(delete(StateRow).where(StateRow.account_id == account_id))
        if states.admin is not None:
            self._session.add(_state_row(account_id if states.admin.of_user else "", states.admin))
        if states.owner is not None:
            self._session.add(_state_row(states.owner.user_id, states.owner))
        await self._note_change()

    async def add_event(self, outbox: Outbox, event: Event) -> None:
        """Tell others, in this transaction."""
        await outbox.add(self._session, event)

    async def find_owner(self, account_id: str) -> str:
        """The user id of an account's owner; empty where it is not known."""
        return await self._session.scalar(select(DayRow.user_id).where(DayRow.account_id == account_id).limit(1)) or ""

    async def is_user_known(self, user_id: str) -> bool:
        """Return true when the user has or had an account."""
        return await self._session.scalar(select(DayRow.user_id).where(DayRow.user_id == user_id).limit(1)) is not None

    async def list_days(self, users: Collection[str] | None = None) -> list[DailyPnl]:
        """The days of all accounts, or of these users'."""
        rows: list[DayRow] = []
        for part in _parts(users):
            rows += await self._session.scalars(_of_users(select(DayRow), DayRow.user_id, part))
        days = [
            DailyPnl(row.account_id, row.user_id, row.trading_day, row.baseline, row.last_total, row.loss_reached)
            for row in rows
        ]
        for day in days:
            day.saved()
        return days

    async def put_days(self, days: Iterable[DailyPnl]) -> None:
        """Keep days as they are now."""
        rows = [
            {
                "user_id": day.user_id,
                "account_id": day.account_id,
                "trading_day": day.trading_day,
                "baseline": day.baseline,
                "last_total": day.last_total,
                "loss_reached": day.loss_reached,
            }
            for day in days
        ]
        await write_rows(self._session, self._upserts.day, rows)

    async def list_counts(self) -> tuple[FeedPosition | None, list[CountRow]]:
        """Counts of trading's stream, and the position up to which they go."""
        feed = await self._session.get(models.FeedRow, _TRADING)
        if feed is None:
            return None, []
        position = _position_of(feed)
        rows = await self._session.execute(select(*models.CountRow.__table__.columns))
        return position, [CountRow(*row) for row in rows]

    async def take_shards(self, epochs: Mapping[int, int]) -> dict[int, FeedPosition]:
        """Become the owner of shards: from then on earlier owners write nothing. Positions that counts go up to.

        Where there is none of a shard's own it is that of the only process there was before there were replicas.
        """
        streams = {_stream(shard): shard for shard in epochs}
        rows = {
            row.stream: row
            for row in await self._session.scalars(
                select(models.FeedRow).where(models.FeedRow.stream.in_([_TRADING, *streams]))
            )
        }
        positions = {}
        for stream, shard in streams.items():
            row = rows.get(stream)
            if row is None:
                before = rows.get(_TRADING)
                if before is None:
                    row = models.FeedRow(stream=stream, sequence=0, time_ns=0, canceling=[], replacing=[], epoch=0)
                else:
                    row = models.FeedRow(
                        stream=stream, sequence=before.sequence, time_ns=before.time_ns, canceling=before.canceling,
                        replacing=before.replacing, epoch=0, rate_sequence=before.rate_sequence,
                    )  # fmt: skip
                self._session.add(row)
            if row.epoch <= epochs[shard]:
                row.epoch = epochs[shard]
                positions[shard] = _position_of(row)
        return positions

    async def owned_of(self, epochs: Mapping[int, int]) -> set[int]:
        """Those of the shards that no later owner has taken; for the rest of the transaction."""
        streams = {_stream(shard): shard for shard in epochs}
        query = select(models.FeedRow.stream, models.FeedRow.epoch).where(models.FeedRow.stream.in_(list(streams)))
        return {
            streams[stream] for stream, epoch in await self._session.execute(query) if epoch == epochs[streams[stream]]
        }

    async def list_counts_of(self, users: Collection[str]) -> list[CountRow]:
        """Counts of users."""
        columns, rows = models.CountRow.__table__.columns, list[CountRow]()
        for part in _parts(users):
            query = _of_users(select(*columns), models.CountRow.user_id, part)
            rows += [CountRow(*row) for row in await self._session.execute(query)]
        return rows

    async def put_counts(
        self, position: FeedPosition, counts: Sequence[CountRow], shard: int | None = None, epoch: int = 0
    ) -> None:
        """Keep counts together with how far they go; of a shard, or of all."""
        for start in range(0, len(counts), _GROUP):
            rows = [row._asdict() for row in counts[start : start + _GROUP]]
            await write_rows(self._session, self._upserts.counts, rows)
        feed = {
            "stream": _TRADING if shard is None else _stream(shard),
            "sequence": position.sequence,
            "time_ns": position.time_ns,
            "canceling": list(position.canceling),
            "replacing": list(position.replacing),
            "epoch": epoch,
            "rate_sequence": position.rate_sequence,
        }
        await write_rows(self._session, self._upserts.feed, [feed])

    async def delete_counts(self, before: int) -> None:
        """Delete the counts of trading days before this one."""
        await self._session.execute(delete(models.CountRow).where(models.CountRow.trading_day < before))

    async def put_events(self, events: Iterable[RiskEvent]) -> None:
        """Keep events; those that are kept already stay as they are."""
        rows = [
            {
                "user_id": event.user_id,
                "event_id": event.event_id,
                "account_id": event.account_id,
                "reason": event.reason.value if event.reason else "",
                "message": event.message[:1000],
                "numbers": event.metadata,
                "create_time": event.create_time,
            }
            for event in events
        ]
        await write_rows(self._session, self._upserts.event, rows)

    async def list_of_everybody(self, start_time: datetime) -> Sequence[RiskEvent]:
        """Events of everybody from a time on, oldest first."""
        query = select(EventRow).where(EventRow.user_id == "", EventRow.create_time >= start_time)
        return [_event_from_row(row) for row in await self._session.scalars(query.order_by(EventRow.event_id))]

    async def list_followed(
        self, start_time: datetime, user_ids: Collection[str], account_ids: Collection[str]
    ) -> Sequence[RiskEvent]:
        """Events of these users, and of these accounts, from a time on, oldest first."""
        followed = or_(EventRow.user_id.in_(user_ids), EventRow.account_id.in_(account_ids))
        query = select(EventRow).where(followed, EventRow.create_time >= start_time).order_by(EventRow.event_id)
        return [_event_from_row(row) for row in await self._session.scalars(query)]

    async def list_events(
        self,
        user_id: str,
        account_id: str,
        start_time: datetime | None,
        end_time: datetime | None,
        before_id: str | None,
        limit: int,
    ) -> Sequence[RiskEvent]:
        """Events newest first: of one account, or when it is empty all of a user's with those of everybody."""
        query = select(EventRow).order_by(EventRow.event_id.desc()).limit(limit)
        if account_id:
            query = query.where(EventRow.account_id == account_id)
        else:
            query = query.where(EventRow.user_id.in_((user_id, "")))
        if start_time is not None:
            query = query.where(EventRow.create_time >= start_time)
        if end_time is not None:
            query = query.where(EventRow.create_time < end_time)
        if before_id is not None:
            query = query.where(EventRow.event_id < before_id)
        return [_event_from_row(row) for row in await self._session.scalars(query)]


def _stream(shard: int) -> str:
    return f"{_TRADING}/{shard}"


def _position_of(row: models.FeedRow) -> FeedPosition:
    return FeedPosition(row.sequence, row.time_ns, tuple(row.canceling), tuple(row.replacing), row.rate_sequence or 0)


def _parts(users: Collection[str] | None) -> Iterable[list[str] | None]:
    """Users in parts that a query may name; None for everybody."""
    if users is None:
        return [None]
    names = sorted(users)
    return [names[start : start + _GROUP] for start in range(0, len(names), _GROUP)]


def _of_users(query: Any, column: Any, users: list[str] | None) -> Any:
    return query if users is None else query.where(column.in_(users))


def _state_row(user_id: str, setting: StateSetting) -> StateRow:
    return StateRow(
        user_id=user_id,
        account_id=setting.account_id,
        state=int(setting.state),
        reason=setting.reason,
        updated_by=setting.updated_by,
        update_time=setting.update_time,
    )


def _event_from_row(row: EventRow) -> RiskEvent:
    return RiskEvent(
        event_id=row.event_id,
        user_id=row.user_id,
        account_id=row.account_id,
        reason=Reason(row.reason) if row.reason else None,
        message=row.message,
        create_time=row.create_time,
        metadata=row.numbers,
    )
