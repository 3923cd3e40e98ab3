"""An order at the simulated exchange: the request, and its progress."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from redfire.reasons import Reason

from services.engine.models import SimOrderRow, SimPositionRow, SimTradeRow
from services.engine.updates import (
    OrderRequest,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionEffect,
    PositionSide,
    PositionUpdate,
    Side,
    TimeInForce,
    TradeUpdate,
)


@dataclass(slots=True)
class SimOrder:
    """An order at SIM. The price is None for market orders."""

    venue_order_id: int
    request: OrderRequest
    quantity: Decimal
    price: Decimal | None
    trading_day: int
    priority: int
    create_time: datetime
    update_time: datetime
    cumulative_quantity: Decimal = Decimal(0)
    status: OrderStatus = OrderStatus.PENDING_NEW
    reason: Reason | None = None
    message: str = ""

    @property
    def left(self) -> Decimal:
        """The quantity that is not filled yet."""
        return self.quantity - self.cumulative_quantity

    def end(self, status: OrderStatus, reason: Reason | None = None, message: str = "") -> None:
        """The order is over."""
        self.status, self.reason, self.message = status, reason, message

    def update(self, *, amend_rejected: bool = False, reason: Reason | None = None, message: str = "") -> OrderUpdate:
        """The order as it is published; reason and message of a refused amendment take the place of its own."""
        request = self.request
        return OrderUpdate(
            gateway_name=request.gateway_name,
            order_id=request.order_id,
            venue_order_id=str(self.venue_order_id),
            symbol=request.symbol,
            side=request.side,
            position_effect=request.position_effect,
            quantity=self.quantity,
            price=self.price,
            cumulative_quantity=self.cumulative_quantity,
            status=self.status,
            time=self.update_time,
            reason=reason if amend_rejected else self.reason,
            message=message if amend_rejected else self.message,
            amend_rejected=amend_rejected,
            type=request.type,
        )

    def row(self) -> dict[str, Any]:
        """The order as a row."""
        request = self.request
        return {
            "venue_order_id": self.venue_order_id,
            "order_id": request.order_id or None,
            "account_id": request.account_id,
            "symbol": request.symbol,
            "side": request.side.value,
            "type": request.type.value,
            "time_in_force": request.time_in_force.value,
            "position_effect": request.position_effect.value,
            "quantity": self.quantity,
            "price": self.price,
            "cumulative_quantity": self.cumulative_quantity,
            "status": self.status.value,
            "is_open": self.status.is_open,
            "reason": self.reason.value if self.reason else "",
            "message": self.message,
            "expire_time": request.expire_time,
            "post_only": request.post_only,
            "trading_day": self.trading_day,
            "priority": self.priority,
            "create_time": self.create_time,
            "update_time": self.update_time,
        }

    @classmethod
    def of_row(cls, row: SimOrderRow, gateway_name: str) -> "SimOrder":
        """The order of a row."""
        request = OrderRequest(
            gateway_name=gateway_name,
            order_id=row.order_id or "",
            account_id=row.account_id,
            symbol=row.symbol,
            side=Side(row.side),
            type=OrderType(row.type),
            time_in_force=TimeInForce(row.time_in_force),
            position_effect=PositionEffect(row.position_effect),
            quantity=row.quantity,
            price=row.price,
            expire_time=row.expire_time,
            post_only=row.post_only,
        )
        return cls(
            venue_order_id=row.venue_order_id,
            request=request,
            quantity=row.quantity,
            price=row.price,
            trading_day=row.trading_day,
            priority=row.priority,
            create_time=row.create_time,
            update_time=row.update_time,
            cumulative_quantity=row.cumulative_quantity,
            status=OrderStatus(row.status),
            reason=Reason(row.reason) if row.reason else None,
            message=row.message,
        )


def trade_of_row(row: SimTradeRow, gateway_name: str) -> TradeUpdate:
    """The fill of a row."""
    return TradeUpdate(
        gateway_name=gateway_name,
        order_id=row.order_id,
        venue_order_id=str(row.venue_order_id),
        venue_trade_id=str(row.venue_trade_id),
        symbol=row.symbol,
        side=Side(row.side),
        position_effect=PositionEffect(row.position_effect),
        price=row.price,
        quantity=row.quantity,
        time=row.time,
        trading_day=row.trading_day,
    )


def position_of_row(row: SimPositionRow, gateway_name: str) -> PositionUpdate:
    """A position as it is written."""
    return PositionUpdate(gateway_name, row.symbol, PositionSide(row.side), row.quantity, row.yesterday_quantity)
