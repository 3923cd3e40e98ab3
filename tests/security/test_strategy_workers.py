"""Strategy files that attack from a real worker and a real backtest: each is refused, and its log says so."""

import json
import os
from pathlib import Path

import pytest
from redfire.strategy.v1 import backtest_pb2
from redfire.strategy.v1 import strategy_pb2 as pb

from services.strategy.sandbox.support import detect
from tests.strategy.conftest import StrategyClient
from tests.strategy.jobs.backtests import BacktestClient, store_bars
from tests.strategy.worker_processes import workers
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not detect().confines_network, reason="this kernel's Landlock is older than Linux 6.7"),
]

ATTACKS = '''
import ctypes
import os
from pathlib import Path
import socket
import subprocess
from pathlib import Path

from services.strategy import BaseStrategy, Tick

DATA = Path(os.getcwd()).parents[2]


def system_call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


ATTACKS = {
    "database": lambda: (DATA / "strategy_db.sqlite").read_bytes(),
    "secrets": lambda: (DATA / "secrets" / "service-secret").read_text(),
    "homes": lambda: os.listdir(DATA / "strategy" / "home"),
    "logs": lambda: os.listdir(DATA / "strategy" / "logs"),
    "platform memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
    "platform environment": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "platform ends": lambda: os.kill(os.getppid(), 9),
    "unix socket": lambda: socket.socket(socket.AF_UNIX).connect("/tmp/admin.sock"),
    "other port": lambda: socket.create_connection(("127.0.0.1", 1)),
    "fork": os.fork,
    "program": lambda: subprocess.run(["/bin/true"]),
    "session": os.setsid,
    "ptrace": lambda: system_call(101 if os.uname().machine == "x86_64" else 117, 16, os.getppid(), 0, 0),
    "io_uring": lambda: system_call(425, 1, 0),
    "link": lambda: (os.symlink("/etc/passwd", "link"), open("link").read()),
}


class Attacker(BaseStrategy):
    """Does one thing that it may not."""

    parameters = ["attack"]
    attack = ""
    bar_seconds = 0

    async def on_tick(self, tick: Tick) -> None:
        done = ATTACKS[self.attack]()
        self.write_log(f"DONE {done!r}")


class Filler(BaseStrategy):
    """Fills the disk with files that are small enough each."""

    bar_seconds = 0
    number = 0

    async def on_tick(self, tick: Tick) -> None:
        self.number += 1
        Path(str(self.number)).write_bytes(bytes(1 << 20))


class Honest(BaseStrategy):
    """Goes on."""

    variables = ["ticks", "home", "environment"]
    bar_seconds = 0
    ticks = 0
    home = ""
    environment = ""

    async def on_tick(self, tick: Tick) -> None:
        self.ticks += 1
        self.home = os.getcwd()
        self.environment = " ".join(sorted(os.environ))
'''

BACKTEST = '''
import json

from attacks import ATTACKS
from vnpy_ctastrategy import CtaTemplate


class BacktestAttacker(CtaTemplate):
    """Does all that it may not, and writes down what came of it."""

    author = "test"
    done = False

    def on_init(self):
        pass

    def on_bar(self, bar):
        if self.done:
            return
        self.done = True
        results = {}
        for name, attack in ATTACKS.items():
            if name in ("fork", "program"):
                continue  # a backtest may start processes
            try:
                results[name] = repr(attack())
            except OSError as error:
                results[name] = type(error).__name__
        print("RESULTS", json.dumps(results))
'''


@pytest.fixture
def world():
    from tests.strategy.fakes import FakePlatform

    return FakePlatform()


@pytest.fixture
def serve(world, tmp_path):
    """`serve()` is a strategy service with these files, its data in `data`."""
    from tests.harness import platform

    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "attacks.py").write_text(ATTACKS)
    (folder / "backtest.py").write_text(BACKTEST)

    def run(**settings):
        values = {
            "strategies_dir": folder,
            "sandbox": "on",
            "callback_timeout_s": 30.0,
            "import_timeout_s": 300.0,
            **settings,
        }
        return platform("strategy", settings={"strategy": values}, fakes=world.fakes(), data_dir=tmp_path / "data")

    return run


async def client_of(p, world) -> StrategyClient:
    p.mint = world.auth.mint
    client = StrategyClient(world, p.identity())

    async def listed():
        answer = await client.stub.ListStrategyClasses(pb.ListStrategyClassesRequest(), timeout=15)
        return list(answer.classes)

    await until(listed, 240)
    return client


async def ticks_until(world, condition, timeout_s):
    """Push a tick a second, which leaves a slow machine time to work, until something happens."""

    async def step():
        world.market.push(5000.0)
        return await condition()

    return await until(step, timeout_s, 1.0)


async def run(client, class_name, **parameters) -> str:
    """Create and start; returns the id once it is running and receives ticks, on a slow machine too."""
    made = await client.create(class_name, **parameters)
    before = len(client.world.market.streams)
    await client.start(made.strategy_id)
    await client.until_status(made.strategy_id, "RUNNING", 240)
    await until(lambda: len(client.world.market.streams) > before, 60)
    return str(made.strategy_id)


def group_of(pid: int) -> Path | None:
    """The folder of a worker's control group; None where it has none of its own."""
    line = Path("/proc", str(pid), "cgroup").read_text().splitlines()[-1]
    name, groups = Path(line.removeprefix("0::")).name, detect().groups
    return groups.folder / name if groups is not None and name.startswith("redfire-") else None


async def is_at(client, strategy_id, status) -> bool:
    return (await client.get(strategy_id)).status == status


@pytest.mark.timeout(600)
async def test_attacks_of_a_strategy_are_refused_and_its_log_says_so(world, serve, tmp_path):
    secrets = tmp_path / "data" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "service-secret").write_text("hush")
    names = [line.split('"')[1] for line in ATTACKS.splitlines() if line.startswith('    "') and "lambda" in line]
    names += ["fork", "session"]
    async with serve() as p:
        client = await client_of(p, world)
        honest = await run(client, "Honest")
        made = {name: await run(client, "Attacker", attack=name) for name in names}
        assert len(workers(p)) == 1
        for name, strategy_id in made.items():
            await ticks_until(world, lambda s=strategy_id: is_at(client, s, pb.STRATEGY_STATUS_ERROR), 180)
            strategy = await client.get(strategy_id)
            assert strategy.error.startswith("PermissionError"), (name, strategy.error)
            text = "\n".join(line.message for line in await client.logs(strategy_id))
            assert "attacks.py" in text and "refused: a strategy reaches" in text and "DONE" not in text, (name, text)

        async def shown():
            variables = (await client.get(honest)).variables
            return variables if variables["home"] else None

        seen = await ticks_until(world, shown, 60)
        assert seen["home"] == str(tmp_path / "data" / "strategy" / "home" / client.user.user_id)
        assert not {"REDFIRE", "SECRET", "TOKEN", "USER", "SSH"} & set(seen["environment"].replace("_", " ").split())
        assert (await client.get(honest)).status == pb.STRATEGY_STATUS_RUNNING


@pytest.mark.timeout(600)
async def test_each_owner_has_a_worker_and_a_user_of_their_own(world, serve):
    async with serve() as p:
        clients = [await client_of(p, world), StrategyClient(world, p.identity())]
        running = [await run(client, "Honest") for client in clients]
        pids = workers(p)
        assert len(pids) == 2
        if detect().separate_users:
            assert len({Path("/proc", str(pid)).stat().st_uid for pid in pids} | {os.getuid()}) == 3
        groups = [group for pid in pids if (group := group_of(pid)) is not None]
        assert len(set(groups)) == (2 if detect().groups else 0)
        homes = []
        for client, strategy_id in zip(clients, running, strict=True):

            async def shown(client=client, strategy_id=strategy_id):
                return (await client.get(strategy_id)).variables["home"]

            homes.append(await ticks_until(world, shown, 60))
        assert len(set(homes)) == 2
    assert not any(group.exists() for group in groups), "what a worker had is removed with it"


@pytest.mark.timeout(600)
async def test_a_strategy_that_fills_the_disk_is_ended_and_what_it_wrote_is_deleted(world, serve, tmp_path):
    async with serve(worker_disk_bytes=8 << 20) as p:
        client = await client_of(p, world)
        strategy_id = await run(client, "Filler")
        home = tmp_path / "data" / "strategy" / "home" / client.user.user_id
        await ticks_until(world, lambda: is_at(client, strategy_id, pb.STRATEGY_STATUS_ERROR), 300)
        assert "on the disk" in (await client.get(strategy_id)).error
        assert sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) < 8 << 20


@pytest.mark.timeout(600)
async def test_attacks_of_a_backtest_are_refused_and_its_log_says_so(world, serve, tmp_path):
    store_bars(tmp_path / "data")
    async with serve() as p:
        user = (await client_of(p, world)).user
        client = BacktestClient(user)
        backtest = await client.ended((await client.create("BacktestAttacker")).backtest_id, 240)
        assert backtest.status == backtest_pb2.JOB_STATUS_FINISHED, (backtest.error, backtest.error_detail)
        line = next(line for line in backtest.logs if line.startswith("RESULTS"))
        results = json.loads(line.removeprefix("RESULTS "))
        assert len(results) > 10 and set(results.values()) <= {"PermissionError", "FileNotFoundError"}, results
