"""kill -9 in the middle of trading: acknowledged orders and published fills are there afterwards, once."""

import asyncio
import random
import signal
import sys
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub

from services.kernel.identifiers import new_id
from services.kernel.identity.identity import SERVICE_KEY
from tests.harness import _WithMetadata, service_token

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SYMBOL = "rb2701.SHFE"


@asynccontextmanager
async def killed_engine(folder):
    """An engine in a process of its own, killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.engine.crash_child", str(folder), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        address = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().strip()
        async with grpc.aio.insecure_channel(address) as channel:
            metadata = [(SERVICE_KEY, service_token("trading", "engine"))]
            yield EngineServiceStub(_WithMetadata(channel, metadata)), child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
        await child.wait()


async def test_a_killed_engine_has_lost_and_doubled_nothing(tmp_path):
    chance = random.Random(5)
    acknowledged, sent, published = {}, {}, {}
    for _ in range(3):
        async with killed_engine(tmp_path) as (engine, child):

            async def listen(engine=engine):
                async for message in engine.StreamEvents(pb.StreamEventsRequest(), timeout=None):
                    if message.HasField("trade"):
                        assert message.trade.venue_trade_id not in published, "a trade id was given twice"
                        published[message.trade.venue_trade_id] = message.trade

            async def trade(engine=engine):
                while True:
                    order_id = new_id()
                    request = pb.SendOrderRequest(
                        gateway_name="SIM",
                        order_id=order_id,
                        symbol=SYMBOL,
                        side=common.SIDE_BUY,
                        type=chance.choice([common.ORDER_TYPE_MARKET, common.ORDER_TYPE_LIMIT]),
                        time_in_force=common.TIME_IN_FORCE_GTC,
                        quantity=str(chance.randint(1, 300)),
                        price="3100",
                    )
                    sent[order_id] = request
                    acknowledged[order_id] = (await engine.SendOrder(request)).venue_order_id

            async with asyncio.TaskGroup() as tasks:

                async def until_killed(work):
                    try:
                        await work()
                    except grpc.aio.AioRpcError as error:
                        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error

                for work in (listen, trade, trade, trade, trade):
                    tasks.create_task(until_killed(work))
                await asyncio.sleep(chance.uniform(0.3, 1.2))
                child.send_signal(signal.SIGKILL)
    assert len(acknowledged) > 50 and published
    async with killed_engine(tmp_path) as (engine, _):
        state = await engine.QueryState(pb.QueryStateRequest(gateway_name="SIM", order_ids=list(sent)))
        orders = {order.order_id: order for order in state.orders}
        assert len(orders) == len(state.orders)
        for order_id, venue_order_id in acknowledged.items():
            assert orders[order_id].venue_order_id == venue_order_id
        trades = {t.venue_trade_id: t for t in state.trades}
        assert len(trades) == len(state.trades)
        for venue_trade_id, trade in published.items():
            assert trades[venue_trade_id] == trade
        for order in state.orders:
            filled = sum(Decimal(t.quantity) for t in state.trades if t.order_id == order.order_id)
            assert filled == Decimal(order.cumulative_quantity)
        held = sum(Decimal(p.quantity) for p in state.positions if p.symbol == SYMBOL)
        assert held == sum(Decimal(t.quantity) for t in state.trades)
        for order_id in list(sent)[:20]:  # sent again after the crash: still one order
            answer = await engine.SendOrder(sent[order_id])
            assert acknowledged.get(order_id, answer.venue_order_id) == answer.venue_order_id
