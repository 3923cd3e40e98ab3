"""Units of work that are cancelled, at each point where they wait: none leaves the file locked or a connection lost."""

import asyncio
import gc
import sqlite3
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from sqlalchemy import select, update

from services.kernel.data.database import Database
from services.kernel.data.sqlite_connection import UnitConnection
from services.kernel.identifiers import new_id
from tests.kernel.data.cups import Base, Cup, cup, outcomes
from tests.waiting import until

MOST_POINTS = 60
UNITS = 12
"""More than there are connections."""


class CancelledAt:
    """Runs a coroutine, and cancels its task where it waits for the n-th time, and the times after that."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], at: int, times: int) -> None:
        self._coroutine, self._at, self._times = coroutine, at, times
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        steps, raised = self._coroutine.__await__(), None
        while True:
            try:
                waited_for = steps.send(None) if raised is None else steps.throw(raised)
            except StopIteration:
                return
            task = asyncio.current_task()
            if task is not None and self._at <= self.waits < self._at + self._times:
                task.cancel()
            self.waits += 1
            raised = None
            try:
                yield waited_for
            except BaseException as error:
                raised = error


@pytest.fixture(autouse=True)
def no_collector():
    """Without a collector, as the platform's comes by seldom: what a cancelled call's traceback holds stays."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cups.sqlite"


async def _unit(database: Database) -> None:
    """A unit of work that writes, and then reads rows of which it does not want all."""
    async with database.repositories(lambda session: session)() as session:
        session.add(Cup(name=new_id(), level=1))
        await session.flush()
        await session.execute(select(Cup))
        await session.execute(update(Cup).values(level=2))


def _is_free(file) -> bool:
    """Test that anybody may write, as the next process would."""
    connection = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def _cancel(database: Database, at: int, times: int) -> bool:
    """Cancel a unit of work; False when it had ended before."""
    running = CancelledAt(_unit(database), at, times)

    async def run() -> None:
        await running

    task = asyncio.create_task(run())
    await asyncio.wait({task})
    return task.cancelled()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_file_can_be_written_wherever_a_unit_of_work_was_cancelled(file, times):
    database = Database(f"sqlite:///{file}", Base)
    await database.start()
    await _unit(database)
    for at in range(MOST_POINTS):
        was_cancelled = await _cancel(database, at, times)
        await until(lambda: _is_free(file), 60)
        assert await outcomes(database.writer().submit([cup(f"written-{at}")])) == ["done"]
        if not was_cancelled:
            break
    assert 5 < at < MOST_POINTS - 1
    await asyncio.gather(*(_unit(database) for _ in range(UNITS)))
    await database.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_unit_of_work_that_is_cancelled_while_it_connects_takes_no_connection_away(file, times):
    for at in range(4):
        database = Database(f"sqlite:///{file}", Base)
        await database.start()
        assert await _cancel(database, at, times)
        await until(lambda: _is_free(file), 60)
        await asyncio.gather(*(_unit(database) for _ in range(UNITS)))
        await database.close()


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_can_be_written_wherever_the_loop_of_a_unit_of_work_ended(file, times):
    """As at a stop, or at the end of a command that was interrupted."""

    async def ended(at: int) -> bool:
        database = Database(f"sqlite:///{file}", Base)
        await database.start()
        return await _cancel(database, at, times)

    for at in range(MOST_POINTS):
        was_cancelled = asyncio.run(ended(at))
        with sqlite3.connect(file, timeout=10, isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        connection.close()
        if not was_cancelled:
            break
    assert at > 5


async def test_a_read_that_is_cancelled_holds_nothing(file):
    database = Database(f"sqlite:///{file}", Base)
    await database.start()
    await asyncio.gather(*(_unit(database) for _ in range(UNITS)))

    async def read() -> None:
        async with database.repositories(lambda session: session).read() as session:
            await session.execute(select(Cup))
            await session.execute(select(Cup.level))

    for at in range(MOST_POINTS):
        running = CancelledAt(read(), at, 1)

        async def run(running: CancelledAt = running) -> None:
            await running

        task = asyncio.create_task(run())
        await asyncio.wait({task})
        await until(lambda: _checkpoints(file), 60)
        if not task.cancelled():
            break
    assert at > 2
    await database.close()


def _checkpoints(file) -> bool:
    """Test that no reader holds up the log's end."""
    connection = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()


async def test_a_connection_that_is_closed_and_stopped_ends_its_thread(file):
    """SQLAlchemy does both to the connection of a statement that was cancelled twice."""
    connection = await UnitConnection(str(file))
    await connection.execute("CREATE TABLE held (number INTEGER)")
    await connection.execute("BEGIN IMMEDIATE")
    await connection._execute(connection._conn.close)
    stopped = connection.stop()
    assert stopped is not None and connection.stop() is stopped
    await stopped
    await until(lambda: not connection._thread.is_alive(), 60)
    assert _is_free(file)


async def test_the_writer_has_its_turn_between_units_of_work_that_follow_each_other(file, monkeypatch):
    """SQLite's lock goes to the first that looks: the writer looked now and then, and gave up after five seconds."""
    database = Database(f"sqlite:///{file}", Base)
    await database.start()
    begun, is_over, order = asyncio.Event(), asyncio.Event(), []

    async def unit(name: str) -> None:
        async with database.repositories(lambda session: session)() as session:
            await session.execute(update(Cup).values(level=1))
            order.append(name)
            if name == "first":
                begun.set()
                await is_over.wait()

    first = asyncio.create_task(unit("first"))
    await begun.wait()
    written = database.writer().submit([cup("written")])
    written.add_done_callback(lambda _: order.append("writer"))
    turn = database._backend.turns
    await until(lambda: turn._waiting)
    others = [asyncio.create_task(unit(f"other-{number}")) for number in range(20)]
    await until(lambda: len(turn._waiting) == 21)
    is_over.set()
    await asyncio.gather(first, written, *others)
    assert order.index("writer") <= 2
    await database.close()


async def test_who_waits_for_a_turn_and_leaves_passes_it_on(file):
    database = Database(f"sqlite:///{file}", Base)
    await database.start()
    begun, is_over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.repositories(lambda session: session)():
            begun.set()
            await is_over.wait()

    holding = asyncio.create_task(hold())
    await begun.wait()
    leaving = [asyncio.create_task(_unit(database)) for _ in range(3)]
    turn = database._backend.turns
    await until(lambda: len(turn._waiting) == 3)
    leaving[0].cancel()
    is_over.set()
    await holding  # the turn has come to the second one, which may not know it yet
    leaving[1].cancel()
    assert [type(one) for one in await asyncio.gather(*leaving, return_exceptions=True)] == [
        asyncio.CancelledError, asyncio.CancelledError, type(None),
    ]  # fmt: skip
    await _unit(database)
    await database.close()
