"""A strategy with the token that its code finds: of its owner's it has one account, and of orders its own."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.common.v1 import common_pb2
from redfire.options.v1 import options_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.identifiers import new_id
from services.kernel.policy import MethodPolicy, contract_services, service_policies
from services.strategy.platform_client import SCOPES
from tests.harness import platform
from tests.trading.conftest import Client, refused, trading
from tests.trading.fakes import SYMBOL

STRATEGY = new_id()
ACT = {"act": {"sub": "strategy"}, "scope": " ".join(SCOPES)}
NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
POLICIES = [p for names in contract_services().values() for name in names for p in service_policies(name).values()]


class Owner:
    """A trader with two accounts, and the token of a strategy that was started for the first one."""

    def __init__(self, trader: Client, own: str, other: str) -> None:
        self.trader, self.own, self.other = trader, own, other
        bound = {**ACT, "account_id": own, "strategy_id": STRATEGY}
        user_id, running = trader.user.user_id, trader.platform
        self.strategy = Client(running, running.identity(user_id, **bound))


@pytest_asyncio.fixture
async def owner() -> AsyncIterator[Owner]:
    async with trading() as trader:
        own = (await trader.account()).account_id
        request = account_pb.OpenAccountRequest(display_name="savings")
        other = (await trader.accounts.OpenAccount(request)).account.account_id
        yield Owner(trader, own, other)


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def calls_with(client: Client, account_id: str, order_id: str) -> dict[str, Any]:
    """Every RPC of trading that a strategy may call, with an account or an order."""
    orders, accounts, named = client.orders, client.accounts, {"account_id": account_id}
    return {
        "CreateOrder": orders.CreateOrder(client.request(**named)),
        "PreviewOrder": orders.PreviewOrder(
            order_pb.PreviewOrderRequest(
                client_order_id="preview", symbol=SYMBOL, side=1, type=1, quantity="1", **named
            )
        ),
        "LookupOrder": orders.LookupOrder(order_pb.LookupOrderRequest(client_order_id="mine", **named)),
        "ListOrders": orders.ListOrders(order_pb.ListOrdersRequest(**named)),
        "StreamOrders": orders.StreamOrders(order_pb.StreamOrdersRequest(**named)).read(),
        "GetOrder": orders.GetOrder(order_pb.GetOrderRequest(order_id=order_id)),
        "CancelOrder": orders.CancelOrder(order_pb.CancelOrderRequest(order_id=order_id)),
        "ReplaceOrder": orders.ReplaceOrder(order_pb.ReplaceOrderRequest(order_id=order_id, quantity="2")),
        "GetAccount": accounts.GetAccount(account_pb.GetAccountRequest(**named)),
        "ListPositions": accounts.ListPositions(account_pb.ListPositionsRequest(**named)),
        "ListTrades": accounts.ListTrades(account_pb.ListTradesRequest(**named)),
        "ListLedgerEntries": accounts.ListLedgerEntries(account_pb.ListLedgerEntriesRequest(**named)),
        "GetSnapshot": accounts.GetSnapshot(account_pb.GetSnapshotRequest(**named)),
    }


async def test_another_account_of_the_same_owner_is_not_found(owner: Owner) -> None:
    order = await owner.trader.create(account_id=owner.other, coid="mine")
    calls = calls_with(owner.strategy, owner.other, order.order_id)
    of_trading = {p.name for p in POLICIES if p.service == "trading" and p.strategies}
    assert calls.keys() == of_trading, "each RPC that the contract gives to strategies is tried"
    answers = {name: await code_of(call) for name, call in calls.items()}
    assert answers == dict.fromkeys(calls, NOT_FOUND)
    after = await owner.trader.get(order.order_id)
    assert after.quantity == order.quantity
    assert after.status in (common_pb2.ORDER_STATUS_PENDING_NEW, common_pb2.ORDER_STATUS_NEW)


async def test_who_names_no_account_gets_the_strategys_own(owner: Owner) -> None:
    await owner.trader.create(account_id=owner.other)
    made = await owner.strategy.create()
    assert (made.account_id, made.strategy_id) == (owner.own, STRATEGY)
    assert [order.account_id for order in await owner.strategy.open()] == [owner.own]
    assert {entry.account_id for entry in await owner.strategy.entries()} <= {owner.own, ""}
    async for message in owner.strategy.orders.StreamOrders(order_pb.StreamOrdersRequest()):
        if message.HasField("account"):
            assert message.account.account_id == owner.own
        if message.HasField("order"):
            assert message.order.account_id == owner.own
        if message.HasField("snapshot_complete"):
            break


async def test_it_changes_no_order_of_the_account_but_its_own(owner: Owner) -> None:
    by_hand, made = await owner.trader.create(account_id=owner.own), await owner.strategy.create()
    assert (await owner.strategy.get(by_hand.order_id)).order_id == by_hand.order_id
    async with refused("PERMISSION_DENIED", DENIED):
        await owner.strategy.cancel(by_hand.order_id)
    async with refused("PERMISSION_DENIED", DENIED):
        await owner.strategy.replace(by_hand.order_id, quantity="2")
    await owner.strategy.becomes(made.order_id, "NEW")
    await owner.strategy.cancel(made.order_id)
    await owner.trader.becomes(made.order_id, "CANCELED")


async def test_a_traders_own_program_has_a_name_that_is_no_strategys(owner: Owner) -> None:
    assert (await owner.trader.create(account_id=owner.own, strategy_id="pairs-7")).strategy_id == "pairs-7"
    async with refused("PERMISSION_DENIED", DENIED):
        await owner.strategy.create(strategy_id="pairs-7")


@pytest.mark.parametrize(
    "name",
    [new_id(), new_id().upper(), f" {STRATEGY}", STRATEGY.replace("-", ""), STRATEGY],
    ids=["another", "capitals", "a space", "no dashes", "its own"],
)
async def test_nobody_gives_orders_in_a_strategys_name(owner: Owner, name: str) -> None:
    preview = order_pb.PreviewOrderRequest(
        client_order_id="preview", symbol=SYMBOL, side=1, type=1, quantity="1", strategy_id=name
    )
    for client in (owner.trader, owner.strategy):
        if name == STRATEGY and client is owner.strategy:
            assert (await client.create(strategy_id=name)).strategy_id == STRATEGY
            continue
        async with refused("PERMISSION_DENIED", DENIED):
            await client.create(strategy_id=name)
        async with refused("PERMISSION_DENIED", DENIED):
            await client.orders.PreviewOrder(preview)
    legs = [
        order_pb.GroupOrder(
            client_order_id=new_id(), symbol=SYMBOL, side=1, type=2, quantity="1", price=price, strategy_id=name
        )
        for price in ("3990", "3980")
    ]
    group = order_pb.CreateOrderGroupRequest(client_order_group_id=new_id(), kind=1, orders=legs)
    async with refused("PERMISSION_DENIED", DENIED):
        await owner.trader.orders.CreateOrderGroup(group)
    assert [order.strategy_id for order in await owner.trader.open()] == [STRATEGY] * (name == STRATEGY)


def of_contract(use: int) -> list[MethodPolicy]:
    return [p for p in POLICIES if not p.public and not p.internal and p.strategies == use]


def test_what_strategies_may_have_done_is_stated_and_can_be_checked() -> None:
    stated = {p.full_name for p in POLICIES if p.strategies}
    assert not {p.full_name for p in POLICIES if p.strategies and (p.public or p.internal)}
    assert {p.service for p in POLICIES if p.full_name in stated} == {"market", "trading"}
    assert {p.service for p in of_contract(options_pb2.STRATEGY_USE_ANY)} == {"market"}
    # Neither the switch that stops trading, nor limits, nor other accounts, nor a way to end leases of others.
    for name in ("SetTradingState", "UpdateLimits", "OpenAccount", "ListAccounts", "CancelAllOrders", "CreateApiKey"):
        assert not [p for p in POLICIES if p.name == name and p.strategies]


@pytest.mark.parametrize("names", [("trading",), ("risk",)])
async def test_all_else_is_refused_to_it(names: tuple[str, ...]) -> None:
    async with platform(*names) as running:
        await_all = [p for p in POLICIES if p.service in names and not p.public and not p.strategies and not p.internal]
        everything = "user:read user:write trading:read trading:write trading:delete market:read strategy:write"
        claims = {**ACT, "scope": everything, "account_id": new_id(), "strategy_id": STRATEGY}
        token = running.identity(role="admin", **claims).token
        assert await_all
        for policy in await_all:
            handler = running.host.handlers.by_path[policy.full_name]
            call = (running.channel.unary_stream if policy.streams else running.channel.unary_unary)(
                policy.full_name, Message.SerializeToString, handler.response_from_bytes
            )(handler.request_class(), metadata=(("authorization", f"Bearer {token}"),))
            assert await code_of(call.read() if policy.streams else call) is DENIED, policy.full_name


async def test_auth_makes_a_strategys_token_for_one_account() -> None:
    async with platform("auth", "user") as running:
        user = await running.user(role="trader")
        account_id = new_id()
        request = auth_pb2.ExchangeTokenRequest(
            user_id=user.user_id, scopes=SCOPES, account_id=account_id, strategy_id=STRATEGY
        )
        made = await running.service_stub(AuthServiceStub, "strategy").ExchangeToken(request)
        claims = jwt.decode(made.access_token, options={"verify_signature": False})
        assert (claims["account_id"], claims["strategy_id"]) == (account_id, STRATEGY)
        sessions = running.stub(AuthServiceStub, made.access_token)
        assert await code_of(sessions.ListSessions(auth_pb2.ListSessionsRequest())) is DENIED
