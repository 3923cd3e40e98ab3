"""Two replicas of trading on two servers: calls come to either, and are answered by the owner of the user's shard."""

import asyncio
import contextlib

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceServicer, OrderServiceStub

from services.kernel.errors import FailedPrecondition, Fenced, ShardMoved
from services.kernel.identifiers import new_id
from services.kernel.rpc import forwarding, status
from services.kernel.rpc.channels import LocalChannel
from services.kernel.rpc.forwarding import HOP_KEY
from services.kernel.shards.ownership import Ownership, shard_of
from tests.harness import FakeService, TokenMint, complete, platform
from tests.waiting import until


class Table:
    """Owners of shards; a replica may know them late."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}


class TableOwnership(Ownership):
    """Ownership by a table of the test's."""

    is_shared = True

    def __init__(self, address, table: Table) -> None:
        super().__init__(address)
        self.table, self.known = table, table.owners
        self.calls = 0
        self.looked = 0

    def owns(self, shard):
        return 1 if self.table.owners.get(shard) == self.address() else None

    def owned(self):
        return {shard: 1 for shard, owner in self.table.owners.items() if owner == self.address()}

    def owner(self, shard):
        return self.known.get(shard)

    def begin_call(self, shard):
        begun = self.owns(shard) is not None
        self.calls += begun
        return begun

    def end_call(self, shard):
        self.calls -= 1

    def look(self):
        self.looked += 1
        self.known = self.table.owners

    async def changed(self, seconds):
        await asyncio.sleep(min(seconds, 0.01))

    async def start(self):
        pass

    async def release(self):
        pass


@complete
class Orders(OrderServiceServicer):
    """Says who was called, and does what a test asks."""

    def __init__(self) -> None:
        self.calls = []
        self.fail = None
        self.wait = None
        self.running = 0

    async def GetOrder(self, request, call):
        self.calls.append(call)
        self.running += 1
        try:
            if self.wait is not None:
                await self.wait.wait()
        finally:
            self.running -= 1
        if self.fail is not None:
            fail, self.fail = self.fail, None
            raise fail
        return pb.GetOrderResponse(order={"order_id": request.order_id})

    async def CancelOrder(self, request, call):
        await self.GetOrder(request, call)
        return pb.CancelOrderResponse()

    async def ListOrders(self, request, call):
        self.calls.append(call)
        return pb.ListOrdersResponse()

    async def CancelAccountOrders(self, request, call):
        self.calls.append(call)
        return pb.CancelAccountOrdersResponse(count=len(self.calls))

    async def StreamOrders(self, request, call):
        self.calls.append(call)
        if self.fail is not None:
            raise self.fail
        for sequence in range(3):
            yield pb.StreamOrdersResponse(sequence=sequence)
        if self.wait is not None:
            await self.wait.wait()


class Replica:
    def __init__(self, running, orders, shards):
        self.running, self.orders, self.shards = running, orders, shards
        self.address = running.host.address


@pytest.fixture
async def replicas():
    """Two, and the users `replicas.users`: one for each as the owner."""
    table, mint, made = Table(), TokenMint(), []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            orders, kept = Orders(), {}

            def servicers(context, orders=orders, kept=kept):
                kept["shards"] = TableOwnership(lambda: context.address_of("trading"), table)
                context._resources.handlers.forwarding.share("trading", kept["shards"])
                return [orders]

            fake = FakeService(servicers)
            running = await stack.enter_async_context(platform(fakes={"trading": fake}, mint=mint))
            made.append(Replica(running, orders, kept["shards"]))
        own(table, made)
        yield made


def own(table, made):
    """The first owns the even shards, the second the others."""
    table.owners.update({shard: made[shard % 2].address for shard in range(64)})


def user_of(replica_number):
    return next(user for user in iter(new_id, "") if shard_of(user) % 2 == replica_number)


def stub(replica, user, **metadata):
    return replica.running.stub(OrderServiceStub, replica.running.mint.token(user), **metadata)


def order():
    return pb.GetOrderRequest(order_id=new_id())


async def failure_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def details(failure):
    return {type(one).__name__: one for one in map(unpacked, rpc_status.from_call(failure).details)}


def unpacked(detail):
    for kind in ("ErrorInfo", "RetryInfo", "RequestInfo", "BadRequest", "DebugInfo"):
        message = getattr(error_details_pb2, kind)()
        if detail.Unpack(message):
            return message
    raise AssertionError(detail)


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


@pytest.mark.parametrize("given", [{}, {"x_request_id": "mine"}])
async def test_a_streams_error_has_the_same_details_from_any_replica(replicas, given):
    found = []
    for asked in replicas:
        replicas[1].orders.fail = FailedPrecondition("not now", reason=Reason.ORDER_NOT_OPEN)
        failure = await failure_of(stub(asked, user_of(1), **given).StreamOrders(pb.StreamOrdersRequest()).read())
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


async def test_a_stream_comes_from_the_owner_message_by_message_and_ends_with_its_client(replicas):
    replicas[1].orders.wait = asyncio.Event()
    stream = stub(replicas[0], user_of(1)).StreamOrders(pb.StreamOrdersRequest(), timeout=None)
    assert [(await stream.read()).sequence for _ in range(3)] == [0, 1, 2]
    assert not replicas[0].orders.calls and len(replicas[1].orders.calls) == 1
    stream.cancel()
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


async def test_a_client_that_marks_its_call_as_forwarded_gains_nothing(replicas):
    """Neither with nonsense nor with the token of another service: it is forwarded all the same."""
    tokens = replicas[0].running.host.service_tokens
    worker = tokens.make_for_worker("a")
    for mark in ("1", tokens.make("risk", "trading"), worker, tokens.make("trading", "trading", life_s=-1)):
        await stub(replicas[0], user_of(1), **{HOP_KEY: mark}).GetOrder(order())
    assert len(replicas[1].orders.calls) == 4 and not replicas[0].orders.calls


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
    monkeypatch.setattr(forwarding, "MOST_WAITING", 0)
    user = user_of(1)
    replicas[0].shards.table.owners.pop(shard_of(user))
    assert (await failure_of(stub(replicas[0], user).GetOrder(order()))).code() is grpc.StatusCode.UNAVAILABLE


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


async def test_a_local_stream_of_another_replicas_user_yields_messages(replicas):
    channel = LocalChannel(replicas[0].running.host.handlers, "risk")
    stream = OrderServiceStub(channel).StreamOrders(
        pb.StreamOrdersRequest(), metadata=(("authorization", f"Bearer {replicas[0].running.mint.token(user_of(1))}"),)
    )
    assert [one.sequence async for one in stream] == [0, 1, 2]


async def test_an_owner_that_is_gone_is_unavailable_and_another_users_calls_go_on(replicas):
    user = user_of(1)
    replicas[0].shards.table.owners[shard_of(user)] = "127.0.0.1:9"
    failure = await failure_of(stub(replicas[0], user).GetOrder(order()))
    assert failure.code() is grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details(failure)
    await stub(replicas[0], user_of(0)).GetOrder(order())


async def test_waiting_calls_of_one_user_hold_up_no_other(replicas):
    """Many calls stand at the owner; one of another user, who is there too, passes them on the same connection."""
    slow = replicas[1].orders
    slow.wait = asyncio.Event()
    waiting = [asyncio.ensure_future(stub(replicas[0], user_of(1)).GetOrder(order())) for _ in range(20)]
    await until(lambda: len(slow.calls) == 20, 30)
    slow.wait, gate = None, slow.wait
    await stub(replicas[0], user_of(1)).GetOrder(order())
    gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)


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


async def test_a_stream_from_a_replica_that_stands_still_ends_and_says_so(replicas):
    asked, still = replicas
    still.orders.wait = asyncio.Event()
    stream = stub(asked, user_of(1)).StreamOrders(pb.StreamOrdersRequest(), timeout=20)
    assert [(await stream.read()).sequence for _ in range(3)] == [0, 1, 2]
    asked.shards.table.owners.update(dict.fromkeys(range(64), asked.address))
    asked.shards.announce()
    failure = await failure_of(stream.read())
    assert details(failure)["ErrorInfo"].reason == "SHARD_MOVED"
