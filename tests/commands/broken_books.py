"""Books of a trading service that traded with a scripted venue, copies of them, and statements that break a copy."""

import asyncio
import os
import shutil
import sqlite3
from decimal import Decimal
from itertools import count
from pathlib import Path

from services import registry
from services.commands.verify.run import verify_all
from services.kernel.runtime import settings
from tests.harness import SECRET, service_keys_dir
from tests.postgres import shared_server
from tests.trading.conftest import trading
from tests.trading.fakes import SYMBOL

_copies = count(1)


async def trade(client):
    """Positions and money moved, an order that rests, one that closes, one that was canceled, an armed stop."""
    engine = client.engine
    bought = await client.create(quantity=5, price="4000")
    await client.becomes(bought.order_id, "NEW")
    engine.fill(bought.order_id, 2, 4000)
    engine.fill(bought.order_id, 3, 3999)
    await client.becomes(bought.order_id, "FILLED")
    sold = await client.create("SELL", 1, price="4010", effect="CLOSE")
    await client.becomes(sold.order_id, "NEW")
    engine.fill(sold.order_id, 1, 4010)
    await client.becomes(sold.order_id, "FILLED")
    short = await client.create("SELL", 2, price="4020")
    await client.becomes(short.order_id, "NEW")
    engine.fill(short.order_id, 1, 4020)
    await client.becomes(short.order_id, "PARTIALLY_FILLED")
    await client.cancel(short.order_id)
    await client.becomes(short.order_id, "CANCELED")
    resting = await client.create(quantity=1, price="3900")
    await client.becomes(resting.order_id, "NEW")
    closing = await client.create("SELL", 2, price="4100", effect="CLOSE")
    await client.becomes(closing.order_id, "NEW")
    await client.create("SELL", 1, "STOP", effect="CLOSE", stop_price="3800")
    positions = {position.side: position.quantity for position in await client.positions()}
    engine.positions.extend(_position(side, quantity) for side, quantity in positions.items())
    return resting.order_id, closing.order_id


def _position(side, quantity):
    from redfire.engine.v1 import engine_pb2

    return engine_pb2.PositionUpdate(gateway_name="SIM", symbol=SYMBOL, side=side, quantity=quantity)


class SqliteBooks:
    """A data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def made(cls, folder: Path) -> "SqliteBooks":
        asyncio.run(_make(folder))
        return cls(folder)

    def copy(self) -> "SqliteBooks":
        target = self.folder.with_name(f"copy{next(_copies)}")
        shutil.copytree(self.folder, target)
        return SqliteBooks(target)

    def sql(self, *statements: str, service: str = "trading") -> None:
        connection = sqlite3.connect(self.folder / f"{service}_db.sqlite")
        with connection:
            for statement in statements:
                connection.execute(statement.replace("{no bytes}", "x''"))
        connection.close()

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        return "sqlite:///{data_dir}/{name}_db.sqlite"


class PostgresBooks:
    """Databases on the tests' server."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database

    @classmethod
    def made(cls, folder: Path) -> "PostgresBooks":
        os.environ["REDFIRE_TEST_DATABASE"] = "postgresql"
        try:
            databases = asyncio.run(_make(folder))
        finally:
            del os.environ["REDFIRE_TEST_DATABASE"]
        return cls(folder, databases.rpartition("/")[2])

    def copy(self) -> "PostgresBooks":
        name = f"verify{next(_copies)}_trading_db"
        shared_server().sql(f'CREATE DATABASE "{name}" TEMPLATE "{self.database}"', "postgres")
        return PostgresBooks(self.folder, name)

    def sql(self, *statements: str) -> None:
        for statement in statements:
            shared_server().sql(statement.replace("{no bytes}", "''"), self.database)

    def remove(self) -> None:
        shared_server().sql(f'DROP DATABASE "{self.database}" WITH (FORCE)', "postgres")

    @property
    def url(self) -> str:
        return shared_server().url(self.database.replace("trading", "{name}"))


async def _make(folder: Path) -> str:
    async with trading(data_dir=folder) as client:
        await trade(client)
        database = next(one for one in client.platform.host.resources.databases if "trading" in one.name)
        return database.name


async def look(books, grace_s: float = 0.0, repair: bool = False):
    """A run of `redfire verify` on the books."""
    flags = {
        "platform": {"data_dir": books.folder}, "database": {"url": books.url},
        "identity": {"edge_secret": SECRET, "keys_dir": service_keys_dir()},
    }  # fmt: skip
    loaded = settings.load(registry.sections(), flags=flags, environ={})
    return await verify_all(books.folder, loaded, grace_s, repair=repair)


def checks(outcome) -> set[str]:
    return {finding.check for finding in outcome.findings.kept}


def amounts(finding) -> tuple[Decimal, Decimal]:
    return Decimal(finding.expected), Decimal(finding.found)
