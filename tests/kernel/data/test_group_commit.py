"""SQLite's writer: its groups under load, and files that go away; test_writers has what it shares with the other."""

import asyncio
import sqlite3
import threading
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, select

from services.kernel.data import group_commit as writer_module
from services.kernel.data.audit_chain import Chain
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.database import Database
from services.kernel.data.group_commit import GroupCommitWriter
from services.kernel.data.sqlite_batch import BatchWriter
from services.kernel.data.write_turn import WriteTurn
from services.kernel.data.writes import WriteSequence
from tests.kernel.data.cups import Base, Cup, cup, levels, outcomes
from tests.waiting import until


@pytest.fixture
async def database(tmp_path):
    cup_database = Database(f"sqlite:///{tmp_path}/cups.sqlite", Base)
    await cup_database.start()
    yield cup_database
    await cup_database.close()


async def test_an_unreachable_database_fails_its_group_and_sequences_and_serves_again_when_it_is_back(tmp_path, caplog):
    engine = create_engine(f"sqlite:///{tmp_path}/cups.sqlite")
    Base.metadata.create_all(engine)
    away = True

    def connect():
        if away:
            raise OSError("gone")
        return sqlite3.connect(f"{tmp_path}/cups.sqlite", isolation_level=None, check_same_thread=False)

    chain, sequence = Chain(AuditTables(Base.metadata)), WriteSequence()
    writer = GroupCommitWriter(connect, engine.dialect, chain, WriteTurn())
    assert await outcomes(writer.submit([cup("a")], sequence), writer.submit([cup("b")])) == ["Unavailable"] * 2
    assert sequence.broken
    away = False
    assert await outcomes(writer.submit([cup("c")]), writer.submit([cup("d")], sequence)) == ["done", "Unavailable"]
    await writer.close()
    with engine.connect() as connection:
        assert connection.scalars(select(Cup.name)).all() == ["c"]
    engine.dispose()


async def test_under_load_groups_are_gathered_and_a_lone_submission_does_not_wait(database, monkeypatch):
    pauses, go_on = [], threading.Event()

    def pause(seconds):
        pauses.append(seconds)
        go_on.wait(10)

    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pause))
    groups: list[int] = []
    commit = BatchWriter.commit

    def counted(batch_writer, group):
        groups.append(len(group))
        commit(batch_writer, group)

    monkeypatch.setattr(BatchWriter, "commit", counted)
    writer = database.writer()
    interval_s, begins, lasts = writer_module.LOADS[-1]
    await writer.submit([cup("a")])
    await writer.submit([cup("b")])
    await asyncio.gather(*(writer.submit([cup(f"c{number}")]) for number in range(begins)))
    scattered = []
    for number in range(lasts - 1):
        scattered.append(writer.submit([cup(f"d{number}")]))
        await until(lambda: pauses)
    go_on.set()
    await asyncio.gather(*scattered)
    await writer.submit([cup("e")])
    assert pauses == [interval_s]
    assert groups == [1, 1, begins, lasts - 1, 1]


def test_the_interval_between_groups_follows_the_load_and_does_not_swing():
    interval_s, intervals = 0.0, []
    for size in (1, 4, 5, 11, 12, 9, 8, 3, 2, 5, 40, 1):
        interval_s = writer_module._interval_s(size, interval_s)
        intervals.append(round(interval_s * 1000))
    assert intervals == [0, 0, 4, 4, 8, 8, 4, 4, 0, 4, 8, 0]


async def test_a_database_that_goes_away_in_a_group_with_a_bad_row_leaves_nothing_of_the_group(database, monkeypatch):
    write = BatchWriter.write

    def gone_at_third(batch_writer, part):
        if len(part) == 1 and part[0].writes[0][1]["name"] == "third":
            raise sqlite3.OperationalError("disk full")
        write(batch_writer, part)

    monkeypatch.setattr(BatchWriter, "write", gone_at_third)
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
    await until(lambda: writer._wake._waiters)  # on its way back it would take the first of what follows alone
    commits = []
    commit = GroupCommitWriter._commit

    def traced(self, batch_writer, *rest):
        batch_writer.connection.set_trace_callback(lambda sql: commits.append(1) if sql == "COMMIT" else None)
        commit(self, batch_writer, *rest)

    monkeypatch.setattr(GroupCommitWriter, "_commit", traced)
    names = [f"old{number // 100}" if number % 100 == 50 else f"new{number}" for number in range(500)]
    results = await outcomes(*(writer.submit([cup(name)], sequence, refusable=True) for name in names))
    assert [number for number, outcome in enumerate(results) if outcome != "done"] == [50, 150, 250, 350, 450]
    assert len(commits) == 1 and not sequence.broken
    assert len(await levels(database)) == 500
