"""Bodies of requests and events."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Amount = Annotated[Decimal, Field(gt=0, max_digits=26, decimal_places=8)]
Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}\.[A-Z]{2,10}$")]


class Message(BaseModel):
    """JSON in lowerCamelCase; unknown fields are refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Side(StrEnum):
    """Buy or sell."""

    BUY = "SIDE_BUY"
    SELL = "SIDE_SELL"


class OrderType(StrEnum):
    """Market or limit."""

    MARKET = "ORDER_TYPE_MARKET"
    LIMIT = "ORDER_TYPE_LIMIT"


class TimeInForce(StrEnum):
    """The time for which it may rest."""

    DAY = "TIME_IN_FORCE_DAY"
    GTC = "TIME_IN_FORCE_GTC"
    IOC = "TIME_IN_FORCE_IOC"


class Status(StrEnum):
    """State of an order."""

    PENDING_NEW = "ORDER_STATUS_PENDING_NEW"
    NEW = "ORDER_STATUS_NEW"
    FILLED = "ORDER_STATUS_FILLED"


class NewOrder(Message):
    """An order that a client wants."""

    client_order_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
    symbol: Symbol
    side: Side
    type: OrderType
    quantity: Amount
    price: Amount | None = None
    time_in_force: TimeInForce = TimeInForce.DAY

    @model_validator(mode="after")
    def _price_belongs_to_limits(self) -> Self:
        if (self.price is None) == (self.type is OrderType.LIMIT):
            raise ValueError("price: required for LIMIT orders, and only for these")
        if self.type is OrderType.MARKET and self.time_in_force is TimeInForce.GTC:
            raise ValueError("time_in_force: a MARKET order is DAY or IOC")
        return self


class Order(Message):
    """An order as it is now; also the event that brings it to the engine."""

    order_id: UUID
    user_id: str
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce
    status: Status


class RiskCheck(Message):
    """Risk's question."""

    user_id: str
    symbol: str
    quantity: Decimal
    notional: Decimal


class RiskDecision(Message):
    """Risk's answer."""

    allowed: bool
    reason: str = ""


class Report(Message):
    """The event by which the engine says what became of an order."""

    order_id: UUID
    status: Status
    trade_id: UUID | None = None
    price: Decimal | None = None
