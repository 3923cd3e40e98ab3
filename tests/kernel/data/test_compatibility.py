"""Versions beside each other on one database: which of them run on what a newer one's migrations have made of it."""

from pathlib import Path

import pytest
from sqlalchemy import MetaData, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.database import Database
from services.kernel.data.schema import RETIRED, Schema, runs_from
from services.kernel.errors import StartError

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before}
{more}

def upgrade():
    {body}
"""
STEPS = {
    "0001": (
        'op.create_table("cups", sa.Column("name", sa.String(40), primary_key=True), sa.Column("size", sa.Integer))',
        "",
    ),
    "0002": ('op.add_column("cups", sa.Column("colour", sa.String(10)))', "0001"),
    "0003": ('op.drop_column("cups", "size")', "0002"),
    "0004": ('op.add_column("cups", sa.Column("owner", sa.String(10), nullable=False))', ""),
}


class First(DeclarativeBase):
    pass


class FirstCup(First):
    __tablename__ = "cups"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    size: Mapped[int | None]


class Second(DeclarativeBase):
    """The version that adds a colour, and does without the size, which is still there for the first one."""

    metadata = MetaData(info={RETIRED: ["cups.size"]})


class SecondCup(Second):
    __tablename__ = "cups"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    colour: Mapped[str | None] = mapped_column(String(10))


class Third(DeclarativeBase):
    """The version that takes the size away."""


class ThirdCup(Third):
    __tablename__ = "cups"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    colour: Mapped[str | None] = mapped_column(String(10))


class Fourth(DeclarativeBase):
    """A version that none before can run beside."""


class FourthCup(Fourth):
    __tablename__ = "cups"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    colour: Mapped[str | None] = mapped_column(String(10))
    owner: Mapped[str] = mapped_column(String(10))


BASES = {"0001": First, "0002": Second, "0003": Third, "0004": Fourth}
CUPS = {"0001": FirstCup, "0002": SecondCup, "0003": ThirdCup, "0004": FourthCup}


def migrations_up_to(head: str, folder: Path, steps=STEPS) -> Path:
    """The migrations of a version."""
    (folder / head / "versions").mkdir(parents=True)
    before = None
    for revision, (body, oldest) in steps.items():
        if revision <= head:
            more = f'runs_from = "{oldest}"' if oldest else ""
            text = MIGRATION.format(revision=revision, before=repr(before), more=more, body=body)
            (folder / head / "versions" / f"{revision}_step.py").write_text(text)
            before = revision
    return folder / head


@pytest.fixture
async def versions(database_url, tmp_path):
    """The same database as each version has it."""
    databases = {}
    for head, base in BASES.items():
        databases[head] = Database(database_url.replace("{name}", "cups"), base)
        databases[head].schema = Schema(base.metadata, migrations_up_to(head, tmp_path))
    yield databases
    for database in databases.values():
        await database.close()


async def write_and_read(database, head):
    """Add a row, and read all of a version's columns; the names of the rows."""
    cup = CUPS[head]
    async with database.repositories(lambda session: session)() as session:
        session.add(cup(name=f"of {head}"))
    async with database.repositories(lambda session: session).read() as session:
        return {one.name for one in await session.scalars(select(cup))}


async def refuses(database):
    with pytest.raises(StartError, match="is newer than") as caught:
        await database.start(migrate=False)
    return "\n" not in str(caught.value)


async def test_the_version_before_starts_and_runs_on_a_schema_that_was_expanded_and_then_contracted(versions):
    assert await versions["0001"].migrate() == "made, at 0001"
    assert await versions["0002"].migrate() == "0001 → 0002"
    for head in "0001", "0002":
        await versions[head].start(migrate=False)
        assert f"of {head}" in await write_and_read(versions[head], head)
    assert await versions["0003"].migrate() == "0002 → 0003"
    assert await refuses(versions["0001"])
    await versions["0002"].start(migrate=False)
    async with versions["0002"].repositories(lambda session: session)() as session:
        session.add(SecondCup(name="after the contraction", colour="red"))
    assert await write_and_read(versions["0003"], "0003") == {
        *("of 0001", "of 0002", "of 0003"),
        "after the contraction",
    }


async def test_a_schema_that_was_not_said_to_leave_others_running_refuses_them_all(versions):
    for head in "0001", "0004":
        await versions[head].migrate()
    for head in "0001", "0002", "0003":
        assert await refuses(versions[head])


async def test_migrate_of_the_version_before_changes_nothing_and_its_check_says_that_it_is_not_its_own(versions):
    for head in "0001", "0002":
        await versions[head].migrate()
    assert await versions["0001"].migrate() == "left at 0002, which this version runs on"
    assert await versions["0001"].check(thorough=True) == [
        "its schema 0002 is newer than 0001, which this version knows"
    ]
    assert await versions["0002"].check(thorough=True) == []


async def test_what_was_said_of_one_revision_holds_for_no_other(versions):
    for head in "0001", "0002":
        await versions[head].migrate()

    def set_revision(connection):
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")

    await versions["0001"]._exclusively(set_revision)
    assert await refuses(versions["0001"])


async def test_a_column_that_the_version_before_needs_and_that_is_gone_stops_it(versions):
    for head in "0001", "0002":
        await versions[head].migrate()
    await versions["0001"]._exclusively(lambda it: it.exec_driver_sql("ALTER TABLE cups DROP COLUMN size"))
    with pytest.raises(StartError, match=r"cups\.size is missing"):
        await versions["0001"].start(migrate=False)


@pytest.mark.parametrize(
    ("stated", "oldest"),
    [
        (["", "0001", "0002", "0003"], "0003"),
        (["", "0001", "", "0003"], "0003"),
        (["", "0001", "0001", "0001"], "0001"),
        (["", "0001", "0002", "0002"], "0002"),
        (["", "", "0001", "0002"], "0002"),
        (["", "0001", "0002", ""], "0004"),
    ],
)
def test_the_oldest_version_is_one_that_every_later_migration_leaves_running(tmp_path, stated, oldest):
    steps = {f"{number:04}": ("pass", said) for number, said in enumerate(stated, 1)}
    assert runs_from(migrations_up_to("0004", tmp_path, steps), "0004") == oldest
