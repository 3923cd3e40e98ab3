"""Units of work and the group-commit writer."""

import asyncio
import contextlib
import sqlite3
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Index, String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import Amount, JsonDocument, UtcTime
from services.kernel.data.database import Database
from services.kernel.decimals import plain
from services.kernel.errors import Duplicate, StartError, Unavailable
from services.kernel.identifiers import new_id
from tests.postgres import opened
from tests.waiting import until


class Base(DeclarativeBase):
    pass


class Cup(Base):
    __tablename__ = "cup"
    cup_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    volume: Mapped[Decimal] = mapped_column(Amount)
    filled: Mapped[datetime | None] = mapped_column(UtcTime)
    notes: Mapped[object] = mapped_column(JsonDocument)


@pytest.fixture
async def database(database_url):
    async with opened(database_url, Base) as cup_database:
        yield cup_database


@pytest.fixture
async def file_database(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/cups.sqlite", Base) as cup_database:
        yield cup_database


def cup(name, volume="1", **more):
    return {"cup_id": name, "volume": Decimal(volume), "filled": None, "notes": {}, **more}


async def volumes(database) -> dict[str, Decimal]:
    async with database.repositories(lambda s: s).read() as session:
        return {row.cup_id: row.volume for row in (await session.scalars(select(Cup))).all()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE cup DROP COLUMN notes", "cup.notes is missing"),
        ("ALTER TABLE cup ADD COLUMN colour TEXT", "cup.colour is unknown"),
    ],
)
async def test_tables_of_another_version_stop_the_start_in_one_line_and_stay_as_they_are(tmp_path, change, named):
    file = tmp_path / "cups.sqlite"
    first = Database(f"sqlite:///{file}", Base)
    await first.start()
    await first.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(change)
        before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    again = Database(f"sqlite:///{file}", Base)
    with pytest.raises(StartError) as caught:
        await again.start()
    await again.close()
    assert str(file) in str(caught.value)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before


async def test_columns_with_defaults_and_indexes_are_added_to_tables_that_hold_rows(tmp_path):
    file = tmp_path / "cups.sqlite"
    first = Database(f"sqlite:///{file}", Base)
    await first.start()
    await first.writer().submit([(Database.insert(Cup), cup("old"))])
    await first.close()

    class Later(DeclarativeBase):
        pass

    class LaterCup(Later):
        __tablename__ = "cup"
        __table_args__ = (Index("cup_by_colour", "colour"),)
        cup_id: Mapped[str] = mapped_column(String(36), primary_key=True)
        volume: Mapped[Decimal] = mapped_column(Amount)
        filled: Mapped[datetime | None] = mapped_column(UtcTime)
        notes: Mapped[object] = mapped_column(JsonDocument)
        colour: Mapped[str] = mapped_column(String(8), server_default="white")
        weight: Mapped[Decimal] = mapped_column(Amount, server_default="0")
        owner: Mapped[str | None] = mapped_column(String(8))

    for _ in range(2):
        later = Database(f"sqlite:///{file}", Later)
        await later.start()
        async with later.repositories(lambda s: s).read() as session:
            (later_cup,) = (await session.scalars(select(LaterCup))).all()
        await later.close()
        assert (later_cup.cup_id, later_cup.colour, later_cup.weight, later_cup.owner) == (
            "old",
            "white",
            Decimal(0),
            None,
        )
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'cup_by_colour'").fetchone() == (1,)


async def test_a_file_that_is_no_database_stops_the_start_in_one_line(tmp_path):
    file = tmp_path / "cups.sqlite"
    file.write_text("a shopping list " * 100)
    database = Database(f"sqlite:///{file}", Base)
    with pytest.raises(StartError) as caught:
        await database.start()
    await database.close()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_values_come_back_as_they_went(database):
    time = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    async with database.repositories(lambda s: s)() as session:
        session.add(Cup(**cup("a", "123456789012345678.12345678", filled=time, notes={"x": [1, None, "ü"]})))
    async with database.repositories(lambda s: s).read() as session:
        stored = await session.get(Cup, "a")
    assert (stored.volume, stored.filled, stored.notes) == (
        Decimal("123456789012345678.12345678"), time, {"x": [1, None, "ü"]}
    )  # fmt: skip


async def test_a_block_that_raises_changes_nothing(database):
    with pytest.raises(RuntimeError):
        async with database.repositories(lambda s: s)() as session:
            session.add(Cup(**cup("a")))
            await session.flush()
            raise RuntimeError
    assert await volumes(database) == {}


async def test_writers_of_both_kinds_do_not_block_each_other_for_long(database):
    insert = database.insert(Cup)
    unit = database.repositories(lambda s: s)

    async def slow(i):
        async with unit() as session:
            session.add(Cup(**cup(f"slow{i}")))

    quick = [database.writer().submit([(insert, cup(f"quick{i}"))]) for i in range(200)]
    await asyncio.gather(*(slow(i) for i in range(20)), *quick)
    assert len(await volumes(database)) == 220


async def test_a_statement_cancelled_at_the_end_of_the_process_leaves_no_task(file_database):
    database = file_database
    others, running, go_on = asyncio.all_tasks(), threading.Event(), threading.Event()

    def ours() -> list[asyncio.Task[object]]:
        return sorted(asyncio.all_tasks() - others, key=lambda task: int(task.get_name().removeprefix("Task-")))

    def pause() -> bool:
        running.set()
        return go_on.wait()

    async def work() -> None:
        async with database.repositories(lambda session: session).read() as session:
            raw = await (await session.connection()).get_raw_connection()
            await raw.driver_connection.create_function("pause", 0, pause)
            await session.execute(text("SELECT pause()"))

    task = asyncio.create_task(work())
    await until(running.is_set)
    task.cancel()
    # It waits for the thread, and closes the connection in a task of its own; a loop that ends cancels both.
    for _ in range(3):
        for closing in ours():
            closing.cancel()
            await asyncio.sleep(0)
    assert ours() == [task]
    go_on.set()
    while not task.done():
        for closing in ours():
            closing.cancel()
        await asyncio.sleep(0)
    await until(lambda: not ours())
    assert task.cancelled()


async def test_a_bad_row_fails_alone(database):
    insert = database.insert(Cup)
    names = ["a", "b", "a", "c"]
    outcomes = await asyncio.gather(
        *(database.writer().submit([(insert, cup(name))]) for name in names), return_exceptions=True
    )
    assert [type(o) for o in outcomes] == [type(None), type(None), Duplicate, type(None)]
    assert set(await volumes(database)) == {"a", "b", "c"}


async def test_the_last_upsert_wins(database):
    upsert = database.upsert(Cup, ["cup_id"])
    await asyncio.gather(*(database.writer().submit([(upsert, cup("a", str(i)))]) for i in range(50)))
    assert await volumes(database) == {"a": Decimal(49)}


async def test_a_closed_writer_takes_nothing_and_what_it_took_is_committed(database):
    insert = database.insert(Cup)
    writer = database.writer()
    taken = [writer.submit([(insert, cup(f"c{i}"))]) for i in range(100)]
    await writer.close()
    await asyncio.gather(*taken)
    with pytest.raises(Unavailable):
        writer.submit([(insert, cup("late"))])
    assert len(await volumes(database)) == 100


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**18) + 1, max_value=10**18 - 1))
def test_plain_decimals_have_no_exponent_or_trailing_zeros_and_mean_the_same(value):
    text = plain(value)
    assert Decimal(text) == value
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith("0"))
    assert text != "-0"


def test_identifiers_grow():
    made = [new_id() for _ in range(5000)]
    assert made == sorted(set(made))


async def test_a_database_that_cannot_be_written_is_known_and_known_to_be_well_again(file_database, tmp_path):
    database = file_database
    file, away = tmp_path / "cups.sqlite", tmp_path / "away.sqlite"
    await database.writer().submit([(Database.insert(Cup), cup("a"))])
    await database.probe()
    assert database.writable
    file.rename(away)
    await database.probe()
    assert not database.writable
    assert not file.exists()
    away.rename(file)
    await database.probe()
    assert database.writable


@pytest.mark.slow
async def test_a_database_that_another_writes_for_long_is_not_taken_for_one_that_cannot_be_written(
    file_database, tmp_path
):
    database = file_database
    with contextlib.closing(sqlite3.connect(tmp_path / "cups.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await database.probe()
        assert database.writable
