"""SQL of a group: one execution for a shape that comes often, with the effects that single statements have."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite import dialect

from services.kernel.data import sqlite_batch
from services.kernel.data.sqlite_batch import BatchWriter
from services.kernel.data.writes import Submission
from tests.kernel.data.cups import DELETE, INSERT, SIP, UPDATE, UPSERT, Base, cup, order, put

NAMES = st.sampled_from(["a", "b", "c", "d"])
CUPS = st.sampled_from(["kept", "none"])
WRITES = st.one_of(
    st.tuples(st.just(INSERT), st.fixed_dictionaries({"name": NAMES, "level": st.integers(0, 3)})),
    st.tuples(st.just(UPSERT), st.fixed_dictionaries({"name": NAMES, "level": st.integers(0, 3) | st.none()})),
    st.tuples(st.just(UPDATE), st.fixed_dictionaries({"name": NAMES, "level": st.integers(0, 3)})),
    st.tuples(st.just(DELETE), st.fixed_dictionaries({"name": NAMES})),
    # Of a cup that is there, or of one that never is: rows of one submission must not depend on their tables' order.
    st.tuples(
        st.just(SIP), st.fixed_dictionaries({"number": st.integers(0, 5), "cup": st.sampled_from(["kept", "none"])})
    ),
    st.builds(order, NAMES, NAMES, st.sampled_from(["NEW", "FILLED"])),
)
GROUPS = st.lists(st.lists(st.lists(WRITES, min_size=1, max_size=3), min_size=1, max_size=3), max_size=12)


@pytest.fixture(scope="module")
def loop():
    with closing(asyncio.new_event_loop()) as new:
        yield new


def opened(file) -> BatchWriter:
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("INSERT INTO cup VALUES ('kept', 1)")
    return BatchWriter(connection, dialect())


def tables(writer: BatchWriter):
    return [
        writer.connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in ("cup", "sip", "cup_order")
    ]


def outcome(writer: BatchWriter, group) -> str:
    try:
        writer.commit(group)
    except sqlite3.Error as error:
        assert not writer.connection.in_transaction
        return str(error)
    return "done"


class Executions:
    """A connection that notes the first word of each statement."""

    def __init__(self, connection) -> None:
        self.connection = connection
        self.words: list[str] = []

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql, *values):
        self.words.append(sql.split()[0])
        return self.connection.execute(sql, *values)

    def executemany(self, sql, values):
        self.words.append(sql.split()[0])
        return self.connection.executemany(sql, values)


def statements(writer: BatchWriter, group) -> list[str]:
    """The first word of each execution of the driver's."""
    connection = writer.connection
    writer.connection = executions = Executions(connection)
    writer.commit(group)
    writer.connection = connection
    return executions.words


def test_a_group_whose_like_came_before_is_one_execution(tmp_path, loop):
    writer = opened(tmp_path / "cups")

    def group(number):
        return [
            Submission([cup(f"x{number}"), order(f"x{number}", "key", client=f"c{number}")], loop, None, False),
            Submission([cup(f"y{number}"), (UPDATE, {"name": f"x{number}", "level": 7})], loop, None, False),
        ]

    first = statements(writer, group(0))
    assert first == ["BEGIN", "INSERT", "INSERT", "UPDATE", "COMMIT"]
    for number in range(1, sqlite_batch.USES_BEFORE_TRIGGER):
        writer.commit(group(number))
    assert statements(writer, group(99)) == ["INSERT"]
    cups = dict(writer.connection.execute("SELECT name, level FROM cup"))
    assert (cups["x99"], cups["y99"], len(cups)) == (7, 1, 2 * sqlite_batch.USES_BEFORE_TRIGGER + 3)
    assert writer.connection.execute("SELECT count(*) FROM cup_order").fetchone() == (
        sqlite_batch.USES_BEFORE_TRIGGER + 1,
    )


def test_a_refused_row_leaves_nothing_of_such_a_group(tmp_path, loop):
    writer = opened(tmp_path / "cups")
    for number in range(2 * sqlite_batch.USES_BEFORE_TRIGGER):
        writer.commit([Submission([cup(f"x{number}"), (SIP, {"number": number, "cup": "kept"})], loop, None, False)])
    before = tables(writer)
    bad = [Submission([cup("new"), (SIP, {"number": 0, "cup": "kept"})], loop, None, False)]
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: sip\.number"):
        writer.commit(bad)
    assert tables(writer) == before and not writer.connection.in_transaction


@given(groups=GROUPS)
def test_one_execution_does_what_a_statement_per_table_does(groups, tmp_path_factory, loop):
    folder = tmp_path_factory.mktemp("batch")
    with pytest.MonkeyPatch.context() as patch, closing(opened(folder / "a").connection) as one:
        at_once = BatchWriter(one, dialect())
        single = opened(folder / "b")
        patch.setattr(sqlite_batch, "USES_BEFORE_TRIGGER", 1)
        for group in groups:
            submissions = [Submission(writes, loop, None, False) for writes in group]
            patch.setattr(sqlite_batch, "MAX_TRIGGERS", 64)
            result = outcome(at_once, submissions)
            patch.setattr(sqlite_batch, "MAX_TRIGGERS", 0)
            # Of two faults at once either may be the one that is told.
            assert (outcome(single, submissions) == "done") == (result == "done")
            assert tables(at_once) == tables(single)
        single.connection.close()


def test_shapes_beyond_the_most_are_written_by_statements(tmp_path, loop, monkeypatch):
    monkeypatch.setattr(sqlite_batch, "MAX_TRIGGERS", 1)
    writer = opened(tmp_path / "cups")
    for number in range(2 * sqlite_batch.USES_BEFORE_TRIGGER):
        writer.commit([Submission([put("a", number)], loop, None, False)])
        writer.commit([Submission([put("b", number)], loop, None, False), Submission([put("c", 1)], loop, None, False)])
    assert statements(writer, [Submission([put("a", 1)], loop, None, False)]) == ["INSERT"]
    two = [Submission([put("b", 1)], loop, None, False), Submission([put("c", 2)], loop, None, False)]
    assert statements(writer, two) == ["BEGIN", "INSERT", "COMMIT"]
    assert dict(writer.connection.execute("SELECT name, level FROM cup")) == {"a": 1, "b": 1, "c": 2, "kept": 1}
