"""A running trading service with fake peers, and a trader."""

from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf import any_pb2  # noqa: F401
from google.rpc import error_details_pb2, status_pb2
from redfire.common.v1 import common_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.identifiers import new_id
from tests.harness import platform
from tests.trading.commits import Commits
from tests.trading.fakes import SYMBOL, Peers
from tests.waiting import until

FAST = {"unknown_grace_s": 0.2, "reconcile_interval_s": 5}


class Client:
    """Operations of a trader, in short words."""

    def __init__(self, running, user):
        self.platform, self.user = running, user
        self.orders, self.accounts = user.stub(OrderServiceStub), user.stub(AccountServiceStub)

    def request(
        self,
        side="BUY",
        quantity=1,
        type="LIMIT",
        price="4000",
        symbol=SYMBOL,
        coid=None,
        effect="OPEN",
        tif="GTC",
        **more,
    ):
        if type not in ("LIMIT", "STOP_LIMIT"):
            price = ""
        if type == "MARKET":
            tif = "DAY"
        return order_pb.CreateOrderRequest(
            client_order_id=coid or new_id(), symbol=symbol, side=getattr(common_pb2, f"SIDE_{side}"),
            type=getattr(common_pb2, f"ORDER_TYPE_{type}"), quantity=str(quantity), price=price,
            time_in_force=getattr(common_pb2, f"TIME_IN_FORCE_{tif}"),
            position_effect=getattr(common_pb2, f"POSITION_EFFECT_{effect}"), **more,
        )  # fmt: skip

    async def create(self, *args, **kwargs):
        return (await self.orders.CreateOrder(self.request(*args, **kwargs))).order

    async def get(self, order_id):
        return (await self.orders.GetOrder(order_pb.GetOrderRequest(order_id=order_id))).order

    async def becomes(self, order_id, *statuses, timeout_s=5.0):
        expected = [getattr(common_pb2, f"ORDER_STATUS_{status}") for status in statuses]

        async def reached():
            order = await self.get(order_id)
            return order if order.status in expected else None

        return await until(reached, timeout_s)

    async def account(self, account_id=""):
        return (await self.accounts.GetAccount(account_pb.GetAccountRequest(account_id=account_id))).account

    async def positions(self):
        return list((await self.accounts.ListPositions(account_pb.ListPositionsRequest())).positions)

    async def trades(self):
        return list((await self.accounts.ListTrades(account_pb.ListTradesRequest(page_size=1000))).trades)

    async def entries(self):
        return list(
            (await self.accounts.ListLedgerEntries(account_pb.ListLedgerEntriesRequest(page_size=1000))).entries
        )

    async def open(self):
        return list((await self.orders.ListOrders(order_pb.ListOrdersRequest(open_only=True))).orders)

    async def cancel(self, order_id):
        return (await self.orders.CancelOrder(order_pb.CancelOrderRequest(order_id=order_id))).order

    async def replace(self, order_id, **values):
        return (await self.orders.ReplaceOrder(order_pb.ReplaceOrderRequest(order_id=order_id, **values))).order


def reason_of(error):
    """The reason of an RPC's ErrorInfo."""
    return detail_of(error, error_details_pb2.ErrorInfo).reason


def detail_of(error, kind):
    """A detail of an RPC's status; an empty one where the status has none of its kind."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = kind()
                if detail.Unpack(info):
                    return info
    return kind()


@asynccontextmanager
async def refused(reason, code=None):
    """The block's RPC must be refused with this reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield caught
    assert reason_of(caught.value) == reason, caught.value.details()
    assert code is None or caught.value.code() is code


@asynccontextmanager
async def trading(peers=None, data_dir=None, user_id="", clock=None, **settings):
    """Trading with fake peers, ready, and a trader."""
    peers = peers or Peers()
    async with platform(
        "trading", fakes=peers.fakes(), settings={"trading": {**FAST, **settings}}, data_dir=data_dir, clock=clock
    ) as running:
        await until(lambda: not running.host.lifecycle.waiting_for("trading"))
        client = Client(running, running.identity(user_id))
        client.peers, client.engine, client.market, client.risk = peers, peers.engine, peers.market, peers.risk
        yield client


@pytest.fixture
async def trader():
    async with trading() as client:
        yield client


@pytest.fixture
def commits(both_databases, monkeypatch):
    """The writers' commits, on either database, which the test holds up or breaks; before `trader` in its arguments."""
    held = Commits(monkeypatch)
    yield held
    held.open()
