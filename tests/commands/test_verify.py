"""`redfire verify` on books at rest: nothing in good ones, and each kind of broken book."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from services.cli import cli
from services.kernel.data.database import Database
from services.kernel.errors import StartError
from services.kernel.identifiers import new_id
from services.trading import models
from services.user import models as user_models
from tests.commands.broken_books import PostgresBooks, SqliteBooks, amounts, checks, look

OLD, LATE = 1_000, 2_000_000_000_000_000_000
ONE_TRADE = "trade_id = (SELECT min(trade_id) FROM trades)"
CASH = "entry_id = (SELECT min(entry_id) FROM ledger WHERE ledger_account LIKE 'cash:%')"
FILLED = "order_id = (SELECT min(order_id) FROM orders WHERE status = 4)"
RESTING = "order_id = (SELECT min(order_id) FROM orders WHERE is_open AND position_effect = 1)"
CLOSING = "order_id = (SELECT min(order_id) FROM orders WHERE is_open AND position_effect <> 1)"
HELD = """'{"hold_today": "3"}'"""
# Written as each database has bytes.
EMPTY = "{no bytes}"
LATER = f"UPDATE orders SET update_time_ns = {LATE} WHERE {FILLED}"
TRADE_COLUMNS = ", ".join(
    c.name for c in models.TradeRow.__table__.columns if c.name not in ("trade_id", "venue_trade_id")
)
ORDER_COLUMNS = ", ".join(c.name for c in models.OrderRow.__table__.columns if c.name not in ("order_id",))

# What is done to the books: statements, and checks that must find it.
pytestmark = pytest.mark.slow
BROKEN = {
    "a ledger amount": ([f"UPDATE ledger SET amount = '5' WHERE {CASH}"], {"transaction_sum", "balance"}),
    "a ledger entry is gone": ([f"DELETE FROM ledger WHERE {CASH}"], {"transaction_sum", "balance"}),
    "a transaction is gone": (
        ["DELETE FROM ledger WHERE kind = 4"], {"balance", "account_realized_pnl", "trade_ledger"},
    ),
    "an entry of nobody's": (
        [f"UPDATE ledger SET account_id = '{new_id()}' WHERE {CASH}"], {"ledger_account", "balance"},
    ),
    "a balance": (["UPDATE accounts SET balance = '1'"], {"balance"}),
    "an account's commission": (["UPDATE accounts SET commission = '1'"], {"account_commission"}),
    "an account's profit": (
        ["UPDATE accounts SET realized_pnl = '1'"], {"account_realized_pnl", "position_realized_pnl"},
    ),
    "a trade's quantity": (
        [f"UPDATE trades SET quantity = '7' WHERE {ONE_TRADE}"], {"position_trades", "order_trades"},
    ),
    "a trade's price": ([f"UPDATE trades SET price = '4001' WHERE {ONE_TRADE}"], {"order_notional", "position_cost"}),
    "a trade's commission": (
        [f"UPDATE trades SET commission = '1' WHERE {ONE_TRADE}"], {"trade_ledger", "order_commission"},
    ),
    "a trade is gone": ([f"DELETE FROM trades WHERE {ONE_TRADE}"], {"position_trades", "order_trades", "trade_ledger"}),
    "a trade counts as busted": (
        [f"UPDATE trades SET busted = NOT busted WHERE {ONE_TRADE}"], {"position_trades", "order_trades"},
    ),
    "a trade has duplicate rows": (
        [
            f"INSERT INTO trades (trade_id, venue_trade_id, {TRADE_COLUMNS}) "
            f"SELECT '{new_id()}', 'again', {TRADE_COLUMNS} FROM trades WHERE {ONE_TRADE}"
        ],
        {"position_trades", "order_trades", "trade_ledger"},
    ),
    "a trade is another account's": (
        [f"UPDATE trades SET account_id = '{new_id()}' WHERE {ONE_TRADE}"], {"trade_order", "position_trades"},
    ),
    "a position's quantity": (
        ["UPDATE positions SET today_quantity = '9' WHERE side = 1"], {"position_trades"},
    ),
    "a position is gone": (["DELETE FROM positions WHERE side = 2"], {"position_trades", "position_cost"}),
    "less than nothing": (
        ["UPDATE positions SET today_quantity = '6', yesterday_quantity = '-2' WHERE side = 1"], {"position_quantity"},
    ),
    "a position's margin": (["UPDATE positions SET margin = '1' WHERE side = 1"], {"position_margin"}),
    "a position's cost": (["UPDATE positions SET cost = '1' WHERE side = 1"], {"position_cost", "position_margin"}),
    "a position's profit": (
        ["UPDATE positions SET realized_pnl = '1' WHERE side = 1"], {"position_cost", "position_realized_pnl"},
    ),
    "an order's filled quantity": (
        [f"UPDATE orders SET cumulative_quantity = '1' WHERE {FILLED}"], {"order_trades", "order_status"},
    ),
    "an order's filled value": ([f"UPDATE orders SET filled_notional = '1' WHERE {FILLED}"], {"order_notional"}),
    "an order is gone": ([f"DELETE FROM orders WHERE {FILLED}"], {"trade_order"}),
    "an open order counts as finished": ([f"UPDATE orders SET is_open = NOT is_open WHERE {RESTING}"], {"order_open"}),
    "a finished order counts as open": ([f"UPDATE orders SET is_open = NOT is_open WHERE {FILLED}"], {"order_open"}),
    "an order of nobody's": ([f"UPDATE orders SET account_id = 'x' WHERE {RESTING}"], {"order_account"}),
    "an order holds too much": (
        [f"UPDATE orders SET details = {HELD} WHERE {CLOSING}"], {"order_hold"},
    ),
    "orders hold more than there is": (
        [f"UPDATE orders SET details = {HELD}, quantity = '3' WHERE is_open AND position_effect <> 1"],
        {"position_frozen"},
    ),
    "an outcome that is not known": (
        [LATER, f"UPDATE orders SET status = 10, update_time_ns = {OLD} WHERE {RESTING}"], {"order_unsettled"},
    ),
    "an order that is nowhere": (
        [LATER, f"UPDATE orders SET delivery = 1, update_time_ns = {OLD} WHERE {RESTING}"], {"order_stuck"},
    ),
    "an instrument is gone": (["DELETE FROM instruments"], {"instrument"}),
    "an event that cannot be read": (
        [f"INSERT INTO outbox (event_id, payload, is_dead) VALUES ('{new_id()}', {EMPTY}, 0 = 0)"], {"dead_letter"},
    ),
    "an event that could not be applied": (
        [
            "INSERT INTO inbox (event_id, position, routing_key, aggregate_id, payload, state, attempts, error,"
            f" accept_time) VALUES ('{new_id()}', 1, 'user.registered', 'u', {EMPTY}, 'DEAD', 25, 'no', 1)"
        ],
        {"dead_letter"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def good(request, tmp_path_factory):
    kind = SqliteBooks if request.param == "sqlite" else PostgresBooks
    return kind.made(tmp_path_factory.mktemp("books") / "data")


@pytest.fixture
def books(good):
    copy = good.copy()
    yield copy
    copy.remove()


async def test_good_books_have_no_findings_and_are_all_counted(books):
    outcome = await look(books)
    assert outcome.findings.kept == []
    assert (outcome.counts["orders"], outcome.counts["trades"], outcome.counts["positions"]) == (6, 4, 2)
    assert outcome.counts["ledger entries"] == 12 and outcome.counts["accounts"] == 1
    assert "nothing runs" in outcome.left_out[0]


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_books_are_found(books, what):
    statements, expected = BROKEN[what]
    books.sql(*statements)
    outcome = await look(books)
    assert expected <= checks(outcome), outcome.findings.kept


async def test_a_key_used_twice_is_found(books):
    """A database without the unique key that prevents it."""
    if isinstance(books, SqliteBooks):
        books.sql("CREATE TABLE kept AS SELECT * FROM orders", "DROP TABLE orders", "ALTER TABLE kept RENAME TO orders")
    else:
        books.sql("ALTER TABLE orders DROP CONSTRAINT orders_account_id_client_order_id_user_id_key")
    again = f"SELECT '{new_id()}', {ORDER_COLUMNS} FROM orders WHERE {RESTING}"
    books.sql(f"INSERT INTO orders (order_id, {ORDER_COLUMNS}) {again}")
    outcome = await look(books)
    assert checks(outcome) == {"client_order_id"}
    assert amounts(outcome.findings.kept[0]) == (1, 2)


async def test_a_finding_names_what_it_is_of_and_both_amounts(books):
    books.sql("UPDATE accounts SET balance = '1.5'")
    outcome = await look(books)
    (finding,) = outcome.findings.kept
    assert finding.check == "balance" and finding.user_id and finding.account_id
    expected, found = amounts(finding)
    assert found == amounts(finding)[1] and str(found) == "1.5" and expected > 900_000


async def _user_database(folder):
    database = Database(f"sqlite:///{folder}/user_db.sqlite", user_models.Base)
    await database.start()
    await database.close()


def test_a_registration_that_trading_never_saw_is_found(tmp_path):
    books = SqliteBooks.made(tmp_path / "data")
    asyncio.run(_user_database(books.folder))
    row = dict.fromkeys((c.name for c in user_models.UserRow.__table__.columns), "'1'")
    row |= {"user_id": "'u-lost'", "role": "'trader'", "status": "'ACTIVE'", "create_time": "1", "update_time": "1"}
    books.sql(f"INSERT INTO users ({', '.join(row)}) VALUES ({', '.join(row.values())})", service="user")
    outcome = asyncio.run(look(books))
    assert [(f.check, f.user_id) for f in outcome.findings.kept] == [("event_lost", "u-lost")]


def call(books, *arguments):
    return CliRunner().invoke(cli, ["verify", "--data-dir", str(books.folder), *arguments])


def test_exit_codes_and_json(tmp_path):
    books = SqliteBooks.made(tmp_path / "data")
    good = call(books)
    assert good.exit_code == 0 and "nothing is wrong; checked 1 accounts, 6 orders, 4 trades" in good.stdout
    books.sql(f"UPDATE trades SET quantity = '7' WHERE {ONE_TRADE}")
    bad = call(books, "--json")
    document = json.loads(bad.stdout)
    assert bad.exit_code == 1 and not document["ok"] and document["finding_count"] == len(document["findings"]) > 1
    found = next(one for one in document["findings"] if one["check"] == "order_trades")
    assert (found["expected"], found["found"]) == ("10", "5") and found["order_id"] and found["user_id"]
    shown = call(books)
    assert (
        shown.exit_code == 1 and "expected 10, found 5" in shown.stdout and "order " + found["order_id"] in shown.stdout
    )


def test_what_cannot_be_checked_is_one_line(tmp_path):
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, "trading has no database")):
        done = CliRunner().invoke(cli, ["verify", "--data-dir", str(folder)])
        assert isinstance(done.exception, StartError) and said in str(done.exception)
    books = SqliteBooks.made(tmp_path / "data")
    books.sql("UPDATE accounts SET balance = '1'")
    done = call(books, "--repair")
    assert isinstance(done.exception, StartError) and "only a platform that runs" in str(done.exception)
    books.sql(f"UPDATE ledger SET amount = 'much' WHERE {CASH}")
    done = call(books)
    assert isinstance(done.exception, StartError) and "an amount that is no number" in str(done.exception)
    books.sql("DROP TABLE ledger")
    assert isinstance(call(books).exception, StartError)


def test_it_changes_nothing(tmp_path):
    books = SqliteBooks.made(tmp_path / "data")
    before = (books.folder / "trading_db.sqlite").read_bytes()
    asyncio.run(look(books))
    assert (books.folder / "trading_db.sqlite").read_bytes() == before
