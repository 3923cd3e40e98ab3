"""A table of leases in PostgreSQL, as one holder sees and changes it: each step is one statement.

A process that changes the table notifies the others (LISTEN), so that nobody has to look often.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import asyncpg

log = logging.getLogger(__name__)
LEASE_S = 4.0
"""Time for which a lease is taken or renewed: what its owner served is loaded elsewhere within 5 s of its death."""
STATEMENT_S = 2.0
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Errors of a step when the database is away; the step's outcome is seen at the next look."""
Key = int | str
MEMBER = "member/"


class Lease(NamedTuple):
    """A row of the table, `left_s` seconds before it ends; of a member the key is None."""

    key: Key | None
    owner: str
    address: str
    epoch: int
    left_s: float
    is_renewed: bool

    @property
    def is_free(self) -> bool:
        """Test for a lease that was given up or has ended."""
        return not self.owner or self.left_s <= 0


class LeaseTable:
    """The leases of one table for one holder; for `shard_leases` also the holders that are there, as members."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], table: str, holder: str, address: Callable[[], str]
    ) -> None:
        """`holder` names a run of a process, and is never used again."""
        self._connect = connect
        self._table = table
        self._holder = holder
        self._address = address
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._on_notification: Callable[[str], None] = lambda _: None
        self._has_members = table == "shard_leases"
        self._key, kind = ("shard", "int4") if self._has_members else ("name", "text")
        lease = f"now() + interval '{LEASE_S} s'"
        key, notify = self._key, f"pg_notify('{table}', '')"
        left = "extract(epoch FROM expires_at - now())::float8"
        member = (
            f"""member AS (
                INSERT INTO named_leases (name, owner, address, epoch, expires_at)
                SELECT '{MEMBER}' || $1, $1, $4, 1, {lease} WHERE $3 AND $5
                ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at), """  # nosec B608
            if self._has_members
            else ""
        )
        members = (
            f"""UNION ALL SELECT NULL, owner, address, 0, {left}, FALSE FROM named_leases
                WHERE name LIKE '{MEMBER}%' AND expires_at > now()"""  # noqa: S608 # nosec B608
            if self._has_members
            else ""
        )
        self._see = f"""
            WITH {member} renewed AS (
                UPDATE {table} SET expires_at = {lease}
                WHERE $3 AND owner = $1 AND {key} = ANY($2::{kind}[]) RETURNING {key}, epoch)
            SELECT {key}, owner, address, coalesce(renewed.epoch, l.epoch), {left}, renewed.epoch IS NOT NULL
            FROM {table} AS l LEFT JOIN renewed USING ({key}) {members}"""  # noqa: S608 names of ours # nosec B608
        self._take = f"""
            WITH free AS (
                SELECT {key} FROM {table} WHERE {key} = ANY($3::{kind}[]) AND (owner IN ('', $1) OR expires_at <= now())
                ORDER BY {key} FOR UPDATE SKIP LOCKED),
            taken AS (
                UPDATE {table} AS l SET owner = $1, address = $2, epoch = l.epoch + 1, expires_at = {lease}
                FROM free WHERE l.{key} = free.{key} RETURNING l.{key}, l.epoch)
            SELECT {key}, epoch, {notify} FROM taken"""  # noqa: S608 # nosec B608
        self._give = f"""
            WITH given AS (
                UPDATE {table} SET owner = $4, address = $5, epoch = epoch + 1, expires_at = {lease}
                WHERE {key} = $1 AND epoch = $2 AND owner = $3 RETURNING {key})
            SELECT {notify} FROM given"""  # noqa: S608 # nosec B608
        self._drop = f"""
            WITH dropped AS (
                UPDATE {table} SET owner = '', expires_at = now() WHERE owner = $1 AND {key} = ANY($2::{kind}[])
                RETURNING {key})
            SELECT {notify} FROM dropped"""  # noqa: S608 # nosec B608
        self._leave = f"""
            WITH left_ AS (DELETE FROM named_leases WHERE name = '{MEMBER}' || $1),
            dropped AS (
                UPDATE {table} SET owner = '', expires_at = now() WHERE owner = $1 AND {key} = ANY($2::{kind}[]))
            SELECT {notify}"""  # noqa: S608 # nosec B608
        ended = f"DELETE FROM named_leases WHERE name = ANY(SELECT '{MEMBER}' || unnest($1::text[]))"  # noqa: S608 # nosec B608
        left_ = f"left_ AS ({ended}), " if self._has_members else ""
        self._end = f"""
            WITH {left_}of_ended AS (
                SELECT {key} FROM {table} WHERE owner = ANY($1::text[]) AND expires_at > now()
                ORDER BY {key} FOR UPDATE SKIP LOCKED),
            freed AS (
                UPDATE {table} AS l SET expires_at = now() FROM of_ended WHERE l.{key} = of_ended.{key} RETURNING 1)
            SELECT {notify} FROM freed"""  # noqa: S608 # nosec B608
        self._add = f"""
            INSERT INTO {table} ({key}, owner, address, epoch, expires_at)
            SELECT key, '', '', 0, now() FROM unnest($1::{kind}[]) AS r (key) ON CONFLICT DO NOTHING"""  # noqa: S608 # nosec B608

    def on_notification(self, hook: Callable[[str], None]) -> None:
        """Call a hook with the payload when somebody changed the table; also when the connection is lost."""
        self._on_notification = hook

    async def see(self, held: Iterable[Key], renew: bool, as_member: bool = True) -> list[Lease]:
        """All leases and members; with `renew` those that are held are renewed first, if they still are."""
        member = [self._address(), as_member] if self._has_members else []
        rows = await self._fetch(self._see, self._holder, list(held), renew, *member)
        return [Lease(*row) for row in rows]

    async def take(self, keys: Iterable[Key]) -> dict[Any, int]:
        """Take those of the leases that are free or the holder's own; their new epochs."""
        return {row[0]: row[1] for row in await self._fetch(self._take, self._holder, self._address(), list(keys))}

    async def give(self, key: Key, epoch: int, owner: str, address: str) -> None:
        """Hand a lease over to another holder."""
        await self._fetch(self._give, key, epoch, self._holder, owner, address)

    async def drop(self, keys: Iterable[Key]) -> None:
        """Give leases up, for anybody to take."""
        await self._fetch(self._drop, self._holder, list(keys))

    async def end(self, owners: Iterable[str]) -> None:
        """Free the leases of holders whose processes have ended, for anybody to take."""
        await self._fetch(self._end, list(owners))

    async def add(self, keys: Iterable[Key]) -> None:
        """Make rows that are not there, free to take."""
        await self._fetch(self._add, list(keys))

    async def leave(self, keys: Iterable[Key]) -> None:
        """Be no member any more, and give leases up: in one statement, for others wait for it."""
        await self._fetch(self._leave, self._holder, list(keys))

    async def notify(self, payload: str) -> None:
        """Notify the other holders; not waiting for the disk, for there is nothing to keep."""
        statement = "SELECT set_config('synchronous_commit', 'off', TRUE), pg_notify($1, $2)"
        await self._fetch(statement, self._table, payload)

    def discard(self) -> None:
        """Let the connection go; the next step makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _fetch(self, sql: str, *parameters: Any) -> list[Any]:
        async with self._turn, asyncio.timeout(STATEMENT_S):
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open()
            rows: list[Any] = await self._connection.fetch(sql, *parameters)
            return rows

    async def _open(self) -> Any:
        connection = await self._connect()
        try:
            await connection.add_listener(self._table, self._notified)
            connection.add_termination_listener(lambda _: self._on_notification(""))
            # Of processes that were killed.
            await connection.execute(
                f"DELETE FROM named_leases WHERE name LIKE '{MEMBER}%' AND expires_at < now() - interval '1 hour'"  # noqa: S608 # nosec B608
            )
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _notified(self, connection: Any, process: int, channel: str, payload: str) -> None:
        self._on_notification(payload)


def fair_share(members: Iterable[str], keys: int) -> Mapping[str, int]:
    """Number of the `keys` leases that each member should have; the longest there have what cannot be divided."""
    names = sorted(members)
    each, more = divmod(keys, len(names))
    return {name: each + (at < more) for at, name in enumerate(names)}
