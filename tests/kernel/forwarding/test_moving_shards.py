"""Calls to two replicas of trading while the shard of their user has no owner, or another than a replica knows."""

import asyncio

import grpc
import pytest

from services.kernel.errors import Fenced, ShardMoved
from services.kernel.rpc import forwarding
from services.kernel.shards.ownership import shard_of
from tests.kernel.forwarding.trading_replicas import details, failure_of, order, stub, user_of
from tests.waiting import until


async def test_a_forwarded_call_is_not_forwarded_again(replicas, monkeypatch):
    """Each replica believes that the other is the owner: nobody is, and the client is told when to try again."""
    monkeypatch.setattr(forwarding, "HOP_WAIT_S", 0.05)
    user = user_of(1)
    shard = shard_of(user)
    for number, replica in enumerate(replicas):
        replica.shards.known = {shard: replicas[1 - number].address}
        replica.shards.look = lambda: None
    replicas[0].shards.table.owners.pop(shard)
    failure = await failure_of(stub(replicas[0], user).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert details(failure)["RetryInfo"].retry_delay.nanos > 0
    assert not any(replica.orders.calls for replica in replicas)


async def test_without_an_owner_it_is_unavailable_with_a_time_to_try_again(replicas, monkeypatch):
    monkeypatch.setattr(forwarding, "WAIT_S", 0.05)
    user = user_of(1)
    replicas[0].shards.table.owners.pop(shard_of(user))
    failure = await failure_of(stub(replicas[0], user).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert details(failure)["ErrorInfo"].reason == "SHARD_MOVED" and "RetryInfo" in details(failure)


async def test_a_call_waits_for_a_shard_that_is_on_its_way(replicas):
    user = user_of(1)
    shard, owners = shard_of(user), replicas[0].shards.table.owners
    owner = owners.pop(shard)
    pending = asyncio.ensure_future(stub(replicas[0], user).GetOrder(order()))
    await until(lambda: replicas[0].running.host.handlers.forwarding._waiting == 1)
    owners[shard] = owner
    await pending
    assert len(replicas[1].orders.calls) == 1


async def test_no_more_than_so_many_calls_wait(replicas, monkeypatch):
    """One beyond them is refused at once: the one that waits is still waiting, and gets its answer."""
    monkeypatch.setattr(forwarding, "MOST_WAITING", 1)
    monkeypatch.setattr(forwarding, "WAIT_S", 60)
    user = user_of(1)
    shard, owners = shard_of(user), replicas[0].shards.table.owners
    owner = owners.pop(shard)
    pending = asyncio.ensure_future(stub(replicas[0], user).GetOrder(order()))
    await until(lambda: replicas[0].running.host.handlers.forwarding._waiting == 1)
    assert (await failure_of(stub(replicas[0], user).GetOrder(order()))).code() is grpc.StatusCode.UNAVAILABLE
    assert not pending.done()
    owners[shard] = owner
    await pending


async def test_stale_routing_is_corrected_by_one_more_try(replicas, monkeypatch):
    monkeypatch.setattr(forwarding, "HOP_WAIT_S", 0.05)
    user = user_of(0)
    replicas[0].shards.known = {}
    first, second = replicas
    second.shards.known = {shard_of(user): second.address}
    first.shards.table.owners[shard_of(user)] = first.address
    first.shards.known = {shard_of(user): second.address}
    await stub(second, user).GetOrder(order())
    assert len(first.orders.calls) == 1


@pytest.mark.parametrize("error", [Fenced(), ShardMoved()])
async def test_what_was_fenced_in_the_middle_is_done_by_the_new_owner(replicas, error):
    """Nothing was written, so that the same call can be made again."""
    user = user_of(0)
    table, other = replicas[0].shards.table, replicas[1]

    replicas[0].orders.fail = error
    replicas[0].orders.wait = asyncio.Event()
    pending = asyncio.ensure_future(stub(replicas[0], user).GetOrder(order()))
    await until(lambda: replicas[0].orders.running)
    table.owners[shard_of(user)] = other.address
    replicas[0].orders.wait.set()
    await pending
    assert len(other.orders.calls) == 1


async def test_what_a_service_finds_to_be_anothers_is_forwarded_there(replicas):
    """An administrator's call about another user's order, whose shard the request does not say."""
    replicas[0].orders.fail = ShardMoved(shard=shard_of(user_of(1)))
    await stub(replicas[0], user_of(0)).GetOrder(order())
    assert len(replicas[1].orders.calls) == 1


async def test_an_owner_that_is_gone_is_unavailable_and_another_users_calls_go_on(replicas):
    user = user_of(1)
    replicas[0].shards.table.owners[shard_of(user)] = "127.0.0.1:9"
    failure = await failure_of(stub(replicas[0], user).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details(failure)
    await stub(replicas[0], user_of(0)).GetOrder(order())


async def test_a_call_that_waits_for_a_replica_that_stands_still_is_answered_by_its_successor(replicas):
    asked, still = replicas
    still.orders.wait = asyncio.Event()
    request = order()
    calling = asyncio.ensure_future(stub(asked, user_of(1)).GetOrder(request, timeout=20))
    await until(lambda: still.orders.running)
    asked.shards.announce()
    await asyncio.sleep(0)
    assert not calling.done(), "nothing has changed"
    asked.shards.table.owners.update(dict.fromkeys(range(64), asked.address))
    asked.shards.announce()
    assert (await calling).order.order_id == request.order_id
    assert (len(still.orders.calls), len(asked.orders.calls)) == (1, 1)
