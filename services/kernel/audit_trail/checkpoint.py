"""Checkpoints: signed records of `main` that hold the heads of all chains of a database, and so of all records before.

The head after a checkpoint is also written to a file, a pin: who changes the database alone cannot shorten it unseen.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.audit.record import MAIN, START, Head, Record
from services.kernel.audit_trail.signing import SigningKey
from services.kernel.data.audit_chain import Chain, append, main_head
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.database import Database
from services.kernel.errors import RedFireError

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint"
LOOKS_EVERY_S = 1.0
CLOSES_WITHIN_S = 2.0
# Chains of processes that ended are asked for no longer.
IDLE_NS = 7 * 86_400 * 10**9
MOST_PINS = 1000
Heads = dict[str, Head]


class Checkpointer:
    """Makes the checkpoints of a process's databases, each `records` records and each `interval_s` seconds."""

    def __init__(
        self,
        databases: Callable[[], Mapping[str, Database]],
        key: SigningKey,
        folder: Path,
        records: int,
        interval_s: float,
    ) -> None:
        self._databases = databases
        self._key = key
        self._folder = folder
        self._records = records
        self._interval_s = interval_s
        # By database: the number of records and the time at the last checkpoint.
        self._last: dict[Database, tuple[int, float]] = {}
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Make checkpoints when they are due."""
        while True:
            for service, database in self._databases().items():
                count, since = self._last.get(database, (-self._records, 0.0))
                written = _written(database)
                is_due = time.monotonic() - since >= self._interval_s and written != count
                if is_due or written - count >= self._records:
                    # Not ended in the middle when this is: a transaction that is left so holds a file's lock.
                    self._running = asyncio.create_task(self.checkpoint(service, database))
                    await asyncio.shield(self._running)
            await asyncio.sleep(LOOKS_EVERY_S)

    async def close(self) -> None:
        """Make the last ones of this process, in the time that a stop has; the next start makes what is missing."""
        last = asyncio.create_task(self._close())
        await asyncio.wait({last}, timeout=CLOSES_WITHIN_S)
        if not last.done():
            log.warning("no last checkpoints: a database does not answer")

    async def _close(self) -> None:
        if self._running is not None:
            await self._running
        for service, database in self._databases().items():
            if self._last.get(database, (0, 0.0))[0] != _written(database):
                await self.checkpoint(service, database)

    async def checkpoint(self, service: str, database: Database) -> None:
        """Make one now, unless nothing was recorded since the last; a failure is logged."""
        written = _written(database)
        try:
            heads = await make_checkpoint(database, self._key)
            if heads:
                write_pin(self._folder, service, heads)
        except (RedFireError, OSError) as error:
            log.warning("no checkpoint of %s: %s", database.name, error)
            return
        self._last[database] = written, time.monotonic()


def _written(database: Database) -> int:
    """The number of records that this process has written."""
    return database.chain.count + database.audit.appended


async def make_checkpoint(database: Database, key: SigningKey) -> Heads:
    """The heads after a new checkpoint; empty where nothing was recorded since the last one. Raises Unavailable."""
    async with database.repositories(lambda session: session)() as session:
        connection = await session.connection()
        return await connection.run_sync(_checkpoint, database.audit, database.chain, key)


def _checkpoint(connection: Connection, tables: AuditTables, own: Chain, key: SigningKey) -> Heads:
    chains, records = tables.chains, tables.records
    if own.head.sequence and connection.scalar(select(chains.c.chain).where(chains.c.chain == own.name)) is None:
        connection.execute(chains.insert().values(chain=own.name, open_time_ns=time.time_ns(), anchored=0))
    heads = _new_heads(connection, tables)
    last = connection.execute(
        select(records.c.method).where(records.c.chain == MAIN).order_by(records.c.sequence.desc()).limit(1)
    ).scalar()
    if not heads and last in (None, CHECKPOINT):
        return {}
    details = {"key": key.key_id, "heads": heads_to_json(heads)}
    record = Record(time.time_ns(), "", CHECKPOINT, "OK", json.dumps(details, separators=(",", ":")))
    main = append(connection, tables, record, key.sign)
    for name, head in heads.items():
        connection.execute(update(chains).where(chains.c.chain == name).values(anchored=head.sequence))
    # A process that still lives states its own again.
    old = chains.c.open_time_ns < time.time_ns() - IDLE_NS, chains.c.chain.not_in([own.name, *heads])
    connection.execute(delete(chains).where(*old))
    return {MAIN: main, **heads}


def _new_heads(connection: Connection, tables: AuditTables) -> Heads:
    """The heads of the chains that have grown since a checkpoint held them."""
    chains, records, other = tables.chains, tables.records, tables.records.alias()
    last = select(func.max(other.c.sequence)).where(other.c.chain == chains.c.chain).scalar_subquery()
    query = (
        select(records.c.chain, records.c.sequence, records.c.hash)
        .select_from(chains.join(records, records.c.chain == chains.c.chain))
        .where(records.c.sequence == last, records.c.sequence > chains.c.anchored)
    )
    return {name: Head(sequence, bytes(hash_)) for name, sequence, hash_ in connection.execute(query)}


async def present_heads(database: Database) -> Heads:
    """The head of every chain that a checkpoint would hold, and of `main`."""
    async with database.repositories(lambda session: session).read() as session:
        connection = await session.connection()
        main = await connection.run_sync(main_head, database.audit)
        heads = await connection.run_sync(_new_heads, database.audit)
    return {MAIN: main, **heads} if main.hash != START or heads else {}


def heads_to_json(heads: Heads) -> dict[str, list[Any]]:
    """Heads for JSON."""
    return {name: [head.sequence, head.hash.hex()] for name, head in heads.items()}


def pin_file(folder: Path, service: str) -> Path:
    """The file of a service's pins."""
    return folder / f"{service}.pin.json"


def write_pin(folder: Path, service: str, heads: Heads) -> None:
    """Keep the heads beside those that are kept of other chains, which grow no more."""
    kept = {**read_pin(pin_file(folder, service)), **heads}
    document = heads_to_json(dict(list(kept.items())[-MOST_PINS:]))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(pin_file(folder, service), json.dumps(document, indent=1).encode(), mode=PRIVATE)


def read_pin(file: Path) -> Heads:
    """The heads of a file; none where there is no file."""
    if not file.exists():
        return {}
    return heads_of(json.loads(file.read_text()))


def heads_of(document: Mapping[str, Sequence[Any]]) -> Heads:
    """Heads as JSON has them: `{"main": [7, "ab…"]}`."""
    return {name: Head(int(sequence), bytes.fromhex(hash_)) for name, (sequence, hash_) in document.items()}
