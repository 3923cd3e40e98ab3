"""Verification of a database's chains: what was edited, deleted, moved or cut off is found, and named."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select

from services.kernel.audit.record import MAIN, Head, Record, digest
from services.kernel.audit_trail.checkpoint import CHECKPOINT, Heads
from services.kernel.audit_trail.signing import is_signed
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.database import Database
from services.kernel.data.repositories import Transaction

PAGE = 2000


@dataclass(slots=True)
class Broken:
    """The first record of a chain that is not as it was written."""

    chain: str
    sequence: int
    reason: str


@dataclass(slots=True)
class Report:
    """The outcome for one database."""

    records: int = 0
    chains: int = 0
    checkpoints: int = 0
    since_checkpoint: int = 0
    """Records that no checkpoint holds yet."""
    broken: list[Broken] = field(default_factory=list)


async def verify(database: Database, keys: Mapping[str, Ed25519PublicKey], pins: Sequence[Heads]) -> Report:
    """Verify all chains of a database, as they are at one moment. `pins` are heads that were kept elsewhere."""
    async with database.repositories(lambda session: session).read() as session:
        return await _Verifier(session, database.audit, keys, pins).run()


class _Verifier:
    def __init__(
        self, session: Transaction, tables: AuditTables, keys: Mapping[str, Ed25519PublicKey], pins: Sequence[Heads]
    ) -> None:
        self._session = session
        self._records = tables.records
        self._keys = keys
        # By chain: hashes that must be, by sequence, and who says so.
        self._expected: dict[str, dict[int, tuple[bytes, str]]] = {}
        for pin in pins:
            for chain, head in pin.items():
                self._expect(chain, head, "a pin")
        self._anchored: dict[str, int] = {}
        self._report = Report()

    async def run(self) -> Report:
        # Main first: its checkpoints say what the others must hold.
        report = self._report
        report.broken += await self._walk(MAIN)
        chains = [chain async for chain in self._chains() if chain != MAIN]
        for chain in sorted({*chains, *self._expected} - {MAIN}):
            report.broken += await self._walk(chain)
        return report

    def _expect(self, chain: str, head: Head, who: str) -> None:
        # Of a chain in which nothing stood there is nothing to hold.
        if head.sequence:
            self._expected.setdefault(chain, {})[head.sequence] = head.hash, who

    async def _walk(self, chain: str) -> list[Broken]:
        """Walk a chain from its start; the first broken record, if there is one."""
        head, last_checkpoint, report = Head(), self._anchored.get(chain, 0), self._report
        report.chains += 1
        async for row in self._rows(chain):
            sequence = head.sequence + 1
            if row.sequence != sequence:
                return [Broken(chain, sequence, "it is missing")]
            record = Record(row.time_ns, row.user_id, row.method, row.outcome, row.details)
            hash_ = digest(head.hash, chain, sequence, record)
            if hash_ != bytes(row.hash):
                return [Broken(chain, sequence, "it, or what is before it, is not what was written")]
            expected = self._expected.get(chain, {}).pop(sequence, None)
            if expected is not None and expected[0] != hash_:
                return [Broken(chain, sequence, f"{expected[1]} has another hash of it")]
            if chain == MAIN and row.method == CHECKPOINT:
                if reason := self._take_checkpoint(row, hash_):
                    return [Broken(chain, sequence, reason)]
                last_checkpoint = sequence
            head = Head(sequence, hash_)
            report.records += 1
        if missing := self._expected.get(chain):
            sequence, (_, who) = max(missing.items())
            return [Broken(chain, head.sequence + 1, f"it is missing: {who} knows of {sequence} records")]
        report.since_checkpoint += head.sequence - last_checkpoint
        return []

    def _take_checkpoint(self, row: Any, hash_: bytes) -> str:
        """Take the heads of a checkpoint; the reason for which it is none."""
        details = json.loads(row.details)
        signature = None if row.signature is None else bytes(row.signature)
        if not is_signed(self._keys, details["key"], hash_, signature):
            return f"its signature is not of a key of the platform ({details['key']})"
        self._report.checkpoints += 1
        for chain, (sequence, hex_) in details["heads"].items():
            self._expect(chain, Head(sequence, bytes.fromhex(hex_)), f"checkpoint {row.sequence}")
            self._anchored[chain] = sequence
        return ""

    async def _chains(self) -> AsyncIterator[str]:
        column = self._records.c.chain
        chain = await self._session.scalar(select(func.min(column)))
        while chain is not None:
            yield chain
            chain = await self._session.scalar(select(func.min(column)).where(column > chain))

    async def _rows(self, chain: str) -> AsyncIterator[Any]:
        table, last = self._records, -(2**62)
        while True:
            query = select(table).where(table.c.chain == chain, table.c.sequence > last).order_by(table.c.sequence)
            rows = (await self._session.execute(query.limit(PAGE))).all()
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            last = rows[-1].sequence
