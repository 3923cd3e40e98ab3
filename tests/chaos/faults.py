"""Faults: each breaks something of a platform and answers how it is mended; what heals by itself mends nothing."""

import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from tests.chaos.topology import Embedded, EmbeddedPostgres
from tests.running import until

Mend = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """A fault, and for how long it lasts: a time between two, in seconds."""

    name: str
    begin: Callable[[Any, random.Random], Mend]
    lasts_s: tuple[float, float] = (0.0, 1.0)


def _nothing() -> None:
    pass


def _kill_platform(here: Embedded, chance: random.Random) -> Mend:
    here.running.kill9(children_too=chance.random() < 0.5)
    return here.start


def _kill_envoy(here: Embedded, chance: random.Random) -> Mend:
    _kill(here, "envoy")
    return _nothing


def _kill_worker(here: Embedded, chance: random.Random) -> Mend:
    _kill(here, "services.strategy.runner")
    return _nothing


def _kill(here: Embedded, word: str) -> None:
    for process in until(lambda: here.children(word), timeout_s=60):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _venue_refuses(here: Embedded, chance: random.Random) -> Mend:
    here.set_engine("sim_reject_ratio", 0.5)
    return lambda: here.set_engine("sim_reject_ratio", 0.0)


def _venue_is_late(here: Embedded, chance: random.Random) -> Mend:
    here.set_engine("sim_latency_ms", chance.choice([50, 400, 1500]))
    return lambda: here.set_engine("sim_latency_ms", 0)


def _disk_full(here: Embedded, chance: random.Random) -> Mend:
    """No file can grow, or be written beyond its first byte, as on a full disk."""
    assert here.running.process is not None
    process = psutil.Process(here.running.process.pid)
    before = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    return lambda: process.rlimit(resource.RLIMIT_FSIZE, before)


def _cut_clients(here: Embedded, chance: random.Random) -> Mend:
    here.edge.refuses = True
    for _ in range(3):
        here.edge.cut()
        time.sleep(chance.uniform(0, 0.1))

    def mend() -> None:
        here.edge.refuses = False

    return mend


def _slow_clients(here: Embedded, chance: random.Random) -> Mend:
    here.edge.delay_s = chance.uniform(0.02, 0.2)

    def mend() -> None:
        here.edge.delay_s = 0.0

    return mend


def _kill_server(here: EmbeddedPostgres, chance: random.Random) -> Mend:
    here.server.kill()
    return here.server.start


def _cut_server(here: EmbeddedPostgres, chance: random.Random) -> Mend:
    here.database.refuses = chance.random() < 0.5
    here.database.cut()

    def mend() -> None:
        here.database.refuses = False

    return mend


def _slow_server(here: EmbeddedPostgres, chance: random.Random) -> Mend:
    here.database.delay_s = chance.uniform(0.01, 0.1)

    def mend() -> None:
        here.database.delay_s = 0.0

    return mend


def _read_only_server(here: EmbeddedPostgres, chance: random.Random) -> Mend:
    """As a standby that was not promoted: transactions only read."""

    def set_it(value: str) -> None:
        here.server.sql(f"ALTER SYSTEM SET default_transaction_read_only = {value}", "postgres", "postgres")
        here.server.sql("SELECT pg_reload_conf()", "postgres", "postgres")

    set_it("on")
    return lambda: set_it("off")


FAULTS: dict[type[Embedded], list[Fault]] = {
    Embedded: [
        Fault("kill -9 of the platform", _kill_platform),
        Fault("kill -9 of Envoy", _kill_envoy),
        Fault("kill -9 of a worker", _kill_worker),
        Fault("disk full", _disk_full, (0.5, 2.0)),
        Fault("venue refuses", _venue_refuses, (0.5, 1.5)),
        Fault("venue is late", _venue_is_late, (0.5, 2.0)),
        Fault("clients cut off", _cut_clients),
        Fault("clients' network slow", _slow_clients, (0.5, 1.5)),
    ],
    EmbeddedPostgres: [
        Fault("kill -9 of PostgreSQL", _kill_server, (0.0, 3.0)),
        Fault("PostgreSQL cut off", _cut_server),
        Fault("PostgreSQL slow", _slow_server, (0.5, 1.5)),
        Fault("PostgreSQL read-only", _read_only_server, (0.5, 1.5)),
        Fault("kill -9 of the platform", _kill_platform),
    ],
}
"""The faults of each kind of platform."""
