"""Lists of rows: the messages that objects of the rows would make, pages and filters, on both databases."""

import json
import random
import sqlite3
from decimal import Decimal

import pytest
from redfire.enums import (
    LedgerEntryKind,
    OrderStatus,
    OrderType,
    PositionEffect,
    Side,
    TimeInForce,
)
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.data.database import Database
from services.kernel.errors import Unavailable
from services.kernel.identifiers import new_id
from services.kernel.paging import Page
from services.trading import convert, models, rows
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.order import Delivery, Leg, Order
from services.trading.domain.trade import Trade
from services.trading.list_convert import ORDERS, entry_row_to_pb, order_row_to_pb, order_to_part, trade_row_to_pb
from services.trading.list_repository import ListRepository, OrderFilter
from services.trading.repository import Statements, TradingRepository
from tests.postgres import opened

USER, OTHER = "u1", "u2"
D = Decimal


@pytest.fixture
async def database(database_url):
    async with opened(database_url, models.Base) as trading_database:
        yield trading_database


def make_order(chance, number, user_id=USER):
    quantity = D(chance.choice(["1", "3", "0.5", "1000000000000000", "0.00000001"]))
    filled = chance.choice([D(0), quantity, D("0.25"), D("0.00000001")])
    order = Order(
        order_id=new_id(),
        client_order_id=chance.choice(["a", "b-ü", '"quoted"', "back\\slash"]) + str(number),
        user_id=user_id,
        account_id=chance.choice(["a1", "a2"]),
        gateway="SIM",
        symbol=chance.choice(["rb2610.SHFE", "IF2606.CFFEX"]),
        side=chance.choice(list(Side)),
        type=chance.choice(list(OrderType)),
        time_in_force=chance.choice(list(TimeInForce)),
        position_effect=chance.choice(list(PositionEffect)),
        quantity=quantity,
        price=chance.choice([None, D("0"), D("4000.20"), D("-37.63")]),
        stop_price=chance.choice([None, D("3999.5")]),
        trailing_offset=chance.choice([None, D("10")]),
        expire_time_ns=chance.choice([0, 1_790_000_000_123_456_789]),
        strategy_id=chance.choice(["", "s1"]),
        trace_id="0af7651916cd43dd8448eb211c80319c",
        fingerprint="f",
        # Several at one moment: pages go on within it.
        create_time_ns=1_780_000_000_000_000_000 + number // 3,
        update_time_ns=1_790_000_000_000_000_001 + number,
        reserve_price=D("4000"),
        trading_day=20261130,
        status=chance.choice(list(OrderStatus)),
        cumulative_quantity=filled,
        filled_notional=filled * D("4000.123456789"),
        commission=chance.choice([D(0), D("1.25")]),
        reject_reason=chance.choice(["", "RISK_HALTED", "of another version"]),
        reject_message=chance.choice(["", "价格 \n\t refused\u2028", "\x1e\x1f"]),
        triggered=chance.choice([True, False]),
    )
    for leg in range(chance.choice([0, 1, 1, 1, 2])):
        delivery = chance.choice(list(Delivery))
        order.legs.append(Leg(leg, order.position_effect, quantity, delivery, venue_order_id=chance.choice(["", "v1"])))
    order.leg_count = len(order.legs)
    if chance.random() < 0.4:
        order.hold_reason = chance.choice(["", "SELF_TRADE"])
        order.order_group_id = chance.choice(["", "g1"])
        order.reduce_only, order.post_only = chance.choice([(True, False), (False, True)])
        order.pending_price = chance.choice([None, D("0")])
    return order


async def write(database, table_write, made):
    await database.writer().submit([(table_write, row) for row in made])


async def pages(read, order_filter, size=7):
    """All texts, page by page."""
    texts, after = [], None
    while True:
        result = await read(USER, order_filter, Page(size, after, "q"))
        texts += result.items
        if not result.next_page_token:
            return texts
        assert len(result.items) == size
        after = row_of(result.items[-1])[:2]


def row_of(text):
    return json.loads(text)


async def test_a_row_of_an_order_makes_the_message_that_its_order_makes(database):
    chance = random.Random(5)
    made = [make_order(chance, number) for number in range(200)]
    await write(database, Statements(database).upsert_order, [rows.order_row(order) for order in made])
    texts = await pages(ListRepository(database.reader()).list_orders, OrderFilter(), 1000)
    assert len(texts) == len(made)
    async with database.repositories(TradingRepository).read() as repository:
        for text in texts:
            message = order_row_to_pb(*row_of(text))
            assert message == convert.order_to_pb(await repository.get_order(USER, message.order_id))
    response = order_pb.ListOrdersResponse.FromString(ORDERS.response([order_to_part(text) for text in texts], "next"))
    assert [order.order_id for order in response.orders] == [row_of(text)[1] for text in texts]
    assert response.next_page_token == "next"


async def test_rows_of_trades_and_entries_make_the_messages_that_these_make(database):
    chance, statements, lists = random.Random(6), Statements(database), ListRepository(database.reader())
    trades = {}
    for number in range(50):
        trade = Trade(
            user_id=USER, trade_id=new_id(), order_id=chance.choice(["", "o1"]), account_id="a1", symbol="rb2610.SHFE",
            side=chance.choice(list(Side)), position_effect=chance.choice(list(PositionEffect)), price=D("-1.50"),
            quantity=D("2"), commission=D("0.1"), realized_pnl=D("-12.00000001"), time_ns=5 + number,
            create_time_ns=number, gateway="SIM", venue_trade_id=f"v{number}", strategy_id="",
            busted=chance.choice([True, False]), corrects_trade_id="", trace_id="t", trading_day=20261130,
        )  # fmt: skip
        trades[trade.trade_id] = trade
    await write(database, statements.insert_trade, [rows.trade_row(trade) for trade in trades.values()])
    for text in await pages(lists.list_trades, OrderFilter()):
        message = trade_row_to_pb(*row_of(text))
        assert message == convert.trade_to_pb(trades.pop(message.trade_id))
    entries = {}
    for number in range(50):
        entry = LedgerEntry(
            user_id=USER, entry_id=new_id(), transaction_id="t", account_id="a1", ledger_account="cash",
            amount=D("1E+3") if number % 2 else D("-0.5"), kind=chance.choice(list(LedgerEntryKind)), reference="r",
            create_time_ns=number // 2,
        )  # fmt: skip
        entries[entry.entry_id] = entry
    await write(database, statements.insert_entry, [rows.entry_row(entry) for entry in entries.values()])
    for text in await pages(lists.list_ledger_entries, OrderFilter()):
        message = entry_row_to_pb(*row_of(text))
        assert message == convert.entry_to_pb(entries.pop(message.entry_id))
    assert not trades and not entries


async def test_pages_joined_are_what_the_filter_lets_through_newest_first(database):
    chance = random.Random(7)
    made = [make_order(chance, number, chance.choice([USER, USER, OTHER])) for number in range(120)]
    await write(database, Statements(database).upsert_order, [rows.order_row(order) for order in made])
    lists = ListRepository(database.reader())
    start_ns, end_ns = made[20].create_time_ns, made[90].create_time_ns
    for _ in range(60):
        order_filter = OrderFilter(
            account_id=chance.choice(["", "", "a1"]),
            symbol=chance.choice(["", "", "rb2610.SHFE"]),
            strategy_id=chance.choice(["", "", "s1"]),
            statuses=chance.sample([2, 2, 4, 1, 6], chance.choice([0, 0, 1, 3])),
            start_time_ns=chance.choice([0, start_ns]),
            end_time_ns=chance.choice([0, end_ns]),
            open_only=chance.choice([True, False]),
        )

        def passes(order, of=order_filter):
            return (
                order.user_id == USER
                and of.account_id in ("", order.account_id)
                and of.symbol in ("", order.symbol)
                and of.strategy_id in ("", order.strategy_id)
                and (not of.statuses or order.status in of.statuses)
                and of.start_time_ns <= order.create_time_ns < (of.end_time_ns or 1 << 63)
                and (order.is_open or not of.open_only)
            )

        expected = sorted(((o.create_time_ns, o.order_id) for o in made if passes(o)), reverse=True)
        texts = await pages(lists.list_orders, order_filter, chance.choice([1, 2, 5, 1000]))
        assert [tuple(row_of(text)[:2]) for text in texts] == expected


async def test_a_reader_goes_on_after_a_database_that_could_not_be_used(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/cups.sqlite", models.Base) as database:
        lists = ListRepository(database.reader())
        (tmp_path / "cups.sqlite").rename(tmp_path / "away")
        (tmp_path / "cups.sqlite").mkdir()
        with pytest.raises(Unavailable):
            await lists.list_orders(USER, OrderFilter(), Page(1, None, ""))
        (tmp_path / "cups.sqlite").rmdir()
        (tmp_path / "away").rename(tmp_path / "cups.sqlite")
        assert not (await lists.list_orders(USER, OrderFilter(), Page(1, None, ""))).items


async def test_wrong_sql_is_not_called_a_database_that_is_away(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/cups.sqlite", models.Base) as database:
        lists = ListRepository(database.reader())
        with sqlite3.connect(tmp_path / "cups.sqlite") as connection:
            connection.execute("DROP TABLE ledger")
        with pytest.raises(sqlite3.OperationalError):
            await lists.list_ledger_entries(USER, OrderFilter(), Page(1, None, ""))


async def test_a_closed_reader_refuses(database_url):
    async with opened(database_url, models.Base) as database:
        assert isinstance(database, Database)
        reader = ListRepository(database.reader())
        await reader.list_orders(USER, OrderFilter(), Page(1, None, ""))
    if database.dialect == "sqlite":
        with pytest.raises(Unavailable):
            await reader.list_orders(USER, OrderFilter(), Page(1, None, ""))
