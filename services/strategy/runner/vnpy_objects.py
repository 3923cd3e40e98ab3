"""RedFire's ticks, bars, orders and trades as vnpy's objects. Enums are mapped by NAME: vnpy translates the values.

Importing this module imports vnpy (over 100 MB): only what runs CTA strategies does.
"""

from typing import Any

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.constant import Interval as VnpyInterval
from vnpy.trader.object import BarData, OrderData, TickData, TradeData

from services.quant.sdk.events import Bar, Effect, Interval, Order, OrderKind, OrderState, Side, Tick, Trade
from services.quant.sdk.vnpy_names import OFFSETS, STATUSES

# vnpy puts the gateway's name before order ids; strategies only compare them.
GATEWAY = "REDFIRE"

INTERVALS: dict[str, Interval] = {"MINUTE": Interval.M1, "HOUR": Interval.H1, "DAILY": Interval.D1}
_DIRECTIONS = {Side.BUY: Direction.LONG, Side.SELL: Direction.SHORT}
_OFFSETS = {Effect(effect): Offset[name] for effect, name in OFFSETS.items()}
_EFFECTS = {offset.name: effect for effect, offset in _OFFSETS.items()}
_TYPES = {OrderKind.LIMIT: OrderType.LIMIT, OrderKind.MARKET: OrderType.MARKET, OrderKind.STOP: OrderType.STOP}
_STATUSES = {
    **{OrderState(status): Status[name] for status, name in STATUSES.items()},
    OrderState.UNKNOWN: Status.SUBMITTING,
    OrderState.EXPIRED: Status.CANCELLED,
}


def exchange_of(symbol: str) -> tuple[str, Exchange]:
    """`IF2101.CFFEX` in its two parts. Raises ValueError for an exchange that vnpy does not know."""
    code, _, exchange = symbol.rpartition(".")
    if exchange not in Exchange.__members__:
        raise ValueError(f"vnpy knows no exchange {exchange}: a CTA strategy cannot trade {symbol}")
    return code, Exchange[exchange]


def side_of(direction: Direction) -> Side:
    """The side of a direction."""
    return Side.BUY if direction.name == "LONG" else Side.SELL


def effect_of(offset: Offset) -> Effect:
    """Opens or closes; NONE opens."""
    return _EFFECTS.get(offset.name, Effect.OPEN)


class VnpyObjects:
    """Makes vnpy's objects for one symbol."""

    def __init__(self, symbol: str) -> None:
        self._code, self._exchange = exchange_of(symbol)

    def tick(self, tick: Tick) -> TickData:
        """A tick with up to five levels."""
        made = TickData(
            symbol=self._code,
            exchange=self._exchange,
            datetime=tick.time,
            gateway_name=GATEWAY,
            volume=tick.volume,
            turnover=tick.turnover,
            open_interest=tick.open_interest,
            last_price=tick.last_price,
            last_volume=tick.last_quantity,
            limit_up=tick.limit_up,
            limit_down=tick.limit_down,
            open_price=tick.open_price,
            high_price=tick.high_price,
            low_price=tick.low_price,
            pre_close=tick.pre_close_price,
        )
        self._levels(made, "bid", tick.bid_prices, tick.bid_quantities)
        self._levels(made, "ask", tick.ask_prices, tick.ask_quantities)
        return made

    def bar(self, bar: Bar, interval: VnpyInterval) -> BarData:
        """A bar, stamped at its start as vnpy's are."""
        return BarData(
            symbol=self._code,
            exchange=self._exchange,
            datetime=bar.time,
            gateway_name=GATEWAY,
            interval=interval,
            volume=bar.volume,
            turnover=bar.turnover,
            open_interest=bar.open_interest,
            open_price=bar.open,
            high_price=bar.high,
            low_price=bar.low,
            close_price=bar.close,
        )

    def order(self, order: Order) -> OrderData:
        """An order; its id is the client_order_id, which the strategy knows from sending it."""
        status = _STATUSES.get(order.state)
        if status is None:  # a cancel or replace is on its way
            status = Status.PARTTRADED if order.filled else Status.NOTTRADED
        return OrderData(
            symbol=self._code,
            exchange=self._exchange,
            orderid=order.client_order_id,
            gateway_name=GATEWAY,
            type=_TYPES[order.kind],
            direction=_DIRECTIONS[order.side],
            offset=_OFFSETS[order.effect],
            price=order.price,
            volume=order.quantity,
            traded=order.filled,
            status=status,
            datetime=order.time,
        )

    def trade(self, trade: Trade) -> TradeData:
        """A fill."""
        return TradeData(
            symbol=self._code,
            exchange=self._exchange,
            orderid=trade.client_order_id,
            tradeid=trade.trade_id,
            gateway_name=GATEWAY,
            direction=_DIRECTIONS[trade.side],
            offset=_OFFSETS[trade.effect],
            price=trade.price,
            volume=trade.quantity,
            datetime=trade.time,
        )

    @staticmethod
    def _levels(made: Any, side: str, prices: tuple[float, ...], quantities: tuple[float, ...]) -> None:
        for level, (price, quantity) in enumerate(zip(prices[:5], quantities[:5], strict=False), 1):
            setattr(made, f"{side}_price_{level}", price)
            setattr(made, f"{side}_volume_{level}", quantity)
