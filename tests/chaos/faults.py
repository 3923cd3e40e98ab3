"""Faults: each breaks something of a platform and answers how it is mended; what heals by itself mends nothing."""

import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from tests.chaos.topology import Embedded, EmbeddedPostgres, Replicated
from tests.running import until

REPLACED_S = 300.0
Mend = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """A fault, and for how long it lasts: a time between two, in seconds."""

    name: str
    begin: Callable[[Any, random.Random], Mend]
    lasts_s: tuple[float, float] = (0.0, 1.0)
    at_length_s: tuple[float, float] | None = None
    """The time where there is time."""
    is_unseen: bool = False
    """No call of clients that follow the retry policy fails."""


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
    for process in until(lambda: here.children(word), timeout_s=REPLACED_S):
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


def _kill_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    here.servers[name].kill()
    return here.servers[name].start


def _cut_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    proxy = here.proxies[name]
    proxy.refuses = chance.random() < 0.5
    proxy.cut()

    def mend() -> None:
        proxy.refuses = False

    return mend


def _slow_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    proxy = here.proxies[name]
    proxy.delay_s = chance.uniform(0.01, 0.1)

    def mend() -> None:
        proxy.delay_s = 0.0

    return mend


def _silent_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    """As behind a network that lost its way: nothing is refused, and nothing answered."""
    here.proxies[name].stands_still = True

    def mend() -> None:
        here.proxies[name].stands_still = False

    return mend


def _empty_redis(here: Replicated, chance: random.Random) -> Mend:
    here.servers["Redis"].empty()
    return _nothing


def _kill_replica(service: str, here: Replicated, chance: random.Random) -> Mend:
    chance.choice(here.processes(service)).kill()
    return _nothing


def _restart_each(here: Replicated, chance: random.Random) -> Mend:
    """Every process one after the other ends in order, and is replaced."""
    for service in here.running.pids():
        if service in ("envoy", "risk"):
            continue  # no service, and trading's process
        for at in range(len(here.processes(service))):
            ending = here.processes(service)[at]
            ending.terminate()
            until(lambda ending=ending: not ending.is_running(), REPLACED_S)
    until(here.is_whole, REPLACED_S)
    return _nothing


def _suspend_owner(here: Replicated, chance: random.Random) -> Mend:
    """A replica of trading stands still for longer than its leases last."""
    owner = here.processes("trading")[chance.choice(sorted(here.owners("trading").items()))[1]]
    owner.suspend()
    return owner.resume


def _read_only_server(here: Embedded, chance: random.Random) -> Mend:
    """As a standby that was not promoted: transactions only read."""

    def set_it(value: str) -> None:
        here.servers["PostgreSQL"].sql(
            f"ALTER SYSTEM SET default_transaction_read_only = {value}", "postgres", "postgres"
        )
        here.servers["PostgreSQL"].sql("SELECT pg_reload_conf()", "postgres", "postgres")

    set_it("on")
    return lambda: set_it("off")


_VENUE_AND_CLIENTS = [
    Fault("venue refuses", _venue_refuses, (0.5, 1.5)),
    Fault("venue is late", _venue_is_late, (0.5, 2.0)),
    Fault("clients cut off", _cut_clients),
    Fault("clients' network slow", _slow_clients, (0.5, 1.5)),
]
_PROCESSES = [Fault("kill -9 of Envoy", _kill_envoy), Fault("kill -9 of a worker", _kill_worker)]
_PLATFORM = Fault("kill -9 of the platform", _kill_platform)
AWAY_S = (5.0, 20.0)


def _server_faults(name: str) -> list[Fault]:
    return [
        Fault(f"kill -9 of {name}", partial(_kill_server, name), (0.0, 3.0)),
        Fault(f"{name} cut off", partial(_cut_server, name)),
        Fault(f"{name} slow", partial(_slow_server, name), (0.5, 1.5)),
    ]


FAULTS: dict[type[Embedded], list[Fault]] = {
    Embedded: [_PLATFORM, *_PROCESSES, Fault("disk full", _disk_full, (0.5, 2.0)), *_VENUE_AND_CLIENTS],
    EmbeddedPostgres: [
        *_server_faults("PostgreSQL"),
        Fault("PostgreSQL read-only", _read_only_server, (0.5, 1.5)),
        _PLATFORM,
    ],
    Replicated: [
        *(
            Fault(f"kill -9 of one of {service}", partial(_kill_replica, service))
            for service in ("trading", "strategy", "market", "auth", "user", "config")
        ),
        Fault("kill -9 of engine", partial(_kill_replica, "engine")),
        *_PROCESSES,
        Fault("one of trading stands still", _suspend_owner, (5.0, 6.0), (15.0, 15.0)),
        *(fault for name in ("PostgreSQL", "Redis", "RabbitMQ") for fault in _server_faults(name)),
        *(
            Fault(f"{name} away", partial(_silent_server, name), (1.0, 3.0), AWAY_S)
            for name in ("PostgreSQL", "Redis", "RabbitMQ")
        ),
        Fault("Redis emptied", _empty_redis),
        Fault("rolling restart", _restart_each, (0.0, 0.0), is_unseen=True),
        *_VENUE_AND_CLIENTS,
    ],
}
"""The faults of each kind of platform."""
