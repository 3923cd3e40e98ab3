"""Reading of records: newest first in pages, or all of them in the order of time."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool
from sqlalchemy import Select, and_, or_, select

from services.kernel.audit.record import START
from services.kernel.audit.redaction import request_of
from services.kernel.data.database import Database
from services.kernel.errors import Invalid
from services.kernel.policy import service_policies

EXPORTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions of a list; empty ones are none. `method` is an RPC's name, with or without its service."""

    user_id: str = ""
    method: str = ""
    outcome: str = ""
    since_ns: int = 0
    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it is shown."""

    service: str
    chain: str
    sequence: int
    time_ns: int
    user_id: str
    method: str
    outcome: str
    details: dict[str, Any]
    previous_hash: str
    hash: str
    signature: str

    @property
    def place(self) -> tuple[int, str, str, int]:
        """Its place in lists."""
        return self.time_ns, self.service, self.chain, self.sequence


async def list_page(
    databases: Sequence[tuple[str, Database]], wanted: Filter, size: int, token: str = ""
) -> tuple[list[Entry], str]:
    """The newest records of several databases, and the token of the page behind. Raises Invalid for a wrong token."""
    before = _place(token) if token else None
    entries: list[Entry] = []
    for service, database in databases:
        entries += await _some(service, database, wanted, size + 1, before, newest_first=True)
    entries.sort(key=lambda entry: entry.place, reverse=True)
    page = entries[:size]
    return page, _token(page[-1]) if len(entries) > size else ""


async def export(service: str, database: Database, wanted: Filter) -> AsyncIterator[Entry]:
    """All records of a database, oldest first."""
    behind = None
    while True:
        entries = await _some(service, database, wanted, EXPORTED_AT_ONCE, behind, newest_first=False)
        for entry in entries:
            yield entry
        if len(entries) < EXPORTED_AT_ONCE:
            return
        behind = entries[-1].place


async def _some(
    service: str,
    database: Database,
    wanted: Filter,
    limit: int,
    from_place: tuple[int, str, str, int] | None,
    newest_first: bool,
) -> list[Entry]:
    table = database.audit.records
    before = table.alias()
    previous = select(before.c.hash).where(before.c.chain == table.c.chain, before.c.sequence == table.c.sequence - 1)
    query: Select[Any] = select(table, previous.scalar_subquery().label("previous"))
    query = query.where(*_conditions(table, wanted))
    if from_place is not None:
        query = query.where(_beyond(table, service, from_place, newest_first))
    columns = (table.c.time_ns, table.c.chain, table.c.sequence)
    query = query.order_by(*(column.desc() if newest_first else column for column in columns)).limit(limit)
    async with database.repositories(lambda session: session).read() as session:
        return [_entry(service, row) for row in (await session.execute(query)).all()]


def _conditions(table: Any, wanted: Filter) -> list[Any]:
    conditions = []
    if wanted.user_id:
        conditions.append(table.c.user_id == wanted.user_id)
    if wanted.method:
        exact = table.c.method == wanted.method
        conditions.append(
            exact if "/" in wanted.method else or_(exact, table.c.method.endswith(f"/{wanted.method}", autoescape=True))
        )
    if wanted.outcome:
        conditions.append(table.c.outcome == wanted.outcome)
    if wanted.since_ns:
        conditions.append(table.c.time_ns >= wanted.since_ns)
    if wanted.until_ns:
        conditions.append(table.c.time_ns < wanted.until_ns)
    return conditions


def _beyond(table: Any, service: str, place: tuple[int, str, str, int], newest_first: bool) -> Any:
    time_ns, last_service, chain, sequence = place
    if newest_first:
        earlier, same = table.c.time_ns < time_ns, table.c.time_ns == time_ns
        within = or_(table.c.chain < chain, and_(table.c.chain == chain, table.c.sequence < sequence))
        is_whole = service < last_service
    else:
        earlier, same = table.c.time_ns > time_ns, table.c.time_ns == time_ns
        within = or_(table.c.chain > chain, and_(table.c.chain == chain, table.c.sequence > sequence))
        is_whole = service > last_service
    if service == last_service:
        return or_(earlier, and_(same, within))
    return or_(earlier, same) if is_whole else earlier


def _entry(service: str, row: Any) -> Entry:
    details = json.loads(row.details)
    if isinstance(details.get("request"), str):
        details["request"] = request_of(_request_type(row.method), details["request"])
    return Entry(
        service, row.chain, row.sequence, row.time_ns, row.user_id, row.method, row.outcome, details,
        (START if row.previous is None else bytes(row.previous)).hex(), bytes(row.hash).hex(),
        "" if row.signature is None else bytes(row.signature).hex(),
    )  # fmt: skip


def _request_type(method: str) -> Any:
    service, _, name = method[1:].partition("/")
    try:
        service_policies(service)  # imports the generated code
        return descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name).input_type
    except KeyError:
        return None


def _token(entry: Entry) -> str:
    return base64.urlsafe_b64encode(json.dumps(entry.place).encode()).decode().rstrip("=")


def _place(token: str) -> tuple[int, str, str, int]:
    try:
        time_ns, service, chain, sequence = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(time_ns), str(service), str(chain), int(sequence)
    except ValueError:
        raise Invalid("not a page token of this list", field="page_token") from None
