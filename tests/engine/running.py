"""A running engine with both of its streams read in the background, with a CTP front where a test wants one."""

import asyncio
import inspect
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub

from services.kernel.identifiers import new_id
from tests.harness import platform
from tests.waiting import until

SYMBOL = "IF2612.CFFEX"
FAKE = {"module": "tests.engine.fake_gateway", "class": "FakeGateway"}
CTP = "tests.engine.ctp_gateway"


@dataclass
class TicksRead:
    """Messages that a reader of StreamTicks has read: ticks, control messages, and both in one order."""

    ticks: list = field(default_factory=list)
    control_messages: list = field(default_factory=list)
    items: list = field(default_factory=list)

    def take(self, message) -> None:
        self.ticks.extend(message.ticks)
        self.items.extend(message.ticks)
        if message.WhichOneof("event"):
            self.control_messages.append(message)
            self.items.append(getattr(message, message.WhichOneof("event")))

    @property
    def started(self):
        return self.control_messages[0].started

    @property
    def position(self) -> int:
        return self.started.position + len(self.ticks)

    @property
    def heartbeats(self):
        return [message.heartbeat for message in self.control_messages if message.HasField("heartbeat")]

    @property
    def feed_ended(self):
        return next((m.feed_ended for m in self.control_messages if m.HasField("feed_ended")), None)


class Harness:
    """A running engine with both of its streams read in the background."""

    def __init__(self, running) -> None:
        self.platform = running
        self.engine = running.service_stub(EngineServiceStub)
        self.admin = running.identity(role="admin").stub(EngineServiceStub)
        self.user = running.identity().stub(EngineServiceStub)
        self.events = []
        self.ticks = []
        self.control_messages = []

    async def follow_events(self, **resume) -> None:
        async for message in self.engine.StreamEvents(pb.StreamEventsRequest(**resume), timeout=None):
            self.events.append(message)

    async def follow_ticks(self) -> None:
        await self.read_ticks(TicksRead(self.ticks, self.control_messages), records=True)

    async def read_ticks(self, into: "TicksRead", **request) -> None:
        """Read a stream of ticks until it ends or is cancelled."""
        async for message in self.engine.StreamTicks(pb.StreamTicksRequest(**request), timeout=None):
            into.take(message)

    async def send(self, *, order_id="", price="", quantity="1", tif="DAY", side="BUY", symbol=SYMBOL, gateway="SIM"):
        order_id = order_id or new_id()
        answer = await self.engine.SendOrder(
            pb.SendOrderRequest(
                gateway_name=gateway,
                order_id=order_id,
                account_id="a",
                symbol=symbol,
                side=common.Side.Value(f"SIDE_{side}"),
                type=common.ORDER_TYPE_LIMIT if price else common.ORDER_TYPE_MARKET,
                time_in_force=common.TimeInForce.Value(f"TIME_IN_FORCE_{tif}"),
                quantity=quantity,
                price=price,
            )
        )
        return order_id, answer.venue_order_id

    def updates(self, order_id):
        return [m.order for m in self.events if m.WhichOneof("event") == "order" and m.order.order_id == order_id]

    def trades(self, order_id):
        return [m.trade for m in self.events if m.WhichOneof("event") == "trade" and m.trade.order_id == order_id]

    async def status(self, order_id, name, timeout_s=5.0):
        number = common.OrderStatus.Value(f"ORDER_STATUS_{name}")
        await until(lambda: any(u.status == number for u in self.updates(order_id)), timeout_s)
        return self.updates(order_id)[-1]

    async def filled(self, order_id, trades=1):
        """The order is filled, and so many fills were reported: CTP reports the order first."""
        await self.status(order_id, "FILLED")
        await until(lambda: len(self.trades(order_id)) >= trades)

    async def state(self, *order_ids, gateway="SIM"):
        return await self.engine.QueryState(pb.QueryStateRequest(gateway_name=gateway, order_ids=order_ids))

    async def gateway(self, name="SIM"):
        gateways = (await self.admin.ListGateways(pb.ListGatewaysRequest())).gateways
        return next(g for g in gateways if g.gateway_name == name)


@asynccontextmanager
async def running_engine(data_dir, *, follow=True, clock=None, **engine):
    async with platform("engine", settings={"engine": engine}, data_dir=data_dir, clock=clock) as running:
        harness = Harness(running)
        tasks = []
        if follow:
            tasks = [asyncio.create_task(harness.follow_events()), asyncio.create_task(harness.follow_ticks())]
            await until(lambda: harness.events and harness.control_messages)
        try:
            yield harness
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def reading(harness, **request):
    """A reader of StreamTicks in the background, which has begun."""
    read = TicksRead()
    task = asyncio.create_task(harness.read_ticks(read, **request))
    try:
        await until(lambda: read.control_messages or task.done())
        yield read
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    next(d for d in status.details if d.Is(info.DESCRIPTOR)).Unpack(info)
    return info.reason


async def connected(harness, name) -> bool:
    return (await harness.gateway(name)).status == pb.GATEWAY_STATUS_CONNECTED


@asynccontextmanager
async def engine_at(front, folder, *, ready=True, **settings):
    gateways = {"CTP": {"module": CTP, "class": "CtpGateway", "setting": {"front": "tcp://front"}}}
    async with running_engine(folder, **{"settle_s": 0.05, "gateways": gateways, **settings}) as harness:
        if ready:
            await until(lambda: connected(harness, "CTP"))
            await until(lambda: complete(harness))
        yield harness


async def complete(harness) -> bool:
    return (await harness.state(gateway="CTP")).complete


async def send(harness, price="3100", symbol="rb2701.SHFE", quantity="2", **words):
    return await harness.send(gateway="CTP", symbol=symbol, price=price, quantity=quantity, **words)


def venue_of(harness):
    for handler in harness.platform.host.handlers.by_path.values():
        if handler.policy.name == "QueryState":
            api = inspect.getclosurevars(handler.invoke).nonlocals["behavior"].__self__
            return api._engine._gateways._connections["CTP"].venue
    raise AssertionError


async def is_status(harness, status) -> bool:
    return (await harness.gateway("CTP")).status == status
