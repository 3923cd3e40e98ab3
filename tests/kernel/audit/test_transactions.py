"""A record is there exactly where its change is: on both databases, by the writer and by units of work."""

import asyncio

import pytest
from sqlalchemy import select, text

from services.kernel.audit_trail.listing import Filter, list_page
from services.kernel.audit_trail.verification import verify
from services.kernel.errors import Duplicate
from tests.kernel.audit.acts import METHOD, acting, write, write_unit
from tests.kernel.data.cups import Base, Cup, cup, levels, order, outcomes
from tests.postgres import opened


@pytest.fixture
async def database(database_url):
    async with opened(database_url, Base) as cup_database:
        yield cup_database


async def entries(database, **wanted):
    return (await list_page([("cups", database)], Filter(**wanted), 1000))[0]


async def users(database):
    return sorted(entry.user_id for entry in await entries(database))


async def test_a_record_says_who_did_what_from_where(database):
    await write(database, "ann", "a")
    (entry,) = await entries(database)
    assert (entry.user_id, entry.method, entry.outcome) == ("ann", METHOD, "OK")
    assert entry.details["session_id"] == "session-of-ann"
    assert entry.details["client_address"] == "10.1.2.3"
    assert entry.details["request_id"] == "request-of-ann"
    assert entry.details["resource"] == "risk/state"
    assert len(entry.details["trace_id"]) == 32


async def test_acts_of_one_group_are_chained_in_order_and_verify(database):
    await asyncio.gather(*(write(database, f"user{n:03}", f"cup{n}") for n in range(150)))
    await write_unit(database, "zoe")
    report = await verify(database, {}, [])
    assert (report.broken, report.records, report.chains) == ([], 151, 2)
    assert await users(database) == [*(f"user{n:03}" for n in range(150)), "zoe"]


async def test_of_a_group_in_which_some_are_refused_the_others_are_recorded_and_the_chain_is_whole(database):
    await write(database, "first", "taken")
    results = await outcomes(
        *(write(database, f"user{n}", "taken" if n % 3 == 0 else f"cup{n}") for n in range(30)),
    )
    assert results == ["Duplicate" if n % 3 == 0 else "done" for n in range(30)]
    assert await users(database) == sorted(["first", *(f"user{n}" for n in range(30) if n % 3)])
    assert (await verify(database, {}, [])).broken == []


async def test_an_order_that_a_taken_key_refuses_leaves_no_record_of_a_change(database):
    async def send(user, order_id):
        with acting(user):
            await database.writer().submit([order(order_id, "one-key")], refusable=True)

    assert await outcomes(send("ann", "1"), send("bob", "2"), send("cid", "3")) == ["done", "Duplicate", "Duplicate"]
    assert await users(database) == ["ann"]
    assert (await verify(database, {}, [])).broken == []


async def test_the_second_change_of_a_call_is_not_a_second_record_unless_the_first_failed(database):
    with acting("ann"):
        await database.writer().submit([cup("a")])
        await database.writer().submit([cup("b")])
    with acting("bob") as draft:
        with pytest.raises(Duplicate):
            await database.writer().submit([cup("a")])
        assert not draft.is_recorded
        await database.writer().submit([cup("c")])
        assert draft.is_recorded
    assert await users(database) == ["ann", "bob"]


async def test_a_unit_of_work_that_is_rolled_back_leaves_no_record(database):
    async def add(session):
        session.add(Cup(name="a", level=1))

    async def add_and_fail(session):
        session.add(Cup(name="b", level=1))
        raise RuntimeError("no")

    await write_unit(database, "ann", add)
    with pytest.raises(RuntimeError):
        await write_unit(database, "bob", add_and_fail)
    with pytest.raises(Duplicate):
        await write_unit(database, "cid", add)
    assert await users(database) == ["ann"]
    assert await levels(database) == {"a": 1}
    assert (await verify(database, {}, [])).broken == []


async def test_units_at_once_are_one_chain(database):
    await asyncio.gather(*(write_unit(database, f"user{n:02}") for n in range(20)))
    table = database.audit.records
    async with database.repositories(lambda session: session).read() as session:
        rows = (await session.execute(select(table.c.chain, table.c.sequence).order_by(table.c.sequence))).all()
    assert [tuple(row) for row in rows] == [("main", n) for n in range(1, 21)]
    assert (await verify(database, {}, [])).broken == []


async def test_pages_go_on_where_the_last_one_ended(database):
    for n in range(7):
        await write(database, f"user{n}", f"cup{n}")
    seen, token = [], ""
    while True:
        page, token = await list_page([("cups", database)], Filter(), 3, token)
        seen += [entry.user_id for entry in page]
        if not token:
            break
    assert seen == [f"user{n}" for n in reversed(range(7))]


async def test_filters_by_user_method_outcome_and_time(database):
    await write(database, "ann", "a")
    with acting("bob", "/redfire.risk.v1.RiskService/UpdateLimits") as draft:
        draft.outcome = "PERMISSION_DENIED"
        await database.writer().submit([])
    everybody = await entries(database)
    assert [e.user_id for e in await entries(database, user_id="ann")] == ["ann"]
    assert [e.user_id for e in await entries(database, method="UpdateLimits")] == ["bob"]
    assert [e.user_id for e in await entries(database, method=METHOD)] == ["ann"]
    assert [e.user_id for e in await entries(database, outcome="PERMISSION_DENIED")] == ["bob"]
    newest, oldest = everybody
    assert [e.user_id for e in await entries(database, since_ns=newest.time_ns)] == ["bob"]
    assert [e.user_id for e in await entries(database, until_ns=newest.time_ns)] == ["ann"]
    assert oldest.previous_hash == "00" * 32
    assert newest.previous_hash == oldest.hash


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_records SET user_id = 'mallory'",
        "UPDATE audit_records SET time_ns = time_ns + 1",
        "UPDATE audit_records SET outcome = 'DENIED'",
        "UPDATE audit_records SET hash = (SELECT hash FROM audit_records WHERE chain = :chain AND sequence = 1)",
        "DELETE FROM audit_records",
    ],
)
async def test_a_row_that_somebody_changes_in_the_database_is_named(database, change):
    for number in range(4):
        await write(database, f"user{number}", f"cup{number}")
    assert (await verify(database, {}, [])).broken == []
    chain = database.chain.name
    async with database.repositories(lambda session: session)() as session:
        await session.execute(text(f"{change} WHERE chain = :chain AND sequence = 3"), {"chain": chain})
    broken = (await verify(database, {}, [])).broken[0]
    assert (broken.chain, broken.sequence) == (chain, 3)
