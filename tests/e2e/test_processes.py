"""A platform in processes on PostgreSQL and RabbitMQ: what a user does, processes that are killed, and the stop."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import httpx
import psutil
import pytest

from services.kernel.shards.ownership import shard_of
from tests.e2e.processes import Processes, two_of_each
from tests.postgres import PostgresServer
from tests.rabbitmq import RabbitMqServer
from tests.running import Client, until

SYMBOL = "rb2701.SHFE"
REPLICATED = ("config", "auth", "user", "market", "trading", "risk", "strategy")
REPLACE_S = 120
"""The machine of a test run may be busy with others."""
_traders, _orders = count(1), count(1)
pytestmark = pytest.mark.timeout(1200)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def platform(postgres: PostgresServer, rabbitmq: RabbitMqServer) -> Iterator[Processes]:
    with two_of_each(postgres, rabbitmq, "processes_") as running:
        yield running


@pytest.fixture
def trader(platform: Processes) -> Client:
    return platform.register(f"trader{next(_traders)}")


def filled(client: Client, key: str) -> bool:
    order = client.get("/api/trading/orders:lookup", clientOrderId=key)
    return order.status_code == 200 and order.json()["order"]["status"] == "ORDER_STATUS_FILLED"


def test_addresses_name_every_replica_and_its_process(platform):
    document = platform.document()
    assert document["services"].keys() | {"envoy"} == document["pids"].keys()
    descendants = {child.pid for child in platform.children()}
    for name, pids in platform.pids().items():
        assert len(pids) == (2 if name in REPLICATED else 1)
        assert set(pids) <= descendants
    assert platform.pids()["trading"] == platform.pids()["risk"]
    by_service = {name: {*pids} for name, pids in platform.pids().items() if name != "risk"}
    assert sum(map(len, by_service.values())) == len(set.union(*by_service.values()))
    assert isinstance(document["services"]["engine"], str) and len(document["services"]["market"]) == 2


def test_what_a_newcomer_does_works_through_the_edge(trader):
    until(lambda: trader.get(f"/api/market/ticks/{SYMBOL}").status_code == 200, 30)
    tick = next(trader.lines("/api/market/ticks:stream", symbols=SYMBOL))
    assert tick
    assert trader.order(SYMBOL, "first", quantity="2").status_code == 200
    until(lambda: filled(trader, "first"), 30)
    assert trader.get("/api/trading/positions").json()["positions"][0]["quantity"] == "2"
    body = {
        "displayName": "Gold", "className": "MovingAverageStrategy", "symbol": "au2702.SHFE",
        "parameters": {"fast_window": 2, "slow_window": 4, "bar_seconds": 1},
    }  # fmt: skip
    until(lambda: trader.get("/api/strategies/classes").json()["classes"], 60)
    strategy = trader.post("/api/strategies", body).json()["strategy"]
    trader.post(f"/api/strategies/{strategy['strategyId']}:start")
    path = f"/api/strategies/{strategy['strategyId']}"
    until(lambda: trader.get(path).json()["strategy"]["status"] == "STRATEGY_STATUS_RUNNING", 90)
    trader.post(f"{path}:stop")
    until(lambda: trader.get(path).json()["strategy"]["status"] == "STRATEGY_STATUS_STOPPED", 60)


def test_two_replicas_of_each_take_less_than_two_gigabytes(platform):
    """By proportional set sizes, which count what processes share once."""
    sizes = {process.pid: process.memory_full_info().pss for process in platform.children()}
    assert {pid for pids in platform.pids().values() for pid in pids} <= sizes.keys()
    assert sum(sizes.values()) < 2e9, sizes


def test_each_process_that_is_killed_is_replaced_and_orders_go_on(platform, trader):
    until(lambda: trader.get(f"/api/market/ticks/{SYMBOL}").status_code == 200, 30)
    before = platform.document()
    for name, pids in platform.pids().items():
        if name == "risk":
            continue  # trading's process
        victim = pids[-1]
        psutil.Process(victim).kill()
        until(lambda name=name, victim=victim: victim not in platform.pids()[name] and platform.pids()[name], REPLACE_S)

        def whole() -> bool:
            try:
                return platform.is_whole()
            except (httpx.HTTPError, ValueError):
                return False

        until(whole, REPLACE_S)
        key = f"after-{name}"
        # Trading may learn a moment later than we that the engine is there again.
        until(lambda key=key: trader.order(SYMBOL, key).status_code == 200, 30)
        until(lambda key=key: filled(trader, key), 30)
    after = platform.document()
    assert (after["services"], after["edge"]) == (before["services"], before["edge"])
    assert all(alive(pid) for pids in platform.pids().values() for pid in pids)


def test_nobody_waits_for_replicas_that_stand_still(platform, postgres):
    owned = (
        "SELECT shard FROM shard_leases WHERE owner <> '' AND expires_at > now() AND address = "
        f"'{platform.addresses_of('trading')[-1]}'"
    )
    database = platform.env["REDFIRE_DATABASE__URL"].rpartition("/")[2].format(name="trading")
    shards = until(lambda: {int(shard) for shard in postgres.sql(owned, database).split()}, REPLACE_S)
    traders = [platform.register(f"patient{number}") for number in range(8)]
    of_victim = [trader for trader in traders if shard_of(trader.user_id) in shards]
    others = [trader for trader in traders if trader not in of_victim]
    assert of_victim and others
    reads = [
        "/api/users/me",
        f"/api/market/ticks/{SYMBOL}",
        "/api/trading/orders",
        "/api/risk/limits",
        "/api/strategies",
    ]
    calls = [partial(others[0].get, path) for path in reads]
    # Those of a trading replica that stands still wait until another has its shards.
    calls += [partial(order_either_way, trader) for trader in (others[0], of_victim[0])]
    until(lambda: others[0].get(reads[1]).status_code == 200, 60)
    for name in REPLICATED:
        if name == "risk":
            continue  # trading's process
        victim = psutil.Process(platform.pids()[name][-1])
        victim.suspend()
        try:
            with ThreadPoolExecutor(len(calls)) as threads:
                longest_s = max(threads.map(in_a_row, calls))
        finally:
            victim.resume()
        print(f"with a replica of {name} that stood still the longest gap was {longest_s:.1f} s")
        until(platform.is_whole, REPLACE_S)


def order_either_way(trader: Client) -> httpx.Response:
    """A market order that takes back the one before."""
    number = next(_orders)
    return trader.order(SYMBOL, f"either-{number}", side="BUY" if number % 2 else "SELL")


def in_a_row(call: Callable[[], httpx.Response]) -> float:
    """Call until twenty answers in a row are good; the longest time in s between two good ones."""
    longest_s, good_at = 0.0, time.monotonic()

    def answered() -> bool:
        nonlocal longest_s, good_at
        for _ in range(20):
            answer = call()
            assert answer.status_code not in (401, 500), answer.text
            if answer.status_code != 200:
                return False
            longest_s, good_at = max(longest_s, time.monotonic() - good_at), time.monotonic()
        return True

    until(answered, REPLACE_S)
    return longest_s


def test_a_strategy_of_a_replica_that_is_killed_runs_on_at_its_next_owner(platform, trader, postgres):
    until(lambda: trader.get("/api/strategies/classes").json()["classes"], 60)
    body = {
        "displayName": "Rebar", "className": "MovingAverageStrategy", "symbol": SYMBOL,
        "parameters": {"fast_window": 2, "slow_window": 4, "bar_seconds": 1},
    }  # fmt: skip
    strategy_id = trader.post("/api/strategies", body).json()["strategy"]["strategyId"]
    trader.post(f"/api/strategies/{strategy_id}:start")

    def runs() -> bool:
        answer = trader.get(f"/api/strategies/{strategy_id}")
        return answer.status_code == 200 and answer.json()["strategy"]["status"] == "STRATEGY_STATUS_RUNNING"

    until(runs, 90)
    database = platform.env["REDFIRE_DATABASE__URL"].rpartition("/")[2].format(name="strategy")
    lease = (
        "SELECT owner, address FROM shard_leases WHERE owner <> '' AND expires_at > now() "
        f"AND shard = {shard_of(trader.user_id)}"
    )
    killed, address = postgres.sql(lease, database).split("|")
    psutil.Process(platform.pids()["strategy"][platform.addresses_of("strategy").index(address)]).kill()
    # By run, not by address: the killed process may be back at its own before its lease has ended.
    until(lambda: postgres.sql(lease, database).split("|")[0] not in ("", killed), 60)
    until(runs, 90)
    assert trader.post(f"/api/strategies/{strategy_id}:stop").status_code == 200


def test_an_orderly_stop_leaves_no_process(platform):
    children = platform.children()
    platform.stop(timeout_s=60)
    assert platform.process is not None and platform.process.returncode == 0
    assert not any(alive(child.pid) for child in children)
    assert not (platform.data_dir / "addresses.json").exists()
    assert "do not stop" not in platform.text()
