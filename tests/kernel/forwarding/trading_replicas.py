"""Stand-ins for trading on two replicas: its servicer, the table of who owns which shard, and calls of users."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceServicer, OrderServiceStub

from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import Ownership, shard_of
from tests.harness import complete


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
        self.running += 1
        try:
            for sequence in range(3):
                yield pb.StreamOrdersResponse(sequence=sequence)
            if self.wait is not None:
                await self.wait.wait()
        finally:
            self.running -= 1


class Replica:
    def __init__(self, running, orders, shards):
        self.running, self.orders, self.shards = running, orders, shards
        self.address = running.host.address


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
