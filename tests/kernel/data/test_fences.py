"""Fences: what a process writes for a shard that another has taken is not written, and nothing else suffers."""

import asyncio
import itertools

import pytest

from services.kernel.data import postgres_backend
from services.kernel.data.backend import PostgresOptions
from services.kernel.data.writes import Fence, WriteSequence, hold_fences
from services.kernel.errors import Fenced
from tests.kernel.data.cups import Base, Cup, cup, levels, outcomes, put
from tests.kernel.data.line import COMMIT, STATEMENT, Line
from tests.postgres import ROLE, opened
from tests.waiting import until

A, B = Fence(3, 7), Fence(5, 2)
LEASES = "INSERT INTO shard_leases (shard, owner, address, epoch, expires_at) VALUES "
TAKE = "UPDATE shard_leases SET owner = 'other', epoch = epoch + 1 WHERE shard = {}"
_names = itertools.count(1)


@pytest.fixture
async def line(postgres):
    async with Line(postgres.port) as to_server:
        yield to_server


@pytest.fixture
async def database(line):
    """Its connections are cut at will; two shards are leased, also expired ones: nobody has taken them."""
    url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/fences{next(_names)}"
    async with opened(url, Base, options=PostgresOptions(connect_timeout_s=2)) as cup_database:
        cup_database.test_name = url.rpartition("/")[2]
        async with cup_database.repositories(lambda session: session)() as session:
            await (await session.connection()).exec_driver_sql(
                LEASES + "(3, 'own', 'here:1', 7, now()), (5, 'own', 'here:1', 2, now())"
            )
        yield cup_database


@pytest.fixture
async def other(database, postgres):
    """A connection of another process."""
    connection = await postgres.connect(database.test_name)
    yield connection
    await connection.close()


async def test_fences_mean_nothing_on_sqlite(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/x.sqlite", Base) as database:
        assert await outcomes(database.writer().submit([cup("a")], fences=[A, B])) == ["done"]
        async with database.repositories(lambda session: session)() as session:
            await hold_fences(session, {A})


async def test_what_stands_is_written(database):
    writer = database.writer()
    results = await outcomes(
        writer.submit([cup("a")], fences=[A]), writer.submit([cup("b")], fences=[A, B]), writer.submit([cup("c")])
    )
    assert results == ["done"] * 3


@pytest.mark.parametrize("size", [1, 5, 200])
async def test_of_a_mixed_group_only_the_taken_shards_part_is_refused(database, other, size):
    await other.execute(TAKE.format(3))
    writer, fences = database.writer(), ([A], [B], [A, B], [], [Fence(9, 1)])
    futures = [writer.submit([cup(f"{n}")], fences=fences[n % 5]) for n in range(size)]
    expected = ["done" if n % 5 in (1, 3) else "Fenced" for n in range(size)]
    assert await outcomes(*futures) == expected
    assert set(await levels(database)) == {f"{n}" for n in range(size) if expected[n] == "done"}


async def test_what_builds_on_a_fenced_write_is_not_written_and_another_sequence_is(database, other):
    await other.execute(TAKE.format(3))
    writer, mine, others = database.writer(), WriteSequence(), WriteSequence()
    results = await outcomes(
        writer.submit([put("a", 1)], mine, fences=[A]),
        writer.submit([put("a", 2)], mine),
        writer.submit([put("b", 2)], others, fences=[B]),
        writer.submit([cup("c"), cup("c")], fences=[B]),
        writer.submit([put("a", 3)], mine, refusable=True, fences=[A]),
    )
    assert results == ["Fenced", "Unavailable", "done", "Duplicate", "Unavailable"]
    assert mine.broken and not others.broken
    assert await levels(database) == {"b": 2}


async def test_who_takes_a_shard_waits_for_the_write_that_holds_it_and_who_renews_does_not(database, other):
    writer = database.writer()
    await writer.submit([cup("a", 1)])
    blocker = await other_transaction(other, "UPDATE cup SET level = 2 WHERE name = 'a'")
    pending = writer.submit([put("a", 3)], fences=[A])
    taker = await postgres_connection(database)
    renewer = await postgres_connection(database)
    await until(lambda: waits(renewer))
    await renewer.execute("UPDATE shard_leases SET expires_at = now() + interval '5 s' WHERE owner = 'own'")
    take = asyncio.create_task(taker.execute(TAKE.format(3)))
    await until(lambda: waits(renewer, 2))
    assert not take.done() and not pending.done()
    await blocker.rollback()
    await pending
    await take
    assert await outcomes(writer.submit([put("a", 4)], fences=[A])) == ["Fenced"]
    assert await levels(database) == {"a": 3}
    await taker.close()
    await renewer.close()


async def test_a_process_that_stands_still_within_a_transaction_loses_the_shard_and_writes_nothing(
    database, line, other, monkeypatch
):
    """Its connection stays up: as with SIGSTOP the server hears nothing, and nobody closes it."""
    monkeypatch.setattr(postgres_backend, "FENCES_HELD_S", 0.3)
    writer = database.writer()
    await writer.submit([cup("taken")])
    line.cut = "hold"
    # Of two submissions of which one is refused: a transaction of several statements.
    pending = writer.submit([cup("a")], fences=[A]), writer.submit([cup("taken")], refusable=True)
    await asyncio.wait_for(line.held.wait(), 20)
    await asyncio.wait_for(other.execute(TAKE.format(3)), 20)
    line.go_on.set()
    assert (await outcomes(*pending))[0] in ("Unavailable", "Fenced")
    assert await outcomes(writer.submit([cup("b")], fences=[A]), writer.submit([cup("c")], fences=[B])) == [
        "Fenced", "done",
    ]  # fmt: skip
    assert set(await levels(database)) == {"taken", "c"}


async def test_a_process_that_stands_still_before_its_statement_loses_the_shard_and_writes_nothing(
    database, line, other
):
    writer = database.writer()
    await writer.submit([cup("a")], fences=[A])
    line.at, line.cut = STATEMENT, "hold"
    pending = writer.submit([cup("b")], fences=[A, B]), writer.submit([cup("c")], fences=[B])
    await asyncio.wait_for(line.held.wait(), 20)
    await asyncio.wait_for(other.execute(TAKE.format(3)), 20)
    line.go_on.set()
    assert await outcomes(*pending) == ["Fenced", "done"]
    assert set(await levels(database)) == {"a", "c"}


@pytest.mark.parametrize("at", [STATEMENT, COMMIT])
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_lost_commit_is_done_or_not_done_with_any_owner_by_then(database, line, other, cut, at):
    writer, sequence = database.writer(), WriteSequence()
    await writer.submit([cup("a")], fences=[A])
    line.at, line.cut = at, cut
    if at == COMMIT:
        writer.submit([cup("a")], refusable=True)
    pending = writer.submit([cup("b")], sequence, fences=[A])
    await until(lambda: line.broken)
    await other.execute(TAKE.format(3))
    is_done = cut == "after"
    assert await outcomes(pending) == ["done" if is_done else "Unavailable"]
    assert sequence.broken is not is_done
    assert await outcomes(writer.submit([cup("c")], fences=[A])) == ["Fenced"]
    assert set(await levels(database)) == ({"a", "b"} if is_done else {"a"})


async def test_a_unit_of_work_holds_its_fences_or_is_fenced(database, other):
    unit = database.repositories(lambda session: session)
    async with unit() as session:
        await hold_fences(session, {A, B})
        session.add(Cup(name="a", level=1))
        await session.flush()
        take = asyncio.create_task(other.execute(TAKE.format(3)))
        looker = await postgres_connection(database)
        await until(lambda: waits(looker))
    await take
    with pytest.raises(Fenced):
        async with unit() as session:
            await hold_fences(session, {A, B})
            session.add(Cup(name="b", level=1))
    assert set(await levels(database)) == {"a"}
    await looker.close()


async def postgres_connection(database):
    return await database._backend._connect()


async def other_transaction(connection, statement):
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement)
    return transaction


async def waits(connection, count=1):
    """True when so many sessions of this database wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return await connection.fetchval(query) >= count
