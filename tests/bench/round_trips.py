"""Round trips to PostgreSQL for each order: what each service asks the database for, however busy the machine is.

    .venv/bin/python -m tests.bench.round_trips [--processes]

Starts the servers in temporary folders, and `redfire up` on them, in one process or with a process for each service;
then creates limit orders far from the market one after the other, each a while after the one before, and counts what
PostgreSQL logs meanwhile beside what it logs without orders. Prints the services' round trips for each order, those
that come most often, and the CPU of the server. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import psutil

from deploy.production.postgres import LocalPostgres
from deploy.production.rabbitmq import LocalRabbitMq
from tests.bench.order_path import ENVIRONMENT
from tests.bench.peer.running import LIMIT_ORDER
from tests.bench.processes import Meter, new_traders, rest_orders
from tests.running import REDFIRE, Running

START_S = 600.0
PAUSE_S = 0.1
SHOWN = 24
LINE = re.compile(r"^(?P<database>\w+)\|LOG:  (?:statement|execute [^:]+): (?P<sql>.*)$")
_VALUES = re.compile(r"'[^']*'|\b\d+\b")
_TABLES = re.compile(r"(?:INSERT INTO|UPDATE|FROM|DELETE FROM) (\w+)")


def statements(text: str) -> Iterator[tuple[str, str]]:
    """(database, statement without its values) of each round trip in a server's log."""
    for line in text.splitlines():
        if found := LINE.match(line):
            yield found["database"].removesuffix("_db"), _shortened(found["sql"])


def _shortened(sql: str) -> str:
    """A statement's first word and the tables in it."""
    bare = _VALUES.sub("?", sql)
    tables = dict.fromkeys(name for name in _TABLES.findall(bare) if name not in ("unnest", "taken", "SELECT"))
    return " ".join([bare.partition(" ")[0], *tables]) if tables else bare[:60]


async def measure(running: Running, postgres: LocalPostgres, count: int) -> None:
    """Print the table."""
    log = postgres.folder / "log.txt"
    server = Meter([psutil.Process(postgres.running.pid)])
    edge = running.addresses["edge"]

    def logged() -> int:
        return log.stat().st_size

    def between(first: int, last: int) -> Counter[tuple[str, str]]:
        with log.open("rb") as file:
            file.seek(first)
            return Counter(statements(file.read(last - first).decode(errors="replace")))

    async with aiohttp.ClientSession() as session:
        tokens, symbol, price = await new_traders(session, edge, 1)
        create = rest_orders(session, f"http://{edge}", tokens, {**LIMIT_ORDER, "symbol": symbol, "price": price})
        for _ in range(10):
            await create()
            await asyncio.sleep(PAUSE_S)
        began, at, cpu_s = time.perf_counter(), logged(), server.cpu_s()
        for _ in range(count):
            await create()
            await asyncio.sleep(PAUSE_S)
        seconds, with_orders = time.perf_counter() - began, between(at, logged())
        used_s, at, cpu_s = server.cpu_s() - cpu_s, logged(), server.cpu_s()
        await asyncio.sleep(seconds)
        without = between(at, logged())
        rest_s = server.cpu_s() - cpu_s
    for_orders = {key: (with_orders[key] - without[key]) / count for key in with_orders}
    by_service: Counter[str] = Counter()
    for (service, _), each in for_orders.items():
        by_service[service] += each  # type: ignore[assignment]
    print(f"{'round trips for each order':60s}{sum(by_service.values()):8.2f}")
    print(f"{'CPU of the server for each order, ms':60s}{(used_s - rest_s) / count * 1e3:8.2f}")
    print(f"{'round trips a second without orders':60s}{sum(without.values()) / seconds:8.2f}\n")
    for service, each in by_service.most_common():
        print(f"{service:60s}{each:8.2f}")
    print()
    for (service, sql), each in sorted(for_orders.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{service:9s} {sql:90.90s}{each:8.2f}")
    print("\nwithout orders, each second")
    for (service, sql), each in without.most_common(SHOWN):
        print(f"{service:9s} {sql:90.90s}{each / seconds:8.2f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", action="store_true", help="a process for each service")
    parser.add_argument("--orders", type=int, default=100, help="how many orders (default 100)")
    options = parser.parse_args()
    with ExitStack() as stack:
        postgres = LocalPostgres(log_statement="all", log_line_prefix="%d|")
        stack.callback(postgres.close)
        rabbitmq = LocalRabbitMq()
        stack.callback(rabbitmq.close)
        variables = {**ENVIRONMENT, "REDFIRE_DATABASE__URL": postgres.url(), "REDFIRE_EVENTS__URL": rabbitmq.url}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redfire-bench-")))
        flags = ["--processes"] if options.processes else []
        running = Running(*flags, "--feed", "sim", data_dir=folder / "data", env=variables)
        migrate = [str(REDFIRE), "migrate", "--data-dir", str(running.data_dir)]
        subprocess.run(migrate, env=running.environment, check=True, stdout=subprocess.DEVNULL)
        running.start(START_S)
        try:
            asyncio.run(measure(running, postgres, options.orders))
        finally:
            running.stop(60)


if __name__ == "__main__":
    main()
