"""Faults: each breaks something of a platform and answers how it is mended; what heals by itself mends nothing."""

import contextlib
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from tests.chaos.proxy import TcpProxy
from tests.chaos.recording import holes_in_recording
from tests.chaos.topology import Embedded, EmbeddedPostgres, Replicated
from tests.running import until

REPLACED_S = 300.0
WORKER = "services.strategy.runner"
Mend = Callable[[], None]
Begin = Callable[[Any, random.Random], Mend]


@dataclass(frozen=True)
class Fault:
    """A fault, and for how long it lasts: a time between two, in seconds."""

    name: str
    begin: Begin
    lasts_s: tuple[float, float] = (0.0, 1.0)
    at_length_s: tuple[float, float] | None = None
    """The time where there is time."""
    is_unseen: bool = False
    """No call of clients that follow the retry policy fails."""
    problems: Callable[[Any, float], list[str]] = lambda here, since: []
    """Problems of whatever else must hold afterwards, of the time since then (UNIX seconds)."""
    needs_mount: bool = False
    """Only as root, who may mount."""


def _nothing() -> None:
    pass


def _kill_platform(here: Embedded, chance: random.Random) -> Mend:
    here.running.kill9(children_too=chance.random() < 0.5)
    return here.start


def _kill_envoy(here: Embedded, chance: random.Random) -> Mend:
    _kill(here, "envoy")
    return _nothing


def _kill_worker(here: Embedded, chance: random.Random) -> Mend:
    _kill(here, WORKER)
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
    assert here.running.process is not None
    return _write_nothing([psutil.Process(here.running.process.pid)])


def _write_nothing(processes: Iterable[psutil.Process]) -> Mend:
    """No file of these can grow, or be written beyond its first byte, as on a full disk."""
    limits = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            before = _limit_files(process)
            _limit_files(process, 1, before[1])
            limits.append((process, before))

    def mend() -> None:
        for process, before in limits:
            with contextlib.suppress(psutil.NoSuchProcess):
                _limit_files(process, *before)

    return mend


def _limit_files(process: psutil.Process, *limits: int) -> tuple[int, int]:
    """Set the size of files that a process may write, or leave it; the limits before.

    As the process's own user where that is another: root alone may not everywhere.
    """
    try:
        return resource.prlimit(process.pid, resource.RLIMIT_FSIZE, *([limits] if limits else []))
    except PermissionError:
        user, group = process.uids().real, process.gids().real
        command = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "prlimit",
            f"--pid={process.pid}",
        ]
        show = [*command, "--fsize", "--raw", "--noheadings", "--output=SOFT,HARD"]
        shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split()
        before = tuple(resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in shown)
        if limits:
            texts = ("unlimited" if limit == resource.RLIM_INFINITY else str(limit) for limit in limits)
            subprocess.run([*command, f"--fsize={':'.join(texts)}"], check=True)
        return before[0], before[1]
    except ProcessLookupError:
        raise psutil.NoSuchProcess(process.pid) from None


def _disk_full_under(service: str, here: Replicated, chance: random.Random) -> Mend:
    return _write_nothing(here.processes(service))


def _disk_full_under_workers(here: Replicated, chance: random.Random) -> Mend:
    return _write_nothing(until(lambda: here.children(WORKER), timeout_s=REPLACED_S))


def _data_disk_full(here: Replicated, chance: random.Random) -> Mend:
    """The file system of the data folder has no byte free: for all processes at once, their logs too."""
    here.disk.fill()
    return here.disk.empty


def _postgres_disk_full(here: Replicated, chance: random.Random) -> Mend:
    """No table and no log of PostgreSQL can grow: statements fail, and where its log cannot, the server ends."""
    server = here.servers["PostgreSQL"]
    server.fill()
    return server.empty


def _read_only(folder: str, here: Replicated, chance: random.Random) -> Mend:
    here.disk.forbid(folder)
    return partial(here.disk.allow, folder)


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
    return _cut([here.proxies[name]], chance)


def _slow_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    return _slow([here.proxies[name]], chance)


def _silent_server(name: str, here: Embedded, chance: random.Random) -> Mend:
    return _silent([here.proxies[name]])


def _cut_services(one: str, other: str, here: Replicated, chance: random.Random) -> Mend:
    return _cut(here.network.between(one, other), chance)


def _slow_services(one: str, other: str, here: Replicated, chance: random.Random) -> Mend:
    return _slow(here.network.between(one, other), chance)


def _silent_services(one: str, other: str, here: Replicated, chance: random.Random) -> Mend:
    return _silent(here.network.between(one, other))


def _cut_edge(here: Replicated, chance: random.Random) -> Mend:
    return _cut(here.network.of_process("envoy"), chance)


def _slow_edge(here: Replicated, chance: random.Random) -> Mend:
    return _slow(here.network.of_process("envoy"), chance)


def _silent_edge(here: Replicated, chance: random.Random) -> Mend:
    return _silent(here.network.of_process("envoy"))


def _silent_one_way(here: Replicated, chance: random.Random) -> Mend:
    """One replica of trading is not reached by the other, which it reaches; all else reaches both."""
    return _silent([chance.choice(here.network.between("trading", "trading"))])


def _silent_replica(service: str, here: Replicated, chance: random.Random) -> Mend:
    """One replica reaches no other service any more; who calls it is answered, and so are its servers."""
    return _silent(here.network.of_process(f"{service}-{chance.choice([1, 2])}"))


def _cut(proxies: list[TcpProxy], chance: random.Random) -> Mend:
    """All connections are lost; by chance no new ones come about, either."""
    assert proxies, "nothing is there to cut"
    refuses = chance.random() < 0.5
    for proxy in proxies:
        proxy.refuses = refuses
        proxy.cut()

    def mend() -> None:
        for proxy in proxies:
            proxy.refuses = False

    return mend


def _slow(proxies: list[TcpProxy], chance: random.Random) -> Mend:
    assert proxies, "nothing is there to delay"
    delay_s = chance.uniform(0.01, 0.1)
    for proxy in proxies:
        proxy.delay_s = delay_s

    def mend() -> None:
        for proxy in proxies:
            proxy.delay_s = 0.0

    return mend


def _silent(proxies: list[TcpProxy]) -> Mend:
    """As behind a network that lost its way: nothing is refused, and nothing answered."""
    assert proxies, "nothing is there to hold up"
    for proxy in proxies:
        proxy.stands_still = True

    def mend() -> None:
        for proxy in proxies:
            proxy.stands_still = False

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
PAIRS = (
    ("trading", "engine"),
    ("strategy", "trading"),
    ("market", "engine"),
    ("trading", "auth"),
    ("trading", "market"),
    ("envoy", "trading"),
    ("envoy", "market"),
    ("trading", "trading"),
)
"""Services that call each other: who calls comes first. Replicas of trading forward calls to each other."""


def _server_faults(name: str) -> list[Fault]:
    return [
        Fault(f"kill -9 of {name}", partial(_kill_server, name), (0.0, 3.0)),
        Fault(f"{name} cut off", partial(_cut_server, name)),
        Fault(f"{name} slow", partial(_slow_server, name), (0.5, 1.5)),
    ]


def _service_faults(one: str, other: str) -> list[Fault]:
    return _network_faults(
        f"{one}–{other}",
        partial(_cut_services, one, other),
        partial(_slow_services, one, other),
        partial(_silent_services, one, other),
    )


def _network_faults(name: str, cut: Begin, slow: Begin, silent: Begin) -> list[Fault]:
    return [
        Fault(f"{name} cut off", cut, (0.0, 2.0), (0.0, 10.0)),
        Fault(f"{name} slow", slow, (0.5, 1.5), (0.5, 10.0)),
        Fault(f"{name} silent", silent, (1.0, 6.0), (1.0, 15.0)),
    ]


_SERVICES = [
    *(fault for pair in PAIRS for fault in _service_faults(*pair)),
    *_network_faults("envoy–services", _cut_edge, _slow_edge, _silent_edge),
    Fault("trading–trading silent one way", _silent_one_way, (1.0, 6.0), (1.0, 15.0)),
    *(
        Fault(f"one of {service} isolated", partial(_silent_replica, service), (1.0, 6.0), (1.0, 15.0))
        for service in ("trading", "strategy", "market")
    ),
]
_FULL_S, _FULL_AT_LENGTH_S = (0.5, 2.0), (0.5, 10.0)
_DISKS = [
    *(
        Fault(
            f"disk full under {service}",
            partial(_disk_full_under, service),
            _FULL_S,
            _FULL_AT_LENGTH_S,
            problems=holes_in_recording,
        )
        for service in ("market", "engine", "trading")
    ),
    Fault("PostgreSQL's disk full", _postgres_disk_full, _FULL_S, _FULL_AT_LENGTH_S, needs_mount=True),
    Fault("disk full under workers", _disk_full_under_workers, _FULL_S, _FULL_AT_LENGTH_S),
    Fault("data disk full", _data_disk_full, _FULL_S, _FULL_AT_LENGTH_S, problems=holes_in_recording, needs_mount=True),
    *(
        Fault(
            f"{folder}'s disk read-only",
            partial(_read_only, folder),
            _FULL_S,
            _FULL_AT_LENGTH_S,
            problems=holes_in_recording,
            needs_mount=True,
        )
        for folder in ("market", "strategy")
    ),
]

FAULTS: dict[type[Embedded], list[Fault]] = {
    Embedded: [
        _PLATFORM,
        *_PROCESSES,
        Fault("disk full", _disk_full, (0.5, 2.0), problems=holes_in_recording),
        *_VENUE_AND_CLIENTS,
    ],
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
        *_SERVICES,
        *_DISKS,
        Fault("Redis emptied", _empty_redis),
        Fault("rolling restart", _restart_each, (0.0, 0.0), is_unseen=True),
        *_VENUE_AND_CLIENTS,
    ],
}
"""The faults of each kind of platform."""
