"""Orders that depend on each other: OCO and BRACKET."""

from decimal import Decimal as D
from typing import Any

from redfire.common.v1 import common_pb2 as common
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import trading_pb2

from tests.trading.model.base import GroupIntent, Intent
from tests.trading.model.clients import Clients
from tests.trading.model.exchange import LISTINGS, SYMBOLS

DAY, GTC = common.TIME_IN_FORCE_DAY, common.TIME_IN_FORCE_GTC


class Groups(Clients):
    """Operations with groups."""

    async def bracket(self, a: int, b: int, c: int) -> None:
        """An entry with its take profit and its stop."""
        entry_type = ("LIMIT", "MARKET", "LIMIT", "STOP")[c % 4]
        self._ask(trading_pb2.ORDER_GROUP_KIND_BRACKET, a, b, c, [(entry_type, False), ("LIMIT", True), ("STOP", True)])

    async def oco(self, a: int, b: int, c: int) -> None:
        """Two orders of which one cancels the other: both open, or both close."""
        closes = c % 3 > 0
        self._ask(trading_pb2.ORDER_GROUP_KIND_OCO, a, b, c, [("LIMIT", closes), ("STOP", closes)])

    async def cancel_group(self, a: int) -> None:
        """A group is canceled."""
        known = [group for group in self.groups if group.order_group_id]
        if self.platform.run is None or not known:
            return
        group = known[-1 - a % min(len(known), 4)]
        request = order_pb.CancelOrderGroupRequest(order_group_id=group.order_group_id)
        self.client(self.run.orders(group.user).CancelOrderGroup(request), a)

    def _ask(self, kind: int, a: int, b: int, c: int, orders: list[tuple[str, bool]]) -> None:
        user, gateway, account_id = self.account(a)
        symbols = [symbol for symbol in SYMBOLS if LISTINGS[symbol].gateway == gateway]
        symbol, side, number = symbols[b % len(symbols)], 1 + b // 2 % 2, len(self.intents)
        request = order_pb.CreateOrderGroupRequest(
            client_order_group_id=f"g-{len(self.groups)}", kind=kind, account_id=account_id
        )
        group = GroupIntent(user, account_id, request, [])
        for index, (type_name, closes) in enumerate(orders):
            order = self._order(f"c-{number + index}", symbol, side, type_name, closes, c)
            request.orders.append(order)
            intent = Intent(user, account_id, order.client_order_id, order, False, D(order.quantity), group=group)
            self.intents[order.client_order_id] = intent
            group.intents.append(intent)
        self.groups.append(group)
        self.client(self._create(group.intents[0]), c)

    def _order(self, coid: str, symbol: str, side: int, type_name: str, closes: bool, c: int) -> Any:
        price, tick = self.venue.market.prices[symbol], int(LISTINGS[symbol].price_tick)
        side = 3 - side if closes else side
        buys = side == common.SIDE_BUY
        order = order_pb.GroupOrder(
            client_order_id=coid, symbol=symbol, side=side, type=common.OrderType.Value(f"ORDER_TYPE_{type_name}"),
            quantity=str(1 + c % 4), time_in_force=GTC if c % 5 and type_name != "MARKET" else DAY,
            position_effect=common.POSITION_EFFECT_CLOSE if closes else common.POSITION_EFFECT_OPEN,
        )  # fmt: skip
        away = (4 + c % 3) * tick
        if type_name == "LIMIT":
            order.price = str(price - away if buys else price + away) if closes else str(price + (c % 3 - 1) * tick)
        if type_name == "STOP":
            order.stop_price = str(price + away if buys else price - away)
        return order
