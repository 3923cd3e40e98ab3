"""The group-commit writer: what is committed in which order, who fails when one fails, and what an end leaves."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import ForeignKey, String, create_engine, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data import group_commit as writer_module
from services.kernel.data.database import Database
from services.kernel.data.group_commit import GroupCommitWriter, WriteSequence
from services.kernel.errors import Unavailable
from tests.waiting import until


class Base(DeclarativeBase):
    pass


class Cup(Base):
    __tablename__ = "cup"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    level: Mapped[int] = mapped_column()


class Sip(Base):
    __tablename__ = "sip"
    number: Mapped[int] = mapped_column(primary_key=True)
    cup: Mapped[str] = mapped_column(String(40), ForeignKey("cup.name"))


INSERT, SIP = Database.insert(Cup), Database.insert(Sip)


@pytest.fixture
async def database(tmp_path):
    cup_database = Database(f"sqlite:///{tmp_path}/cups.sqlite", Base)
    await cup_database.start()
    yield cup_database
    await cup_database.close()


def cup(name: str, level: int | None = 1):
    return INSERT, {"name": name, "level": level}


async def levels(database) -> dict[str, int]:
    async with database.repositories(lambda session: session).read() as session:
        return {row.name: row.level for row in (await session.scalars(select(Cup))).all()}


async def outcomes(*futures) -> list[str]:
    results = await asyncio.gather(*futures, return_exceptions=True)
    return ["done" if outcome is None else type(outcome).__name__ for outcome in results]


async def test_what_was_submitted_later_is_answered_and_wins_later(database):
    upsert = database.upsert(Cup, ["name"])
    writer, answered = database.writer(), []
    waiting = []
    for number in range(2000):
        future = writer.submit([(upsert, {"name": f"cup{number % 7}", "level": number})])
        future.add_done_callback(lambda _, number=number: answered.append(number))
        waiting.append(future)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert answered == list(range(2000))
    assert await levels(database) == {f"cup{n % 7}": n for n in range(1993, 2000)}


async def test_an_answer_follows_the_commit(database, tmp_path):
    await database.writer().submit([cup("a"), (SIP, {"number": 1, "cup": "a"})])
    with contextlib.closing(sqlite3.connect(tmp_path / "cups.sqlite")) as other:
        assert other.execute("SELECT count(*) FROM cup, sip").fetchone() == (1,)


async def test_the_rows_of_one_submission_are_there_together_or_not_at_all(database):
    writer = database.writer()
    results = await outcomes(
        writer.submit([cup("a"), cup("b")]),
        writer.submit([cup("c"), cup("c")]),
        writer.submit([cup("d"), (SIP, {"number": 1, "cup": "none"})]),
        writer.submit([cup("e")]),
    )
    assert results == ["done", "IntegrityError", "IntegrityError", "done"]
    assert set(await levels(database)) == {"a", "b", "e"}


@pytest.mark.parametrize("place", [0, 100, 199])
async def test_one_failing_member_of_a_large_group_fails_alone(database, place):
    await database.writer().submit([cup("taken")])
    names = [f"cup{number}" for number in range(200)]
    names[place] = "taken"
    results = await outcomes(*(database.writer().submit([cup(name)]) for name in names))
    assert [number for number, outcome in enumerate(results) if outcome != "done"] == [place]
    assert set(await levels(database)) == set(names)


async def test_what_builds_on_a_failed_write_fails_until_its_sequence_is_mended(database):
    writer, sequence, other = database.writer(), WriteSequence(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a")], sequence),
        writer.submit([cup("b", None)], sequence),
        writer.submit([cup("c")], sequence),
        writer.submit([cup("d")], other),
        writer.submit([cup("e")]),
    )
    assert results == ["done", "IntegrityError", "Unavailable", "done", "done"]
    assert (sequence.broken, other.broken) == (True, False)
    assert await outcomes(writer.submit([cup("f")], sequence)) == ["Unavailable"]
    sequence.broken = False
    assert await outcomes(writer.submit([cup("g")], sequence)) == ["done"]
    assert set(await levels(database)) == {"a", "d", "e", "g"}


async def test_a_refused_submission_breaks_no_sequence(database):
    writer, sequence = database.writer(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a")], sequence, refusable=True),
        writer.submit([cup("a")], sequence, refusable=True),
        writer.submit([cup("b")], sequence),
    )
    assert results == ["done", "IntegrityError", "done"]
    assert not sequence.broken
    assert set(await levels(database)) == {"a", "b"}


async def test_a_refusable_submission_that_fails_otherwise_breaks_its_sequence(database):
    writer, sequence = database.writer(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a", [])], sequence, refusable=True),
        writer.submit([cup("b")], sequence),
    )
    assert results[0] not in ("done", "IntegrityError")
    assert results[1] == "Unavailable"
    assert sequence.broken
    assert await levels(database) == {}


async def test_a_refusal_depends_on_what_was_committed_before_in_the_same_group(database):
    lower = update(Cup).where(Cup.name == "a").values(level=Cup.level - 1)
    writer = database.writer()
    results = await outcomes(
        writer.submit([cup("a", 5)], refusable=True), writer.submit([(lower, {})]), writer.submit([cup("a", 9)])
    )
    assert results == ["done", "done", "IntegrityError"]
    assert await levels(database) == {"a": 4}


async def test_an_unreachable_database_fails_its_group_and_sequences_and_serves_again_when_it_is_back(tmp_path, caplog):
    engine = create_engine(f"sqlite:///{tmp_path}/cups.sqlite", connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    away = True

    def connect():
        if away:
            raise OSError("gone")
        return engine.connect()

    writer, sequence = GroupCommitWriter(connect), WriteSequence()
    assert await outcomes(writer.submit([cup("a")], sequence), writer.submit([cup("b")])) == ["Unavailable"] * 2
    assert sequence.broken
    away = False
    assert await outcomes(writer.submit([cup("c")]), writer.submit([cup("d")], sequence)) == ["done", "Unavailable"]
    await writer.close()
    with engine.connect() as connection:
        assert connection.scalars(select(Cup.name)).all() == ["c"]
    engine.dispose()


async def test_no_more_waits_than_the_bound(database, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_WAITING", 5)
    writer, names, refused = database.writer(), [], 0
    waiting = []
    # Nothing is awaited in between: what the thread has not taken by then waits.
    for number in range(2000):
        try:
            waiting.append(writer.submit([cup(f"cup{number}")]))
            names.append(f"cup{number}")
        except Unavailable:
            refused += 1
    assert refused
    await asyncio.gather(*waiting)
    assert set(await levels(database)) == set(names)


async def test_a_stop_commits_what_waits_in_order_and_takes_nothing_more(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/cups.sqlite", Base)
    await database.start()
    upsert, writer, sequence = database.upsert(Cup, ["name"]), database.writer(), WriteSequence()
    waiting = [writer.submit([(upsert, {"name": "a", "level": number})], sequence) for number in range(1500)]
    closing = asyncio.ensure_future(database.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        writer.submit([cup("late")])
    await closing
    assert await outcomes(*waiting) == ["done"] * 1500
    with contextlib.closing(sqlite3.connect(Path(tmp_path) / "cups.sqlite")) as connection:
        assert connection.execute("SELECT name, level FROM cup").fetchall() == [("a", 1499)]


async def test_a_caller_that_left_does_not_take_its_write_along(database):
    left = database.writer().submit([cup("a")])
    left.cancel()
    await database.writer().submit([cup("b")])
    assert set(await levels(database)) == {"a", "b"}
    with pytest.raises(IntegrityError):
        await database.writer().submit([cup("a")])


async def test_a_group_of_many_rows_is_written_whole_and_in_order(database):
    writer, put = database.writer(), database.upsert(Cup, ["name"])
    first = [writer.submit([cup(f"cup-{number}", number)]) for number in range(150)]
    again = [writer.submit([(put, {"name": f"cup-{number % 20}", "level": number})]) for number in range(1000, 1150)]
    await asyncio.gather(*first, *again)
    stored = await levels(database)
    assert len(stored) == 150
    assert [stored[f"cup-{number}"] for number in range(20)] == [*range(1140, 1150), *range(1130, 1140)]
    assert stored["cup-149"] == 149


async def test_under_load_groups_are_gathered_and_a_lone_submission_does_not_wait(database, monkeypatch):
    pauses, go_on = [], threading.Event()

    def pause(seconds):
        pauses.append(seconds)
        go_on.wait(10)

    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pause))
    groups: list[int] = []
    transaction = writer_module._transaction

    def counted(connection, group, prepared):
        groups.append(len(group))
        transaction(connection, group, prepared)

    monkeypatch.setattr(writer_module, "_transaction", counted)
    writer = database.writer()
    await writer.submit([cup("a")])
    await writer.submit([cup("b")])
    await asyncio.gather(*(writer.submit([cup(f"c{number}")]) for number in range(writer_module.BUSY_FROM)))
    scattered = []
    for number in range(writer_module.BUSY_WHILE - 1):
        scattered.append(writer.submit([cup(f"d{number}")]))
        await until(lambda: pauses)
    go_on.set()
    await asyncio.gather(*scattered)
    await writer.submit([cup("e")])
    assert pauses == [writer_module.BUSY_INTERVAL_S]
    assert groups == [1, 1, writer_module.BUSY_FROM, writer_module.BUSY_WHILE - 1, 1]


async def test_a_database_that_goes_away_in_a_group_with_a_bad_row_leaves_nothing_of_the_group(database, monkeypatch):
    write = writer_module._write

    def gone_at_third(connection, part, prepared):
        if len(part) == 1 and part[0].writes[0][1]["name"] == "third":
            raise OperationalError("disk full", {}, Exception("disk full"))
        write(connection, part, prepared)

    monkeypatch.setattr(writer_module, "_write", gone_at_third)
    writer, first, later = database.writer(), WriteSequence(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("first")], first),
        writer.submit([cup("bad", None)]),
        writer.submit([cup("third")], later),
        writer.submit([cup("fourth")]),
    )
    assert results == ["Unavailable"] * 4
    assert (first.broken, later.broken) == (True, True)
    assert await levels(database) == {}
    assert await outcomes(writer.submit([cup("fifth")], first)) == ["Unavailable"]


async def test_a_group_with_repeated_keys_is_one_transaction(database, monkeypatch):
    sequence, writer = WriteSequence(), database.writer()
    await asyncio.gather(*(writer.submit([cup(f"old{number}")], sequence) for number in range(5)))
    commits = []

    class Counting:
        def __init__(self, connection):
            self._connection = connection

        def __getattr__(self, name):
            return getattr(self._connection, name)

        def commit(self):
            commits.append(1)
            self._connection.commit()

    commit = GroupCommitWriter._commit
    monkeypatch.setattr(
        GroupCommitWriter, "_commit", lambda self, connection, *rest: commit(self, Counting(connection), *rest)
    )
    names = [f"old{number // 100}" if number % 100 == 50 else f"new{number}" for number in range(500)]
    results = await outcomes(*(writer.submit([cup(name)], sequence, refusable=True) for name in names))
    assert [number for number, outcome in enumerate(results) if outcome != "done"] == [50, 150, 250, 350, 450]
    assert len(commits) == 1 and not sequence.broken
    assert len(await levels(database)) == 500


async def test_a_sequence_is_never_refused_for_lack_of_room(database, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_WAITING", 5)
    writer, sequence = database.writer(), WriteSequence()
    await asyncio.gather(*(writer.submit([cup(f"cup{number}")], sequence) for number in range(2000)))
    assert len(await levels(database)) == 2000 and not sequence.broken
