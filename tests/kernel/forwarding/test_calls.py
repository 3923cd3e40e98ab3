"""Calls to two replicas of trading: either takes them, and the owner of the user's shard answers."""

import asyncio
import contextlib

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.errors import FailedPrecondition
from services.kernel.identifiers import new_id
from services.kernel.rpc import status
from services.kernel.rpc.channels import LocalChannel
from services.kernel.rpc.forwarding import HOP_KEY
from tests.kernel.forwarding.trading_replicas import details, failure_of, order, stub, user_of
from tests.waiting import until


async def test_a_call_is_answered_by_the_owner_whichever_replica_is_asked(replicas):
    for number, replica in enumerate(replicas):
        for asked in replicas:
            request = order()
            answer = await stub(asked, user_of(number)).GetOrder(request)
            assert answer.order.order_id == request.order_id
        assert len(replica.orders.calls) == 2
        assert replica.shards.calls == 0


async def test_a_late_try_of_a_call_that_was_refused_is_refused_alike_and_does_nothing(replicas):
    """As the edge asks another replica beside a slow one: its client was told what the first that answered said."""
    user, request = user_of(1), pb.CancelOrderRequest(order_id=new_id())
    replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
    for asked in replicas:
        failure = await failure_of(stub(asked, user, x_request_id="one").CancelOrder(request))
        assert details(failure)["ErrorInfo"].reason == "ORDER_NOT_OPEN"
    assert len(replicas[1].orders.calls) == 1
    await stub(replicas[0], user, x_request_id="another").CancelOrder(request)
    await stub(replicas[0], user, x_request_id="one").CancelOrder(pb.CancelOrderRequest(order_id=new_id()))
    assert len(replicas[1].orders.calls) == 3


async def test_of_two_tries_at_once_the_second_is_refused_as_the_first_was(replicas):
    """It looked for a refusal before there was one, and would be accepted once that is said to the client."""
    user, request, orders = user_of(1), pb.CancelOrderRequest(order_id=new_id()), replicas[1].orders
    orders.wait, orders.fail = asyncio.Event(), FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
    asked = [stub(replica, user, x_request_id="one") for replica in replicas]
    tries = [asyncio.ensure_future(failure_of(one.CancelOrder(request))) for one in asked]
    await until(lambda: replicas[1].shards.calls == 2)
    orders.wait.set()
    reasons = [details(failure)["ErrorInfo"].reason for failure in await asyncio.gather(*tries)]
    assert reasons == ["ORDER_NOT_OPEN"] * 2 and orders.running == 0
    assert len([call for call in orders.calls if call.request_id == "one"]) == 1
    del orders.calls[:]
    orders.wait = asyncio.Event()
    left = stub(replicas[1], user, x_request_id="left").CancelOrder(request)
    await until(lambda: orders.running)
    other = stub(replicas[1], user, x_request_id="left").CancelOrder(request)
    await until(lambda: replicas[1].shards.calls == 2)
    left.cancel()
    await until(lambda: len(orders.calls) == 2)
    orders.wait.set()
    await other


async def test_what_any_replica_can_answer_is_not_forwarded(replicas):
    await stub(replicas[0], user_of(1)).ListOrders(pb.ListOrdersRequest())
    assert (len(replicas[0].orders.calls), len(replicas[1].orders.calls)) == (1, 0)


async def test_the_owner_sees_caller_trace_request_id_and_address_of_the_client(replicas):
    user, trace = user_of(1), "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    edge = {"x_redfire_edge": replicas[0].running.host.edge_token.value}
    calling = stub(
        replicas[0], user, x_request_id="mine", traceparent=trace, x_envoy_external_address="203.0.113.9", **edge
    )
    await calling.GetOrder(order())
    call = replicas[1].orders.calls[0]
    assert (call.identity.user_id, call.request_id, call.trace_id) == (user, "mine", "a" * 32)
    assert call.client_address == "203.0.113.9"


async def test_the_owner_has_the_clients_deadline(replicas):
    """A stream has none of its own, so that one can be told from the other."""
    for timeout in (None, 60):
        stream = stub(replicas[0], user_of(1)).StreamOrders(pb.StreamOrdersRequest(), timeout=timeout)
        assert (await stream.read()).sequence == 0
        assert (replicas[1].orders.calls[-1].deadline is None) is (timeout is None)


async def test_the_owner_checks_the_request_and_the_token_itself(replicas):
    user = user_of(1)
    failure = await failure_of(stub(replicas[0], user).GetOrder(pb.GetOrderRequest(order_id="no uuid")))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(failure)["BadRequest"].field_violations[0].field == "order_id"
    guest = replicas[0].running.stub(OrderServiceStub, replicas[0].running.mint.token(user, "guest"))
    assert (await failure_of(guest.GetOrder(order()))).code() is grpc.StatusCode.PERMISSION_DENIED
    assert not replicas[1].orders.calls


async def test_an_error_comes_back_as_the_owner_sent_it(replicas):
    replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN, a="1")
    failure = await failure_of(stub(replicas[0], user_of(1), x_request_id="mine").GetOrder(order()))
    assert (failure.code(), failure.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    found = details(failure)
    assert (found["ErrorInfo"].reason, dict(found["ErrorInfo"].metadata)) == ("ORDER_NOT_OPEN", {"a": "1"})
    assert found["RequestInfo"].request_id == "mine"


@pytest.mark.parametrize("given", [{}, {"x_request_id": "mine"}, {"x_request_id": "no id"}])
async def test_an_error_has_the_same_details_from_any_replica_and_its_owners_request_id(replicas, given):
    found = []
    for asked in replicas:
        replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
        failure = await failure_of(stub(asked, user_of(1), **given).GetOrder(order()))
        found.append(details(failure))
        assert found[-1]["RequestInfo"].request_id == replicas[1].orders.calls[-1].request_id
    assert list(found[0]) == list(found[1]) == ["ErrorInfo", "RequestInfo"]


async def test_details_and_trailing_metadata_that_this_version_does_not_know_are_kept(replicas, monkeypatch):
    def to_status(error, request_id=""):
        answer = status_pb2.Status(code=9, message="ä")
        answer.details.add().Pack(error_details_pb2.DebugInfo(detail="of a newer version"))
        return answer

    replicas[1].orders.fail = FailedPrecondition("not now")
    monkeypatch.setattr(status, "to_status", to_status)
    failure = await failure_of(stub(replicas[0], user_of(1)).GetOrder(order()))
    assert details(failure)["DebugInfo"].detail == "of a newer version"


async def test_a_client_that_marks_its_call_as_forwarded_gains_nothing(replicas):
    """Neither with nonsense nor with the token of another service: it is forwarded all the same."""
    tokens = replicas[0].running.host.service_tokens
    worker = tokens.make_for_worker("a")
    for mark in ("1", tokens.make("risk", "trading"), worker, tokens.make("trading", "trading", life_s=-1)):
        await stub(replicas[0], user_of(1), **{HOP_KEY: mark}).GetOrder(order())
    assert len(replicas[1].orders.calls) == 4 and not replicas[0].orders.calls


async def test_a_service_acts_for_the_user_that_its_request_names(replicas):
    host = replicas[0].running.host
    channels = (
        LocalChannel(host.handlers, "risk"),
        host.channels.at(replicas[0].address, "trading", "risk"),
    )
    for number, channel in enumerate(channels):
        request = pb.CancelAccountOrdersRequest(user_id=user_of(1))
        answer = await OrderServiceStub(channel).CancelAccountOrders(request)
        assert answer.count == number + 1 == len(replicas[1].orders.calls)
        assert replicas[1].orders.calls[-1].identity.service == "risk"
    assert not replicas[0].orders.calls


async def test_waiting_calls_of_one_user_hold_up_no_other(replicas):
    """Many calls stand at the owner; one of another user, who is there too, passes them on the same connection."""
    slow = replicas[1].orders
    slow.wait = asyncio.Event()
    waiting = [asyncio.ensure_future(stub(replicas[0], user_of(1)).GetOrder(order())) for _ in range(20)]
    await until(lambda: len(slow.calls) == 20, 30)
    slow.wait, gate = None, slow.wait
    await stub(replicas[0], user_of(1)).GetOrder(order())
    assert slow.running == 20
    gate.set()
    assert len(await asyncio.gather(*waiting)) == 20


async def test_beyond_so_many_calls_on_their_way_to_a_replica_more_are_refused(replicas, monkeypatch):
    monkeypatch.setattr("services.kernel.rpc.replica_channels.MOST_CALLS", 2)
    slow = replicas[1].orders
    slow.wait = asyncio.Event()
    waiting = [asyncio.ensure_future(stub(replicas[0], user_of(1)).GetOrder(order())) for _ in range(2)]
    await until(lambda: slow.running == 2)
    failure = await failure_of(stub(replicas[0], user_of(1)).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details(failure)
    slow.wait.set()
    await asyncio.gather(*waiting)


async def test_a_client_that_gives_up_ends_the_owners_work(replicas):
    slow = replicas[1].orders
    slow.wait = asyncio.Event()
    pending = stub(replicas[0], user_of(1)).GetOrder(order(), timeout=None)
    waiting = asyncio.ensure_future(failure_or_cancel(pending))
    await until(lambda: slow.running == 1)
    pending.cancel()
    await waiting
    await until(lambda: slow.running == 0)


async def failure_or_cancel(call):
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call


async def test_an_internal_error_of_the_owner_stays_masked(replicas):
    replicas[1].orders.fail = RuntimeError("the password is hunter2")
    failure = await failure_of(stub(replicas[0], user_of(1)).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.INTERNAL and "hunter2" not in failure.details()
