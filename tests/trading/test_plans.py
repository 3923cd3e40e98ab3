"""PostgreSQL's plans for the statements of the order path and of lists: one partition, by an index, and no scans.

The plans are those of the server (auto_explain) for what the code sends, prepared statements included, so nothing is
said twice. 60,000 to 200,000 rows a table instead of millions, to keep the test short: a plan that takes an index there
takes it the more with every further row, as a scan's cost grows with the table and an index's with its depth.
"""

import asyncio
import json
import random
import re
import time
from collections import defaultdict

import asyncpg
import pytest
from redfire.events.v1.events_pb2 import Event
from sqlalchemy import Boolean, Integer, LargeBinary, Numeric, select

from services.kernel.clock import Clock
from services.kernel.data.writes import Fence
from services.kernel.events.inbox import Inbox
from services.kernel.events.outbox import Outbox
from services.kernel.events.transport import Delivery, EventBus
from services.kernel.identifiers import new_id
from services.kernel.paging import Page
from services.trading import models
from services.trading.list_repository import ListRepository, OrderFilter
from services.trading.repository import Statements, TradingRepository
from tests.postgres import opened
from tests.trading.rows_of_tables import kind_of, row_of
from tests.waiting import until

ROWS, FEWER, USERS, SHARDS = 200_000, 60_000, 2_000, 64
# More than the runs after which the server may plan a prepared statement for any parameters.
TIMES = 8
LARGE = {"orders", "trades", "ledger", "positions", "journal", "accounts", "inbox", "outbox", "order_groups"}
USER, ACCOUNT, NOW_US = "user-7", "account-7", time.time_ns() // 1000
N = "lpad(n::text, 9, '0')"
ID, OF_USER = f"'id-' || {N}", f"n % {USERS}"
OWNER = {"user_id": f"'user-' || {OF_USER}", "account_id": f"'account-' || {OF_USER}"}


def event_of(event_id):
    event = Event(event_id=event_id, routing_key="user.registered")
    event.user_registered.user_id = USER
    return event


EVENT = f"'\\x{event_of(new_id()).SerializeToString().hex()}'"
DATA = {
    models.AccountRow: {
        "user_id": "'user-' || n", "account_id": "'account-' || n", "request_id": ID, "shard": f"n % {SHARDS}",
    },
    models.OrderRow: {
        **OWNER, "order_id": ID, "client_order_id": ID, "create_time_ns": "n", "symbol": "'s' || n % 50",
        "filled_notional": "'0'", "is_open": "n % 100 = 7", "status": "CASE WHEN n % 100 = 7 THEN 2 ELSE 4 END",
    },
    models.TradeRow: {
        **OWNER, "trade_id": ID, "order_id": ID, "venue_trade_id": ID, "gateway": "'SIM'", "create_time_ns": "n",
    },
    models.LedgerRow: {**OWNER, "entry_id": ID, "create_time_ns": "n"},
    models.PositionRow: {**OWNER, "symbol": "'s' || n", "side": "1", "is_open": "n % 10 = 7"},
    models.OrderGroupRow: {
        **OWNER, "order_group_id": ID, "client_order_group_id": ID, "order_ids": "'[]'", "is_open": "n % 100 = 7",
    },
    models.CommitLogRow: {
        "shard": f"n % {USERS} % {SHARDS}", "sequence": "n", "first_sequence": "n", "user_id": OWNER["user_id"],
        "period": f"n * {models.PERIODS} / {ROWS}",
    },
    models.InboxRow: {
        "event_id": ID, "position": f"{NOW_US} + n", "aggregate_id": ID, "payload": EVENT, "accept_time": f"{NOW_US}",
        "state": "CASE WHEN n % 1000 = 7 THEN 'WAITING' ELSE 'APPLIED' END",
    },
    models.OutboxRow: {"event_id": ID, "payload": EVENT},
}  # fmt: skip


class Plans:
    """Scans of large tables, and the large tables that were looked into, by the plans of what was executed."""

    def __init__(self):
        self.scans = []
        self.tables = set()
        # Partitioned tables of which a statement looks into more than one partition.
        self.spread = []

    def add(self, _, message):
        text = str(message.message)
        if "plan:" in text:
            document, partitions = json.loads(text.partition("plan:")[2]), defaultdict(set)
            self._look(document["Plan"], document["Query Text"], partitions)
            self.spread += [(table, document["Query Text"]) for table, names in partitions.items() if len(names) > 1]

    def _look(self, node, query, partitions):
        name = node.get("Relation Name", "")
        table = re.sub(r"_p\d\d$", "", name)
        if table != name:
            partitions[table].add(name)
        if table in LARGE:
            self.tables.add(table)
            kind = node["Node Type"]
            # Without a condition an index is read from one end to the other; the outbox's, from its first batch on.
            is_whole = kind.startswith("Index") and "Index Cond" not in node and table != "outbox"
            if kind.endswith("Seq Scan") or is_whole:
                self.scans.append((kind, table, query))
        for child in node.get("Plans", ()):
            self._look(child, query, partitions)

    def clear(self):
        for seen in self.scans, self.tables, self.spread:
            seen.clear()


@pytest.fixture
async def plans(postgres, monkeypatch):
    """A large database of trading's; each of its connections tells its plans."""
    name, found, connect = f"plans_{new_id()[-12:]}", Plans(), asyncpg.connect

    async def observed(*arguments, **options):
        connection = await connect(*arguments, **options)
        connection.add_log_listener(found.add)
        return connection

    monkeypatch.setattr(asyncpg, "connect", observed)
    async with opened(postgres.url(name), models.Base):
        pass
    for model, values in DATA.items():
        postgres.sql(fill(model, values), name)
    postgres.sql("INSERT INTO shard_leases VALUES (7, 'me', '', 1, now())", name)
    postgres.sql("VACUUM ANALYZE", name, "postgres")
    postgres.sql(f"ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain'", name, "postgres")
    for setting, value in {"log_min_duration": "0", "log_format": "json", "log_level": "notice"}.items():
        postgres.sql(f"ALTER DATABASE {name} SET auto_explain.{setting} = '{value}'", name, "postgres")
    async with opened(postgres.url(name), models.Base) as database:
        found.database = database
        yield found


def fill(model, values):
    """The INSERT of many rows: the given expressions of `n`, and something of its type for each other column."""
    others = ((LargeBinary, "''"), (Boolean, "false"), (Numeric, "1"), (Integer, "1"))
    columns = {
        column.name: values.get(column.name)
        or next((value for kind, value in others if issubclass(kind_of(column), kind)), "''")
        for column in model.__table__.columns
    }
    some = models.LedgerRow, models.OrderGroupRow, models.InboxRow
    rows = USERS if model is models.AccountRow else FEWER if model in some else ROWS
    return (
        f"INSERT INTO {model.__tablename__} ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM generate_series(0, {rows - 1}) AS n"
    )


def reads(plans):
    return plans.database.repositories(TradingRepository).read()


async def read_orders(plans):
    numbers = [7, *(random.randrange(ROWS) for _ in range(3))]
    keys = [(f"user-{n % USERS}", f"account-{n % USERS}", f"id-{n:09}") for n in numbers]
    async with reads(plans) as repository:
        await repository.find_order("id-000000007", USER)
        assert len(await repository.find_by_clients(keys)) == len(set(keys))
        assert await repository.find_trades(USER, "id-000000007", "id-000000007")
        await repository.get_order_group(USER, "id-000000007")
        assert await repository.find_order_group_by_client(ACCOUNT, "id-000000007")


async def read_an_order_of_anybody(plans):
    """As where a venue reports of an order that is not in memory any more."""
    async with reads(plans) as repository:
        assert await repository.find_order("id-000000007")


async def read_commit_log(plans):
    async with reads(plans) as repository:
        assert await repository.commit_log(0, ROWS, USER, [], 100)
        assert await repository.commit_log(ROWS - 5_000, ROWS, "", [7], 100)
        assert await repository.last_sequence(7, ROWS)


async def trim_the_commit_log(plans):
    async with reads(plans) as repository:
        assert await repository.last_sequence_of(7, [3])
        assert await repository.is_promised(3)


async def load_a_shard(plans):
    async with reads(plans) as repository:
        loaded = await repository.load(0, [7])
        assert loaded.accounts and loaded.sequences[7].last


async def list_pages(plans):
    lists = ListRepository(plans.database.reader())
    filters = [
        OrderFilter(), OrderFilter(account_id=ACCOUNT), OrderFilter(symbol="s7"), OrderFilter(start_time_ns=100),
        OrderFilter(start_time_ns=100, end_time_ns=100_000),
    ]  # fmt: skip
    for one in [*filters, OrderFilter(open_only=True), OrderFilter(statuses=[2, 4])]:
        await lists.list_orders(USER, one, Page(50, None, ""))
        await lists.list_orders(USER, one, Page(50, (100_007, "id-000100007"), ""))
    for one in [*filters, OrderFilter(order_id="id-000000007")]:
        await lists.list_trades(USER, one, Page(50, None, ""))
        await lists.list_trades(USER, one, Page(50, (100_007, "id-000100007"), ""))
    for one in OrderFilter(), OrderFilter(account_id=ACCOUNT):
        await lists.list_ledger_entries(USER, one, Page(50, None, ""))
        await lists.list_ledger_entries(USER, one, Page(50, (100_007, "id-000100007"), ""))


async def write_groups(plans):
    """New orders, changed ones and fills, as the order path writes them, in one group."""
    statements, writer = Statements(plans.database), plans.database.writer()
    owner, fence, sequence = {"user_id": USER, "account_id": ACCOUNT}, [Fence(7, 1)], ROWS + random.getrandbits(50)
    waiting = []
    for number in range(10):
        new, old, log_row = new_id(), f"id-{number:09}", sequence + number
        is_new = [
            (statements.upsert_order, row_of(models.OrderRow, **owner, order_id=new, client_order_id=new)),
            (statements.insert_updates, row_of(models.CommitLogRow, shard=7, sequence=log_row, user_id=USER)),
        ]
        is_filled = [
            (statements.upsert_order, row_of(models.OrderRow, **owner, order_id=old, client_order_id=old)),
            (statements.insert_trade, row_of(models.TradeRow, **owner, trade_id=new, order_id=old, venue_trade_id=new)),
            (statements.insert_entry, row_of(models.LedgerRow, **owner, entry_id=new)),
            (statements.upsert_position, row_of(models.PositionRow, **owner, symbol="s7", side=1)),
            (statements.upsert_account, row_of(models.AccountRow, **owner, request_id="id-000000007", shard=7)),
        ]
        waiting.append(writer.submit(is_new, refusable=True, fences=fence))
        waiting.append(writer.submit(is_filled, fences=fence))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)


class Transport(EventBus):
    """Publishes in batches until a test has seen enough."""

    def __init__(self):
        super().__init__()
        self.published = []

    async def publish(self, messages):
        self.published += messages
        return [message.event_id for message in messages]


async def pass_events_on(plans):
    """The relay reads the outbox and deletes from it; the inbox takes, reads and marks events."""
    transport, applied = Transport(), []
    outbox = Outbox("trading", plans.database, models.OutboxRow, transport, Clock())
    inbox = Inbox("trading", plans.database, models.InboxRow, transport, Clock())

    async def apply(event, receipt):
        applied.append(event)

    inbox.subscribe("user.registered", apply)
    await inbox.accept([Delivery("user.registered", event_of(new_id()).SerializeToString()) for _ in range(3)])
    for loop, is_done in (
        (outbox.run, lambda: len(transport.published) >= 3_000),
        (inbox.run, lambda: len(applied) >= 30),
    ):
        task = asyncio.create_task(loop())
        await until(is_done, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_the_order_path_and_lists_take_an_index_of_one_partition_in_each_large_table(plans):
    # A scan is seen as one.
    async with plans.database.repositories(lambda session: session).read() as session:
        await session.execute(select(models.OrderRow).where(models.OrderRow.reject_message == "none"))
    assert {(kind, table) for kind, table, _ in plans.scans} == {("Seq Scan", "orders")}
    assert {table for table, _ in plans.spread} == {"orders"}
    for statements, tables, times, is_of_a_user in (
        (read_orders, {"orders", "trades", "order_groups"}, TIMES, True),
        (read_an_order_of_anybody, {"orders", "trades"}, TIMES, False),
        (read_commit_log, {"journal"}, TIMES, False),
        (trim_the_commit_log, {"journal"}, TIMES, True),
        (load_a_shard, {"accounts", "orders", "positions", "trades", "journal", "order_groups"}, 1, False),
        (list_pages, {"orders", "trades", "ledger"}, TIMES, True),
        (write_groups, {"orders", "trades", "ledger", "positions", "journal", "accounts"}, TIMES, True),
        (pass_events_on, {"outbox", "inbox"}, 1, True),
    ):
        plans.clear()
        for _ in range(times):
            await statements(plans)
        # Else nothing was seen, or not all that was meant.
        assert plans.tables >= tables, statements
        assert not plans.scans, statements
        assert not (is_of_a_user and plans.spread), statements
