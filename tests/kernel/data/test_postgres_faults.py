"""PostgreSQL that breaks: during a commit, or killed and started again. What was answered is true."""

import asyncio
import itertools
import random

import pytest
from sqlalchemy import select

from services.kernel.data import postgres_writer
from services.kernel.data.backend import PostgresOptions
from services.kernel.data.database import Database
from services.kernel.data.reads import RowText
from services.kernel.data.writes import WriteSequence
from services.kernel.errors import CommitUnknown, Duplicate, StartError, Unavailable
from tests.kernel.data.cups import Base, Cup, cup, levels, outcomes, put
from tests.kernel.data.line import COMMIT, STATEMENT, Line
from tests.postgres import ROLE, installed_server, opened
from tests.waiting import until

QUICK = PostgresOptions(connect_timeout_s=2)
_names = itertools.count(1)


@pytest.fixture
async def line(postgres):
    async with Line(postgres.port) as to_server:
        yield to_server


@pytest.fixture
async def database(line):
    url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/faults{next(_names)}"
    async with opened(url, Base, options=QUICK) as cup_database:
        yield cup_database


@pytest.fixture(params=[STATEMENT, COMMIT], ids=["at once", "in parts"])
def more(request, line):
    """Changes that go along with a group, which is broken where it is committed: by its statement, or by a COMMIT."""
    line.at = request.param
    return lambda writer: [] if line.at == STATEMENT else [writer.submit([cup("a")], refusable=True)]


async def test_a_commit_that_the_server_never_got_is_not_done(database, line, more):
    writer, sequence = database.writer(), WriteSequence()
    await writer.submit([cup("a")])
    line.cut = "before"
    group = [writer.submit([cup("b")], sequence), writer.submit([cup("c")]), *more(writer)]
    assert await outcomes(*group) == ["Unavailable"] * len(group)
    assert not line.cut and sequence.broken
    assert await outcomes(writer.submit([cup("d")])) == ["done"]
    assert set(await levels(database)) == {"a", "d"}


async def test_a_commit_whose_answer_was_lost_is_done(database, line, more):
    writer, sequence = database.writer(), WriteSequence()
    await writer.submit([cup("a")])
    line.cut = "after"
    group = [writer.submit([cup("b")], sequence), writer.submit([cup("c")], refusable=True), *more(writer)]
    assert await outcomes(*group) == ["done", "done", "Duplicate"][: len(group)]
    assert not line.cut and not sequence.broken
    assert set(await levels(database)) == {"a", "b", "c"}


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_while_the_server_stays_away_the_outcome_is_unknown_and_nothing_is_written_over_it(
    database, line, cut, more, monkeypatch
):
    monkeypatch.setattr(postgres_writer, "ASK_S", 0.2)
    writer, sequence = database.writer(), WriteSequence()
    await writer.submit([cup("a")])
    line.cut, line.is_down = cut, True
    group = [writer.submit([put("a", 2)], sequence), *more(writer)]
    assert await outcomes(*group) == ["CommitUnknown"] * len(group)
    assert sequence.broken
    assert await outcomes(writer.submit([cup("b")])) == ["Unavailable"]
    line.is_down = False
    assert await outcomes(writer.submit([cup("c")])) == ["done"]
    assert await levels(database) == {"a": 2 if cut == "after" else 1, "c": 1}


async def test_a_lost_statement_that_was_refused_is_not_done_and_its_rows_are_refused_the_next_time(database, line):
    writer = database.writer()
    await writer.submit([cup("a")])
    line.at, line.cut = STATEMENT, "after"
    group = [writer.submit([cup("a")], refusable=True), writer.submit([cup("b")])]
    assert await outcomes(*group) == ["Unavailable"] * 2
    assert await outcomes(writer.submit([cup("a")], refusable=True), writer.submit([cup("b")])) == ["Duplicate", "done"]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_unit_of_work_that_is_cut_in_its_commit_is_unknown(database, line, cut):
    with pytest.raises(CommitUnknown):
        async with database.repositories(lambda session: session)() as session:
            session.add(Cup(name="a", level=1))
            await session.flush()
            line.cut = cut
    assert set(await levels(database)) == ({"a"} if cut == "after" else set())


async def test_a_unit_of_work_that_is_cut_before_its_commit_has_done_nothing(database, line):
    with pytest.raises(Unavailable):
        async with database.repositories(lambda session: session)() as session:
            session.add(Cup(name="a", level=1))
            line.hang_up()
            await session.flush()
    assert await levels(database) == {}


async def test_a_unit_of_work_whose_connection_is_lost_while_it_is_idle_is_unavailable(database, line):
    unit = database.repositories(lambda session: session)
    with pytest.raises(Unavailable):
        async with unit.read() as session:
            await session.scalar(select(Cup.name))
            line.hang_up()
            await until(lambda: _is_closed(session))
    with pytest.raises(Unavailable):
        async with unit() as session:
            line.hang_up()
            await until(lambda: _is_closed(session))
            raise LookupError
    assert await levels(database) == {}


async def test_what_a_server_out_of_reach_does_not_answer_fails_after_its_time(line, monkeypatch):
    monkeypatch.setattr(postgres_writer, "ASK_S", 0.2)
    url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/faults{next(_names)}"
    options = PostgresOptions(connect_timeout_s=2, statement_timeout_s=2)
    async with opened(url, Base, options=options) as database:
        unit, reader, writer = database.repositories(lambda session: session), database.reader(), database.writer()
        query = reader.prepare(select(RowText(Cup.name)))
        await writer.submit([cup("a")])
        async with unit.read() as reading, unit():
            await reading.scalar(select(Cup.name))
        line.is_silent = True
        waiting = levels(database), reader.fetch(query, {}), _write(unit), writer.submit([cup("b")])
        assert await outcomes(*waiting) == ["Unavailable"] * 3 + ["CommitUnknown"]
        line.is_silent = False
        line.hang_up()
        await until(lambda: _is_written(writer))


async def test_a_start_waits_for_a_server_that_is_too_busy_to_answer(line, caplog):
    url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/faults{next(_names)}"
    async with opened(url, Base, options=QUICK):
        pass
    database = Database(url, Base, options=PostgresOptions(connect_timeout_s=1))
    line.is_silent = True
    starting = asyncio.create_task(database.start())
    await until(lambda: "it is asked again" in caplog.text, 60)
    line.is_silent = False
    await starting
    await database.close()


async def test_a_start_without_a_server_ends_at_once(line, caplog):
    line.is_down = True
    database = Database(f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/faults", Base, options=QUICK)
    with pytest.raises(StartError, match="faults"):
        await database.start()
    assert "it is asked again" not in caplog.text
    await database.close()


async def _write(unit):
    async with unit() as session:
        session.add(Cup(name="c", level=1))


async def _is_written(writer):
    return await outcomes(writer.submit([put("d", 1)])) == ["done"]


async def _is_closed(session):
    connection = await session.connection()
    return (await connection.get_raw_connection()).driver_connection.is_closed()


async def test_a_taken_key_of_a_unit_of_work_is_a_duplicate(database):
    await database.writer().submit([cup("a")])
    with pytest.raises(Duplicate):
        async with database.repositories(lambda session: session)() as session:
            session.add(Cup(name="a", level=1))


async def test_units_that_write_follow_each_other_and_one_that_reads_sees_one_moment(database):
    await database.writer().submit([cup("a", 0)])
    unit = database.repositories(lambda session: session)

    async def increase():
        async with unit() as session:
            row = await session.get_one(Cup, "a")
            row.level += 1

    async with unit.read() as session:
        before = await session.scalar(select(Cup.level))
        await asyncio.gather(*(increase() for _ in range(20)))
        await database.writer().submit([cup("b")])
        assert (before, await session.scalar(select(Cup.level))) == (0, 0)
        assert (await session.scalars(select(Cup.name))).all() == ["a"]
    assert await levels(database) == {"a": 20, "b": 1}


async def test_one_statement_reads_in_no_transaction_and_leaves_the_next_unit_its_own(database, line):
    await database.writer().submit([cup("a", 0)])
    unit = database.repositories(lambda session: session)
    for make, begins in (unit.read_one, False), (unit.read, True), (unit.read_one, False), (unit, True):
        async with make() as session:
            assert (await session.scalars(select(Cup.name))).all() == ["a"]
            driver = (await (await session.connection()).get_raw_connection()).driver_connection
            assert driver.is_in_transaction() is begins
    with pytest.raises(Unavailable):
        async with unit.read_one() as session:
            line.hang_up()
            await session.scalar(select(Cup.name))


async def test_units_that_wait_to_write_leave_connections_to_those_that_read(database):
    await database.writer().submit([cup("a", 0)])
    unit, go_on = database.repositories(lambda session: session), asyncio.Event()

    async def write(number):
        async with unit() as session:
            await go_on.wait()
            session.add(Cup(name=f"cup{number}", level=number))

    waiting = [asyncio.create_task(write(number)) for number in range(4 * QUICK.pool_size)]
    await until(unit._turns.locked)
    assert set(await levels(database)) == {"a"}
    go_on.set()
    await asyncio.gather(*waiting)
    assert len(await levels(database)) == 1 + len(waiting)


@pytest.mark.slow
async def test_a_server_that_is_killed_and_started_again_needs_no_restart_of_ours(line, monkeypatch):
    monkeypatch.setattr(postgres_writer, "ASK_S", 0.2)
    server = installed_server(fsync=True)
    try:
        async with opened(server.url("cups"), Base, options=QUICK) as database:
            writer = database.writer()
            await writer.submit([cup("a")])
            await database.probe()
            assert database.writable and set(await levels(database)) == {"a"}
            server.kill()
            assert (await outcomes(writer.submit([cup("b")])))[0] in ("Unavailable", "CommitUnknown")
            with pytest.raises(Unavailable):
                await levels(database)
            with pytest.raises(Unavailable):
                async with database.repositories(lambda session: session)():
                    pass
            await database.probe()
            assert not database.writable
            server.start()
            await database.probe()
            assert database.writable
            assert set(await levels(database)) == {"a"}
            assert await outcomes(writer.submit([cup("c")])) == ["done"]
            assert set(await levels(database)) == {"a", "c"}
    finally:
        server.close()


@pytest.mark.slow
async def test_whenever_the_server_is_killed_what_was_answered_is_true(monkeypatch):
    rng = random.Random(7)
    server = installed_server(fsync=True)
    names, told = (f"cup{number}" for number in itertools.count()), {}
    try:
        async with opened(server.url("cups"), Base, options=QUICK) as database:
            writer = database.writer()

            async def submit(name):
                try:
                    await writer.submit([cup(name)], refusable=rng.random() < 0.5)
                    told[name] = "done"
                except (Unavailable, CommitUnknown) as error:
                    told[name] = type(error).__name__

            for _ in range(5):
                waiting = [asyncio.ensure_future(submit(next(names))) for _ in range(20)]
                # So many answers later, in the middle of whatever the writer does then.
                until_then = len(told) + rng.randrange(60)
                while len(told) < until_then:
                    waiting += [asyncio.ensure_future(submit(next(names))) for _ in range(rng.randrange(5))]
                    await asyncio.sleep(0)
                for _ in range(rng.randrange(30)):
                    await asyncio.sleep(0)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await asyncio.gather(*waiting)
            stored = set(await until(lambda: levels(database)))
    finally:
        server.close()
    assert {name for name, word in told.items() if word == "done"} <= stored
    assert not {name for name, word in told.items() if word == "Unavailable"} & stored
    assert {"done", "Unavailable"} <= set(told.values())
