"""Two processes of trading and risk on PostgreSQL: either serves any user, and one takes over from the other."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, pairwise

import grpc
import psutil
import pytest
from redfire.common.v1 import common_pb2
from redfire.config.v1 import config_pb2 as config_pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.risk.v1 import risk_pb2 as risk_pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1 import trading_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.shards.ownership import SHARDS, shard_of
from tests.e2e.processes import Processes, two_of_each
from tests.postgres import PostgresServer
from tests.rabbitmq import RabbitMqServer
from tests.running import Client, until

SYMBOL = "rb2701.SHFE"
USERS = 12
AT_ONCE, WRITERS = 100, 10
SHARED_S, SERVED_S = 240, 120
"""The machine of a test run may be busy with others."""
_keys = count(1)
pytestmark = pytest.mark.timeout(1500)


class Trader:
    """A user who trades by gRPC at the replicas themselves."""

    def __init__(self, client: Client, addresses: list[str]) -> None:
        self.user_id = client.user_id
        self.shard = shard_of(client.user_id)
        self.metadata = (("authorization", f"Bearer {client.token}"),)
        channels = [grpc.insecure_channel(address) for address in addresses]
        self.orders = [OrderServiceStub(channel) for channel in channels]
        self.accounts = [AccountServiceStub(channel) for channel in channels]
        # By client order id, what was acknowledged.
        self.acknowledged: dict[str, str] = {}
        self.problems: list[str] = []
        # When, by time.monotonic.
        self.times: list[float] = []

    def order(self, replica: int, key: str, timeout_s: float = 5) -> trading_pb2.Order:
        request = pb.CreateOrderRequest(
            client_order_id=key,
            symbol=SYMBOL,
            side=common_pb2.SIDE_BUY,
            type=common_pb2.ORDER_TYPE_MARKET,
            quantity="1",
        )
        return self.orders[replica].CreateOrder(request, metadata=self.metadata, timeout=timeout_s).order

    def insist(self, replicas: list[int], ended: Callable[[], bool] = lambda: False) -> None:
        """Order once, asking one replica after the other with the same key until it is acknowledged."""
        key = f"key-{next(_keys)}"
        while not ended():
            for replica in replicas:
                try:
                    order = self.order(replica, key)
                except grpc.RpcError as error:
                    # Without risk's word it was refused: that is an answer, and another order is another key.
                    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                        key = f"key-{next(_keys)}"
                    continue
                self.times.append(time.monotonic())
                if self.acknowledged.setdefault(key, order.order_id) != order.order_id:
                    self.problems.append(f"{key} became two orders")
                return
            time.sleep(0.05)

    def check(self) -> None:
        """All that was acknowledged is there, is filled, and nothing else is."""
        assert not self.problems

        def filled() -> bool:
            orders, token = {}, ""
            while True:
                request = pb.ListOrdersRequest(page_size=1000, page_token=token)
                page = self.orders[0].ListOrders(request, metadata=self.metadata, timeout=20)
                orders |= {order.client_order_id: order for order in page.orders}
                if not (token := page.next_page_token):
                    break
            assert all(orders[key].order_id == order_id for key, order_id in self.acknowledged.items())
            return all(
                order.status == common_pb2.ORDER_STATUS_FILLED for order in orders.values() if order.average_price
            )

        until(filled, SERVED_S)


@pytest.fixture(scope="module")
def platform(postgres: PostgresServer, rabbitmq: RabbitMqServer) -> Iterator[Processes]:
    with two_of_each(postgres, rabbitmq, "trading_") as running:
        yield running


@pytest.fixture(scope="module")
def traders(platform: Processes) -> list[Trader]:
    clients = [platform.register(f"user{number}") for number in range(USERS)]
    until(lambda: clients[0].get(f"/api/market/ticks/{SYMBOL}").status_code == 200, SERVED_S)
    return [Trader(client, platform.addresses_of("trading")) for client in clients]


@pytest.fixture
def holders(platform: Processes, postgres: PostgresServer) -> Callable[[], dict[int, tuple[str, str]]]:
    """Address and run of the owner by shard, as the leases have them; those that have ended are not among them."""
    database = platform.env["REDFIRE_DATABASE__URL"].rpartition("/")[2].format(name="trading")
    leases = "SELECT shard, address, owner FROM shard_leases WHERE owner <> '' AND expires_at > now()"

    def read() -> dict[int, tuple[str, str]]:
        rows = (line.split("|") for line in postgres.sql(leases, database).splitlines())
        return {int(shard): (address, run) for shard, address, run in rows}

    return read


@pytest.fixture
def owners(holders: Callable[[], dict[int, tuple[str, str]]]) -> Callable[[], dict[int, str]]:
    """Addresses by shard."""
    return lambda: {shard: address for shard, (address, _) in holders().items()}


@pytest.fixture(autouse=True)
def shared(platform: Processes, owners: Callable[[], dict[int, str]]) -> None:
    """Each test begins with both replicas serving their share."""

    def is_shared() -> bool:
        addresses = list(owners().values())
        return all(addresses.count(one) == SHARDS // 2 for one in platform.addresses_of("trading"))

    until(is_shared, SHARED_S)


@contextmanager
def trading(traders: list[Trader], replicas: list[int]) -> Iterator[None]:
    """Have all trade meanwhile, at these replicas."""
    ended = threading.Event()

    def trade(trader: Trader) -> None:
        while not ended.is_set():
            trader.insist(replicas, ended.is_set)

    threads = [threading.Thread(target=trade, args=(trader,), daemon=True) for trader in traders]
    for thread in threads:
        thread.start()
    try:
        _go_on(traders)
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def _longest_gap(traders: list[Trader], after: float) -> float:
    """The longest time between two acknowledgements of one trader that a moment lies in or before."""
    return max(later - earlier for trader in traders for earlier, later in pairwise(trader.times) if later > after)


def _go_on(traders: list[Trader]) -> None:
    """Wait until each has been acknowledged another order."""
    before = {trader.user_id: len(trader.acknowledged) for trader in traders}
    until(lambda: all(len(trader.acknowledged) > before[trader.user_id] + 1 for trader in traders), SERVED_S)


def test_either_replica_serves_any_user_with_the_same_sequences(traders, owners, platform):
    assert len({owners()[trader.shard] for trader in traders}) == 2, "users of both"
    for trader in traders:
        streams = [
            stub.StreamOrders(pb.StreamOrdersRequest(), metadata=trader.metadata, timeout=SERVED_S)
            for stub in trader.orders
        ]
        first = [_snapshot(stream) for stream in streams]
        assert first[0] == first[1]
        orders = [trader.order(replica, f"at-{replica}", timeout_s=30) for replica in (0, 1)]
        assert trader.order(1, "at-0").order_id == orders[0].order_id
        seen = [_until_filled(stream, {order.order_id for order in orders}) for stream in streams]
        assert seen[0] == seen[1] and all(sequence > first[0] for sequence, _ in seen[0])
        read = [
            (
                accounts.GetAccount(account_pb.GetAccountRequest(), metadata=trader.metadata).account.account_id,
                accounts.ListPositions(account_pb.ListPositionsRequest(), metadata=trader.metadata)
                .positions[0]
                .quantity,
                stub.GetOrder(pb.GetOrderRequest(order_id=orders[0].order_id), metadata=trader.metadata).order,
            )
            for accounts, stub in zip(trader.accounts, trader.orders, strict=True)
        ]
        assert read[0] == read[1] and read[0][1] == "2"


def test_one_key_a_hundred_times_at_once_at_both_replicas_is_one_order(traders):
    trader = traders[0]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(trader.order, number % 2, "at-once", 60) for number in range(AT_ONCE)]
        ids = {one.result().order_id for one in asked}
    assert len(ids) == 1
    page = trader.orders[0].ListOrders(pb.ListOrdersRequest(page_size=1000), metadata=trader.metadata, timeout=20)
    assert {order.order_id for order in page.orders if order.client_order_id == "at-once"} == ids


def test_of_writers_of_one_etag_at_once_at_both_replicas_one_succeeds(platform):
    admin = (("authorization", f"Bearer {platform.admin().token}"),)
    stubs = [ConfigServiceStub(grpc.insecure_channel(address)) for address in platform.addresses_of("config")]

    def write(number: int, etag: str) -> config_pb.Config | None:
        request = config_pb.SetConfigRequest(environment="development", service_name="race", key="value", etag=etag)
        request.value.number_value = number
        try:
            return stubs[number % 2].SetConfig(request, metadata=admin, timeout=60).config
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.ABORTED, error
            return None

    first = write(0, "")
    assert first is not None
    with ThreadPoolExecutor(WRITERS) as threads:
        written = list(threads.map(write, range(1, WRITERS + 1), [first.etag] * WRITERS))
    (second,) = (one for one in written if one is not None)
    assert second.version == first.version + 1
    request = config_pb.GetConfigRequest(environment="development", service_name="race", key="value")
    assert {stub.GetConfig(request, metadata=admin, timeout=60).config.etag for stub in stubs} == {second.etag}


def test_either_replica_answers_for_any_users_risk(traders, platform):
    channels = [grpc.insecure_channel(address) for address in platform.addresses_of("risk")]
    risk = [RiskServiceStub(channel) for channel in channels]
    admin = (("authorization", f"Bearer {platform.admin().token}"),)
    for trader in traders:
        account_id = (
            trader.accounts[0].GetAccount(account_pb.GetAccountRequest(), metadata=trader.metadata).account.account_id
        )
        changed = risk[0].UpdateLimits(
            risk_pb.UpdateLimitsRequest(limits={"max_order_quantity": "70"}), metadata=trader.metadata
        )
        assert changed.account_id == account_id
        for stub in risk:
            limits = stub.GetLimits(risk_pb.GetLimitsRequest(), metadata=trader.metadata)
            assert limits.account_id == account_id
            stub.GetTradingState(risk_pb.GetTradingStateRequest(), metadata=trader.metadata)
            stub.GetExposure(risk_pb.GetExposureRequest(), metadata=trader.metadata)

            def seen_by_admin(stub=stub, account_id=account_id) -> bool:
                # Whose account it is risk writes down a moment after it was opened.
                try:
                    stub.GetExposure(risk_pb.GetExposureRequest(account_id=account_id), metadata=admin)
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.NOT_FOUND
                    return False
                return True

            until(seen_by_admin, SERVED_S)


def _snapshot(stream) -> int:
    """The sequence at which a stream's snapshot is complete."""
    return next(message.sequence for message in stream if message.HasField("snapshot_complete"))


def _until_filled(stream, order_ids: set[str]) -> list[tuple[int, str]]:
    """Sequences and kinds of updates until all these orders are filled, but those that prices bring."""
    seen, left = [], set(order_ids)
    for message in stream:
        kind = message.WhichOneof("event")
        if kind in ("order", "trade"):
            seen.append((message.sequence, kind))
        if kind == "order" and message.order.status == common_pb2.ORDER_STATUS_FILLED:
            left.discard(message.order.order_id)
        if not left:
            return seen
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "orderly stop"])
def test_the_users_of_a_replica_that_ends_are_served_again_and_nothing_is_lost_or_doubled(
    platform, traders, holders, number
):
    victim, pid = platform.addresses_of("trading")[0], platform.pids()["trading"][0]
    begun = holders()
    assert any(begun[trader.shard][0] == victim for trader in traders)
    ended = {run for address, run in begun.values() if address == victim}
    moved = [trader for trader in traders if begun[trader.shard][0] == victim]
    with trading(traders, [1]):
        signalled = time.monotonic()
        psutil.Process(pid).send_signal(number)
        # By the other replica or, where it is there soon, by another run at the same address.
        until(lambda: not any(run in ended for _, run in holders().values()), SERVED_S)
        _go_on(traders)
        print(f"{number.name}: the users of the replica waited {_longest_gap(moved, signalled):.2f} s at the other")
        until(lambda: pid not in platform.pids()["trading"] and victim in dict(holders().values()), SHARED_S)
        _go_on(traders)
    for trader in traders:
        trader.check()
    assert not platform.findings()


def test_a_replica_that_stood_still_writes_nothing_and_takes_its_share_again(platform, traders, owners):
    victim, pid = platform.addresses_of("trading")[0], platform.pids()["trading"][0]
    with trading(traders, [0, 1]):
        psutil.Process(pid).suspend()
        until(lambda: victim not in owners().values(), SERVED_S)
        _go_on(traders)
        psutil.Process(pid).resume()
        until(lambda: victim in owners().values(), SHARED_S)
        _go_on(traders)
    for trader in traders:
        trader.check()
    assert platform.pids()["trading"][0] == pid
    assert not platform.findings()
