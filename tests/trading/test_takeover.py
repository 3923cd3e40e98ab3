"""Two replicas of trading on PostgreSQL: users move between them, and nothing is lost, doubled or written too late."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal as D

import grpc
import pytest
from redfire.events.v1.events_pb2 import Event
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb
from sqlalchemy import text

from services.kernel.events.transport import Message
from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import ALL_SHARDS, shard_of
from tests.harness import TokenMint, platform
from tests.postgres import shared_server
from tests.trading.conftest import FAST, Client, reason_of
from tests.trading.fakes import Peers
from tests.waiting import until

pytest.importorskip("services.kernel.shards.leased_ownership", reason="shards are not leased yet")
pytestmark = pytest.mark.slow


class Replicas:
    """Replicas of trading that share a database and the fake peers."""

    def __init__(self, stack):
        self.peers, self.mint, self._stack = Peers(), TokenMint(), stack
        self.url = shared_server().url(f"t{new_id().replace('-', '')[-12:]}_{{name}}_db")

    @asynccontextmanager
    async def replica(self):
        settings = {"trading": dict(FAST), "database": {"url": self.url}}
        async with platform("trading", fakes=self.peers.fakes(), settings=settings, mint=self.mint) as running:
            await until(lambda: not running.host.lifecycle.waiting_for("trading"), 20)
            yield running

    async def start(self):
        return await self._stack.enter_async_context(self.replica())

    def client(self, running, user_id):
        client = Client(running, running.identity(user_id))
        client.engine, client.market = self.peers.engine, self.peers.market
        return client


@pytest.fixture
async def replicas():
    async with AsyncExitStack() as stack:
        yield Replicas(stack)


def ownership(running):
    return running.host.resources.shards("trading")


async def _shared(one, other):
    """Wait until two replicas have all shards between them, and both some."""

    def is_shared():
        mine, theirs = set(ownership(one).owned()), set(ownership(other).owned())
        return len(mine) == len(theirs) == len(ALL_SHARDS) // 2 and not mine & theirs

    await until(is_shared, 60)


def _user_of(running):
    return next(
        name for name in (f"u-{number}" for number in range(1000)) if shard_of(name) in ownership(running).owned()
    )


async def test_users_move_to_a_replica_that_comes_and_any_replica_serves_any_user(replicas):
    one = await replicas.start()
    users = [replicas.client(one, f"user-{number}") for number in range(12)]
    orders = [await user.create(quantity=2) for user in users]
    other = await replicas.start()
    await _shared(one, other)
    moved = [user.user.user_id for user in users if shard_of(user.user.user_id) in ownership(other).owned()]
    assert moved
    for number, order in enumerate(orders):
        replicas.peers.engine.fill(order.order_id, 1, "4000", f"t{number}")
    for number, order in enumerate(orders):
        for running in one, other:
            await replicas.client(running, f"user-{number}").becomes(order.order_id, "PARTIALLY_FILLED", timeout_s=20)
    trades = await one.rows("trading", text("SELECT count(*), count(DISTINCT venue_trade_id) FROM trades"))
    assert trades == [(12, 12)]
    assert not (await one.rows("trading", text("SELECT count(*) FROM external_trades")))[0][0]
    assert len(replicas.peers.engine.sends) == 12


async def test_a_replica_that_stops_gives_its_users_to_the_other_and_streams_resume_there(replicas):
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(replicas.replica())
        other = await replicas.start()
        await _shared(one, other)
        mine = replicas.client(one, _user_of(one))
        order = await mine.create(quantity=3)
        await mine.becomes(order.order_id, "NEW", timeout_s=20)
        stream = mine.orders.StreamOrders(pb.StreamOrdersRequest(), timeout=None)
        while (message := await stream.read()).WhichOneof("event") != "snapshot_complete":
            pass
        last = message.sequence
    theirs = replicas.client(other, mine.user.user_id)
    replicas.peers.engine.fill(order.order_id, 1, "4000", "t1")
    await theirs.becomes(order.order_id, "PARTIALLY_FILLED", timeout_s=20)
    resumed, seen = theirs.orders.StreamOrders(pb.StreamOrdersRequest(resume_after_sequence=last), timeout=None), []
    while not any(message.WhichOneof("event") == "trade" for message in seen):
        seen.append(await resumed.read())
        assert seen[-1].WhichOneof("event") not in ("gap", "snapshot_complete")
    assert all(message.sequence > last for message in seen)
    account = await theirs.account()
    cash = [D(entry.amount) for entry in await theirs.entries() if entry.ledger_account == f"cash:{account.account_id}"]
    assert sum(cash) == D(account.balance) and len(await theirs.trades()) == 1
    snapshot = await theirs.accounts.GetSnapshot(account_pb.GetSnapshotRequest())
    assert snapshot.sequence > last


async def test_an_owner_that_was_succeeded_writes_nothing_and_its_users_are_served_by_the_other(replicas):
    one = await replicas.start()
    mine = replicas.client(one, "u-1")
    order = await mine.create(quantity=3)
    await mine.becomes(order.order_id, "NEW")
    shard = shard_of("u-1")
    # Somebody takes the shard over behind its back, as after a pause of the process.
    async with one.host.resources.database("trading", None).repositories(lambda session: session)() as session:
        await session.execute(
            text("UPDATE shard_leases SET owner = 'x', epoch = epoch + 1, address = '127.0.0.1:1', "
                 "expires_at = now() + interval '60 s' WHERE shard = :shard"),
            {"shard": shard},
        )  # fmt: skip
    written = text("SELECT count(*), max(sequence) FROM journal WHERE user_id = 'u-1'")
    before = await one.rows("trading", written)
    replicas.peers.engine.fill(order.order_id, 1, "4000", "t1")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mine.create()
    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    await until(lambda: shard not in ownership(one).owned(), 20)
    assert (
        await one.rows("trading", text("SELECT count(*), max(sequence) FROM journal WHERE user_id = 'u-1'")) == before
    )
    assert not await one.rows("trading", text("SELECT 1 FROM trades"))


async def test_an_event_that_came_to_another_replica_is_applied_by_the_owner_of_its_user(replicas):
    one = await replicas.start()
    other = await replicas.start()
    await _shared(one, other)
    user_id = _user_of(other)
    event = Event(event_id=new_id(), routing_key="user.registered")
    event.user_registered.user_id = user_id
    await one.host.events.publish([Message(event.event_id, event.routing_key, user_id, event.SerializeToString())])
    accounts = text(f"SELECT count(*) FROM accounts WHERE user_id = '{user_id}'")
    applied = text(f"SELECT attempts FROM inbox WHERE event_id = '{event.event_id}' AND state = 'APPLIED'")

    async def is_open():
        return await one.rows("trading", accounts) == [(1,)] and await one.rows("trading", applied) == [(0,)]

    await until(is_open, 30)


async def test_of_two_administrators_at_two_replicas_one_opens_the_live_account_of_a_gateway(replicas):
    one = await replicas.start()
    other = await replicas.start()
    await _shared(one, other)
    replicas.peers.engine.simulated = False
    clients = [Client(running, running.identity(_user_of(running), role="admin")) for running in (one, other)]
    request = account_pb.OpenAccountRequest(display_name="x", kind=2, gateway="SIM")
    answers = await asyncio.gather(
        *(client.accounts.OpenAccount(request) for client in clients for _ in range(5)), return_exceptions=True
    )
    (opened,) = [answer.account for answer in answers if not isinstance(answer, Exception)]
    for answer in answers:
        assert not isinstance(answer, Exception) or reason_of(answer) == "GATEWAY_NOT_ALLOWED", answer
    query = text("SELECT account_id FROM accounts WHERE kind = 2")
    assert await one.rows("trading", query) == [(opened.account_id,)]
    listed = [
        account.account_id
        for client in clients
        for account in (await client.accounts.ListAccounts(account_pb.ListAccountsRequest())).accounts
        if account.kind == 2
    ]
    assert listed == [opened.account_id]
    replicas.peers.engine.simulated = True
    for client in clients:
        # The books are open: what was refused left nothing behind.
        assert (await client.accounts.OpenAccount(account_pb.OpenAccountRequest(display_name="y", kind=1))).account
