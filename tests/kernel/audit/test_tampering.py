"""Changes of the rows of records are found afterwards, and the first that is not as written is named."""

import asyncio
import contextlib
import shutil
import sqlite3
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.audit.record import MAIN, START, Record, digest
from services.kernel.audit_trail.checkpoint import make_checkpoint, present_heads, read_pin, write_pin
from services.kernel.audit_trail.signing import open_key, trusted_keys
from services.kernel.audit_trail.verification import verify
from services.kernel.data.database import Database
from tests.kernel.audit.acts import write, write_unit
from tests.kernel.data.cups import Base

COLUMNS = ("time_ns", "user_id", "method", "outcome", "details", "hash")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A file with two chains, two checkpoints, and records behind them."""
    folder = tmp_path_factory.mktemp("recorded")
    file = folder / "cups.sqlite"

    async def record():
        key = open_key(folder / "signing-key")
        database = Database(f"sqlite:///{file}", Base)
        await database.start()
        for part in range(3):
            for n in range(4):
                await write(database, f"user{n}", f"cup{part}-{n}")
                await write_unit(database, f"user{n}")
            if part < 2:
                heads = await make_checkpoint(database, key)
        chain = database.chain.name
        await database.close()
        return chain, heads

    chain, heads = asyncio.run(record())
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return SimpleNamespace(folder=folder, file=file, chain=chain, heads=heads)


async def verified(recorded, file, pins=()):
    database = Database(f"sqlite:///{file}", Base)
    try:
        return await verify(database, trusted_keys(recorded.folder), pins)
    finally:
        await database.close()


@contextlib.contextmanager
def tampered(recorded, tmp_path):
    file = tmp_path / "tampered.sqlite"
    for old in tmp_path.glob("tampered.sqlite*"):
        old.unlink()
    shutil.copy(recorded.file, file)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield file, connection


async def test_what_nobody_touched_verifies(recorded):
    report = await verified(recorded, recorded.file)
    assert report.broken == []
    # 12 by the writer, 12 by units of work, and 2 checkpoints.
    assert (report.records, report.chains, report.checkpoints, report.since_checkpoint) == (26, 2, 2, 8)


def places(recorded):
    return st.one_of(
        st.tuples(st.just(recorded.chain), st.integers(1, 12)), st.tuples(st.just(MAIN), st.integers(1, 14))
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_edited_deleted_moved_or_inserted_record_is_named(recorded, tmp_path_factory, data):
    chain, sequence = data.draw(places(recorded))
    kind = data.draw(st.sampled_from(["edit", "delete", "swap", "insert"]))
    last = 12 if chain == recorded.chain else 14
    where = "WHERE chain = ? AND sequence = ?"
    with tampered(recorded, tmp_path_factory.mktemp("t")) as (file, connection):
        if kind == "edit":
            column = data.draw(st.sampled_from(COLUMNS))
            change = (
                "time_ns + 1" if column == "time_ns" else "zeroblob(32)" if column == "hash" else f"{column} || 'x'"
            )
            connection.execute(f"UPDATE audit_records SET {column} = {change} {where}", (chain, sequence))
        elif kind == "delete":
            sequence = min(sequence, last - 1)  # the last ones are the next test's
            connection.execute(f"DELETE FROM audit_records {where}", (chain, sequence))
        elif kind == "swap":
            sequence = min(sequence, last - 1)
            for a, b in ((sequence, -1), (sequence + 1, sequence), (-1, sequence + 1)):
                connection.execute(f"UPDATE audit_records SET sequence = {b} {where}", (chain, a))
        else:
            connection.execute(
                f"UPDATE audit_records SET sequence = -sequence {where[:15]} AND sequence > ?", (chain, sequence)
            )
            connection.execute("UPDATE audit_records SET sequence = 1 - sequence WHERE sequence < 0")
            columns = "time_ns, user_id, method, outcome, details, hash"
            connection.execute(
                f"INSERT INTO audit_records (chain, sequence, {columns}) "
                f"SELECT chain, ?, {columns} FROM audit_records {where}",
                (sequence + 1, chain, sequence),
            )
            sequence += 1
        report = asyncio.run(verified(recorded, file))
    assert report.broken, kind
    assert (report.broken[0].chain, report.broken[0].sequence) == (chain, sequence)


@pytest.mark.parametrize("left", [0, 1, 7])
async def test_a_chain_cut_before_its_last_checkpoint_is_named(recorded, tmp_path, left):
    with tampered(recorded, tmp_path) as (file, connection):
        connection.execute("DELETE FROM audit_records WHERE chain = ? AND sequence > ?", (recorded.chain, left))
        (broken,) = (await verified(recorded, file)).broken
    assert (broken.chain, broken.sequence) == (recorded.chain, left + 1)
    assert "checkpoint 10 knows of 8 records" in broken.reason


async def test_the_main_chain_cut_off_is_known_by_a_pin(recorded, tmp_path):
    with tampered(recorded, tmp_path) as (file, connection):
        connection.execute("DELETE FROM audit_records WHERE chain = 'main' AND sequence >= 10")
        connection.execute("DELETE FROM audit_records WHERE chain = ? AND sequence > 4", (recorded.chain,))
        assert (await verified(recorded, file)).broken == []
        broken = (await verified(recorded, file, [recorded.heads])).broken
    assert [(one.chain, one.sequence) for one in broken] == [(MAIN, 10), (recorded.chain, 5)]


async def test_a_chain_that_was_computed_anew_is_known_by_its_checkpoint(recorded, tmp_path):
    with tampered(recorded, tmp_path) as (file, connection):
        hash_ = START
        columns = "time_ns, user_id, method, outcome, details"
        query = f"SELECT sequence, {columns} FROM audit_records WHERE chain = ? ORDER BY sequence"
        for sequence, *values in connection.execute(query, (recorded.chain,)).fetchall():
            record = Record(*values)._replace(user_id="somebody-else")
            hash_ = digest(hash_, recorded.chain, sequence, record)
            connection.execute(
                "UPDATE audit_records SET user_id = ?, hash = ? WHERE chain = ? AND sequence = ?",
                (record.user_id, hash_, recorded.chain, sequence),
            )
        (broken,) = (await verified(recorded, file)).broken
    assert (broken.chain, broken.sequence) == (recorded.chain, 4)  # held by the first one


async def test_a_checkpoint_that_another_key_signed_is_none(recorded, tmp_path):
    with tampered(recorded, tmp_path) as (file, _):
        open_key(tmp_path / "signing-key")
        database = Database(f"sqlite:///{file}", Base)
        report = await verify(database, trusted_keys(tmp_path), [])
        await database.close()
    assert [(one.chain, one.sequence) for one in report.broken] == [(MAIN, 5)]
    assert "not of a key of the platform" in report.broken[0].reason


async def test_pins_are_kept_of_all_chains(recorded, tmp_path):
    write_pin(tmp_path, "cups", recorded.heads)
    assert read_pin(tmp_path / "cups.pin.json") == recorded.heads
    database = Database(f"sqlite:///{recorded.file}", Base)
    heads = await present_heads(database)
    await database.close()
    assert {chain: head.sequence for chain, head in heads.items()} == {MAIN: 14, recorded.chain: 12}
