"""Chains: the one of a writer, whose head is in memory, and `main`, whose head is read in each transaction."""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from services.kernel.audit.record import MAIN, Head, Record, digest
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.writes import Write
from services.kernel.identifiers import new_id


class Chain:
    """The chain of one writer, which alone extends it. Its head moves with the commit of what extends it."""

    def __init__(self, tables: AuditTables) -> None:
        self._tables = tables
        self.name = new_id()
        self.head = Head()
        self._next = self.head
        self.count = 0
        """Records that are committed, those of chains before included."""

    def extend(self, records: Sequence[Record]) -> list[Write]:
        """The rows of records, to be written in the present transaction, from the last committed head on."""
        to, chain = self._tables.insert, self.name
        sequence, previous = self.head
        writes: list[Write] = []
        if records and not sequence:
            writes.append((self._tables.open, {"chain": chain, "open_time_ns": time.time_ns(), "anchored": 0}))
        for record in records:
            sequence += 1
            previous = digest(previous, chain, sequence, record)
            writes.append((to, _row(chain, sequence, record, previous)))
        self._next = Head(sequence, previous)
        return writes

    def committed(self) -> None:
        """The transaction of the last `extend` is committed."""
        self.count += self._next.sequence - self.head.sequence
        self.head = self._next

    def renew(self) -> None:
        """Go on with a new chain: nobody knows whether the last `extend` was committed."""
        self.name, self.head, self._next = new_id(), Head(), Head()


def _row(chain: str, sequence: int, record: Record, hash_: bytes) -> dict[str, Any]:
    time_ns, user_id, method, outcome, details = record
    return {
        "chain": chain, "sequence": sequence, "time_ns": time_ns, "user_id": user_id, "method": method,
        "outcome": outcome, "details": details, "hash": hash_,
    }  # fmt: skip


def main_head(connection: Connection, tables: AuditTables) -> Head:
    """The last record of `main`."""
    table = tables.records
    query = select(table.c.sequence, table.c.hash).where(table.c.chain == MAIN)
    row = connection.execute(query.order_by(table.c.sequence.desc()).limit(1)).first()
    return Head(row[0], bytes(row[1])) if row is not None else Head()


def append(connection: Connection, tables: AuditTables, record: Record, signature: Any = None) -> Head:
    """Append to `main`, in a transaction that holds the database's write lock; `signature(hash)` signs it."""
    before = main_head(connection, tables)
    sequence = before.sequence + 1
    hash_ = digest(before.hash, MAIN, sequence, record)
    row = _row(MAIN, sequence, record, hash_)
    if signature is not None:
        row["signature"] = signature(hash_)
    connection.execute(insert(tables.records), row)
    return Head(sequence, hash_)
