"""Streams of two replicas of trading: either opens them, and their messages come from the owner of the user's shard."""

import asyncio

import grpc
import pytest
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.errors import FailedPrecondition
from services.kernel.rpc.channels import LocalChannel
from services.kernel.shards.ownership import shard_of
from tests.kernel.forwarding.trading_replicas import details, failure_of, stub, user_of
from tests.waiting import until


@pytest.mark.parametrize("given", [{}, {"x_request_id": "mine"}])
async def test_a_streams_error_has_the_same_details_from_any_replica(replicas, given):
    found = []
    for asked in replicas:
        replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
        failure = await failure_of(stub(asked, user_of(1), **given).StreamOrders(pb.StreamOrdersRequest()).read())
        found.append(details(failure))
        assert found[-1]["RequestInfo"].request_id == replicas[1].orders.calls[-1].request_id
    assert list(found[0]) == list(found[1]) == ["ErrorInfo", "RequestInfo"]


async def test_a_stream_comes_from_the_owner_message_by_message_and_ends_with_its_client(replicas):
    replicas[1].orders.wait = asyncio.Event()
    stream = stub(replicas[0], user_of(1)).StreamOrders(pb.StreamOrdersRequest(), timeout=None)
    assert [(await stream.read()).sequence for _ in range(3)] == [0, 1, 2]
    assert not replicas[0].orders.calls and len(replicas[1].orders.calls) == 1
    stream.cancel()
    await until(lambda: not replicas[1].orders.running)
    replicas[1].orders.wait = None
    whole = [one.sequence async for one in stub(replicas[0], user_of(1)).StreamOrders(pb.StreamOrdersRequest())]
    assert whole == [0, 1, 2]


async def test_a_streams_error_comes_back_as_the_owner_sent_it(replicas):
    replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
    failure = await failure_of(stub(replicas[0], user_of(1)).StreamOrders(pb.StreamOrdersRequest()).read())
    assert details(failure)["ErrorInfo"].reason == "ORDER_NOT_OPEN"


async def test_a_stream_ends_when_its_shard_goes_and_says_so(replicas):
    user = user_of(1)
    replicas[1].orders.wait = asyncio.Event()
    for asked in replicas:
        stream = stub(asked, user).StreamOrders(pb.StreamOrdersRequest(), timeout=None)
        for _ in range(3):
            await stream.read()
        replicas[1].shards._run_lost([shard_of(user)])
        failure = await failure_of(last(stream))
        assert failure.code() is grpc.StatusCode.UNAVAILABLE
        assert details(failure)["ErrorInfo"].reason == "SHARD_MOVED" and "RetryInfo" in details(failure)


async def last(stream):
    assert (await stream.read()).end.reason == "SHARD_MOVED"
    return await stream.read()


async def test_a_local_stream_of_another_replicas_user_yields_messages(replicas):
    channel = LocalChannel(replicas[0].running.host.handlers, "risk")
    stream = OrderServiceStub(channel).StreamOrders(
        pb.StreamOrdersRequest(), metadata=(("authorization", f"Bearer {replicas[0].running.mint.token(user_of(1))}"),)
    )
    assert [one.sequence async for one in stream] == [0, 1, 2]


async def test_a_stream_from_a_replica_that_stands_still_ends_and_says_so(replicas):
    asked, still = replicas
    still.orders.wait = asyncio.Event()
    stream = stub(asked, user_of(1)).StreamOrders(pb.StreamOrdersRequest(), timeout=20)
    assert [(await stream.read()).sequence for _ in range(3)] == [0, 1, 2]
    asked.shards.table.owners.update(dict.fromkeys(range(64), asked.address))
    asked.shards.announce()
    failure = await failure_of(stream.read())
    assert details(failure)["ErrorInfo"].reason == "SHARD_MOVED"
