"""Order groups of the tests: how they are asked for, and what of them is at the venue."""

from decimal import Decimal as D

from redfire.common.v1 import common_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import trading_pb2

from services.kernel.identifiers import new_id
from tests.trading.fakes import SYMBOL
from tests.waiting import until


def order(side, type="LIMIT", price="", quantity=3, effect="UNSPECIFIED", symbol=SYMBOL, tif="GTC", coid="", **more):
    return order_pb.GroupOrder(
        client_order_id=coid or new_id(), symbol=symbol, side=getattr(common_pb2, f"SIDE_{side}"),
        type=getattr(common_pb2, f"ORDER_TYPE_{type}"), quantity=str(quantity), price=price,
        time_in_force=getattr(common_pb2, f"TIME_IN_FORCE_{tif}"),
        position_effect=getattr(common_pb2, f"POSITION_EFFECT_{effect}"), **more,
    )  # fmt: skip


def bracket(quantity=3, entry=None, profit=None, stop=None, coid=""):
    return order_pb.CreateOrderGroupRequest(
        client_order_group_id=coid or new_id(), kind=trading_pb2.ORDER_GROUP_KIND_BRACKET,
        orders=[
            entry or order("BUY", price="4000", quantity=quantity),
            profit or order("SELL", price="4100", quantity=quantity),
            stop or order("SELL", type="STOP", stop_price="3900", quantity=quantity),
        ],
    )  # fmt: skip


def oco(*orders, coid=""):
    kind = trading_pb2.ORDER_GROUP_KIND_OCO
    return order_pb.CreateOrderGroupRequest(client_order_group_id=coid or new_id(), kind=kind, orders=orders)


async def create(trader, request):
    return (await trader.orders.CreateOrderGroup(request)).order_group


async def group_of(trader, order_group_id):
    return (await trader.orders.GetOrderGroup(order_pb.GetOrderGroupRequest(order_group_id=order_group_id))).order_group


async def shows(trader, order_id, **values):
    """The order once it shows these values."""

    async def shown():
        one = await trader.get(order_id)
        return one if all(getattr(one, name) == value for name, value in values.items()) else None

    return await until(shown)


def sent(trader, order_id):
    """The parts of an order that were sent: (reference, quantity)."""
    return [(s.order_id, s.quantity) for s in trader.engine.sends if s.order_id.startswith(order_id)]


def live(trader, order_id):
    """The quantity of an order that may still trade at the venue."""
    return sum(
        D(o.quantity) - D(o.cumulative_quantity or "0")
        for name, o in trader.engine.orders.items()
        if name.startswith(order_id) and o.status in (1, 2, 3)
    )


async def entered(trader, quantity=3, filled=None, **more):
    """A bracket whose entry is filled."""
    group = await create(trader, bracket(quantity, **more))
    entry, profit, stop = group.orders
    await trader.becomes(entry.order_id, "NEW")
    trader.engine.fill(entry.order_id, filled or quantity, "4000")
    await until(lambda: live(trader, profit.order_id) == (filled or quantity))
    await until(lambda: trader.market.listeners)
    return group.order_group_id, entry.order_id, profit.order_id, stop.order_id
