"""A trade: a fill that is booked."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import PositionEffect, PositionSide, Side

from services.trading.domain.money import ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill that is booked."""

    trade_id: str
    order_id: str
    user_id: str
    account_id: str
    symbol: str
    side: Side
    position_effect: PositionEffect
    price: Decimal
    quantity: Decimal
    commission: Decimal
    realized_pnl: Decimal
    time_ns: int
    create_time_ns: int
    gateway: str
    venue_trade_id: str
    strategy_id: str
    trading_day: int = 0  # YYYYMMDD
    # The venue took it back: it counts no more. A correction names the trade that it stands for.
    busted: bool = False
    corrects_trade_id: str = ""
    trace_id: str = ""
    closed_today: Decimal = ZERO  # how much of it closed contracts of its own trading day

    @property
    def position_side(self) -> PositionSide:
        """The side of the position that it opened or closed."""
        opened = self.position_effect is PositionEffect.OPEN
        return PositionSide.LONG if (self.side is Side.BUY) == opened else PositionSide.SHORT

    @property
    def held_quantity(self) -> Decimal:
        """The contracts by which it changed that position; what it closed is negative."""
        return self.quantity if self.position_effect is PositionEffect.OPEN else -self.quantity

    @property
    def closed_effect(self) -> PositionEffect:
        """The effect that closes again the contracts that it closed, whatever it was sent as."""
        all_today = self.closed_today == self.quantity
        return PositionEffect.CLOSE_TODAY if all_today else PositionEffect.CLOSE_YESTERDAY
