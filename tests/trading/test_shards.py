"""Users whose shard goes to another replica, and comes back: forgotten at once, read anew, nothing lost or repeated."""

from datetime import UTC, datetime
from decimal import Decimal as D

import grpc
import pytest
from google.rpc import error_details_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb
from sqlalchemy import delete, text

from services.kernel.runtime.resources import Resources
from services.kernel.shards.ownership import ALL_SHARDS, SoleOwnership, shard_of
from services.trading.domain.order_ids import new_order_id, shard_of_order
from services.trading.models import ShardLeaseRow
from tests.trading.conftest import Client, detail_of, refused, trading
from tests.trading.fakes import SYMBOL
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


class OwnershipByHand(SoleOwnership):
    """Shards that a test takes away and gives back; a shared database's leases, and so its fences, say the same."""

    def __init__(self, database):
        super().__init__(lambda: "here")
        self._is_shared = database.is_shared
        self._unit = database.repositories(lambda session: session)

    async def start(self):
        await self._note(dict.fromkeys(ALL_SHARDS, self.EPOCH))
        await super().start()

    async def give_back(self, shard, epoch):
        await self._note({shard: epoch})
        await self._run_acquired({shard: epoch})

    async def _note(self, epochs):
        if not self._is_shared:
            return
        async with self._unit() as session:
            await session.execute(delete(ShardLeaseRow).where(ShardLeaseRow.shard.in_(epochs)))
            expires_at = datetime(2100, 1, 1, tzinfo=UTC)
            for shard, epoch in epochs.items():
                session.add(ShardLeaseRow(shard=shard, owner="me", address="here", epoch=epoch, expires_at=expires_at))


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    monkeypatch.setattr(Resources, "_ownership", lambda resources, database: OwnershipByHand(database))


class Shard:
    """The shard of a trader's user, which is taken away and given back."""

    def __init__(self, trader):
        self.ownership = trader.platform.host.resources.shards("trading")
        self.number, self.epoch = shard_of(trader.user.user_id), 1

    def take_away(self):
        self.ownership._run_lost([self.number])

    async def give_back(self):
        self.epoch += 1
        await self.ownership.give_back(self.number, self.epoch)


def _retry_delay(error):
    return detail_of(error, error_details_pb2.RetryInfo).retry_delay.ToNanoseconds()


def test_an_order_id_names_the_shard_of_its_user_and_ids_of_others_name_none():
    for number in range(200):
        user_id = f"user-{number}"
        assert shard_of_order(new_order_id(user_id)) == shard_of(user_id)
    assert shard_of_order("0192f0c1-2c41-759d-b28e-6eee11fba929") is None
    assert shard_of_order("") is None and shard_of_order("x" * 36) is None
    first, second = new_order_id("a"), new_order_id("b")
    assert first < second and first[:14] <= second[:14]


async def test_a_user_whose_shard_is_gone_is_refused_and_all_is_there_when_it_is_back(trader):
    resting = await trader.create(quantity=3)
    await trader.becomes(resting.order_id, "NEW")
    trader.engine.fill(resting.order_id, 1, "4000", "t1")
    await trader.becomes(resting.order_id, "PARTIALLY_FILLED")
    before, shard = await trader.account(), Shard(trader)
    assert trader.engine.last_fence == (shard.number, 1)
    shard.take_away()
    async with refused("SHARD_MOVED", grpc.StatusCode.UNAVAILABLE) as caught:
        await trader.create()
    assert _retry_delay(caught.value)
    async with refused("SHARD_MOVED"):
        await trader.cancel(resting.order_id)
    trader.engine.fill(resting.order_id, 1, "4000", "t2")  # another replica's to book
    other = Client(trader.platform, trader.platform.identity(_user_of_another_shard(trader)))
    theirs = await other.create()
    await other.becomes(theirs.order_id, "NEW")
    assert not (await trader.platform.rows("trading", text("SELECT count(*) FROM external_trades")))[0][0]
    await shard.give_back()
    done = await until(lambda: _filled(trader, resting.order_id, "2"))
    assert done.leaves_quantity == "1"
    after = await trader.account()
    assert after.account_id == before.account_id and len(await trader.trades()) == 2
    trader.engine.fill(resting.order_id, 1, "4000", "t3")
    await trader.becomes(resting.order_id, "FILLED")
    assert D((await trader.account()).frozen) == 0
    again = await trader.create()
    await trader.becomes(again.order_id, "NEW")
    assert trader.engine.last_fence == (shard.number, 2)


def _user_of_another_shard(trader):
    mine = shard_of(trader.user.user_id)
    return next(name for name in (f"u-{number}" for number in range(1000)) if shard_of(name) != mine)


async def _filled(trader, order_id, quantity):
    order = await trader.get(order_id)
    return order if order.cumulative_quantity == quantity else None


async def test_streams_of_a_shard_that_goes_end_as_unavailable_and_resume_without_loss_or_repetition(trader):
    first = await trader.create()
    stream = trader.orders.StreamOrders(pb.StreamOrdersRequest(), timeout=None)
    last = 0
    while True:
        message = await stream.read()
        last = message.sequence
        if message.WhichOneof("event") == "snapshot_complete":
            break
    shard = Shard(trader)
    shard.take_away()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        while True:
            message = await stream.read()
            assert message.WhichOneof("event") != "end"
            last = message.sequence
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE and _retry_delay(ended.value)
    await shard.give_back()
    trader.engine.fill(first.order_id, 1, "4000", "t1")
    await trader.becomes(first.order_id, "FILLED")
    resumed = trader.orders.StreamOrders(pb.StreamOrdersRequest(resume_after_sequence=last), timeout=None)
    seen = []
    while not any(message.WhichOneof("event") == "trade" for message in seen):
        message = await resumed.read()
        assert message.WhichOneof("event") not in ("gap", "snapshot_complete")
        seen.append(message)
    sequences = [message.sequence for message in seen if message.WhichOneof("event") != "heartbeat"]
    assert sequences == sorted(set(sequences)) and sequences[0] > last


async def test_a_stop_of_a_shard_that_is_gone_is_not_triggered_here_and_is_when_it_is_back(trader):
    stop = await trader.create(type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)
    shard = Shard(trader)
    shard.take_away()
    trader.market.price(SYMBOL, 4101.0)
    other = Client(trader.platform, trader.platform.identity(_user_of_another_shard(trader)))
    theirs = await other.create()
    await until(lambda: [send.order_id for send in trader.engine.sends] == [theirs.order_id])
    await shard.give_back()
    await until(lambda: trader.engine.sends[-1].order_id == stop.order_id)
    assert len(trader.engine.sends) == 2


async def test_an_engine_that_knows_a_later_owner_is_believed_and_the_order_is_left_to_that(trader):
    shard = Shard(trader)
    trader.engine.stale_epochs = {shard.number: 2}
    order = await trader.create()
    await until(lambda: _is_gone(trader))
    assert not trader.engine.sends
    trader.engine.stale_epochs = {}
    await shard.give_back()
    await trader.becomes(order.order_id, "REJECTED")  # the venue denies it: nobody sent it


async def _is_gone(trader):
    try:
        await trader.account()
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


@pytest.mark.slow
async def test_all_shards_go_and_come_one_by_one_while_a_restart_goes_on_with_the_same_sequences(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        order = await trader.create(quantity=2)
        await trader.becomes(order.order_id, "NEW")
        ownership = trader.platform.host.resources.shards("trading")
        for number in ALL_SHARDS:
            ownership._run_lost([number])
            await ownership.give_back(number, 2)
        trader.engine.fill(order.order_id, 1, "4000", "t1")
        await trader.becomes(order.order_id, "PARTIALLY_FILLED")
        before = (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        assert (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence == before
        trader.engine.fill(order.order_id, 1, "4000", "t2")
        await trader.becomes(order.order_id, "FILLED")
        assert (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence > before
