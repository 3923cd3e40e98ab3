"""Settings of the risk service. The limits are the defaults of all accounts and may change while it runs."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, WithJsonSchema

from services.kernel.runtime.sections import StoredSection
from services.risk.domain.limits import NAMES, Limits, SelfTradePrevention

LimitValue = Annotated[
    Decimal,
    Field(ge=0, max_digits=26, decimal_places=8),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,18}([.][0-9]{1,8})?$"}]}
    ),
]


class RiskSettings(StoredSection):
    """Default limits (null: not limited) and how risk follows trading and the market."""

    section: ClassVar[str] = "risk"

    max_order_quantity: LimitValue | None = Field(default=Decimal(1000), description="Contracts of one order.")
    max_order_notional: LimitValue | None = Field(
        default=Decimal(50_000_000), description="Price × quantity × contract size of one order."
    )
    max_position_quantity: LimitValue | None = Field(
        default=Decimal(100_000), description="Contracts of one position, with the open orders that would add to it."
    )
    max_gross_notional: LimitValue | None = Field(
        default=Decimal(100_000_000_000), description="Notional of all positions and opening orders together."
    )
    max_open_orders: int | None = Field(default=100_000, ge=0, description="Open orders at once.")
    max_orders_per_second: int | None = Field(default=2000, ge=0, description="Orders in any second.")
    max_daily_loss: LimitValue | None = Field(
        default=None, description="Loss of a trading day from which on only reducing orders are let through."
    )
    price_collar_ratio: LimitValue | None = Field(
        default=Decimal("0.1"),
        description="Distance that a limit may have on the aggressive side of the last price: 0.1 is 10 %.",
    )
    max_orders_per_day: int | None = Field(
        default=None, ge=0, description="Orders of one instrument on one trading day."
    )
    max_cancels_per_day: int | None = Field(
        default=None, ge=0, description="Cancels of one instrument on one trading day; a replace is one, too."
    )
    max_cancel_ratio: LimitValue | None = Field(
        default=None,
        description="Cancels per order of one instrument on one trading day, from the twentieth order on.",
    )
    duplicate_window_s: Annotated[LimitValue, Field(le=86_400)] | None = Field(
        default=None, description="Within so many seconds the same order again is refused."
    )
    self_trade_prevention: Literal["off", "resting", "new"] = Field(
        default="off", description="The order that is canceled where two of the same owner would trade with each other."
    )
    stale_after_s: float = Field(
        default=5.0,
        ge=0,
        description="Time that orders are checked without updates of trading before risk is unavailable.",
    )
    reservation_s: float = Field(
        default=5.0, gt=0, description="Time that an accepted order counts without being seen at trading."
    )
    account_wait_s: float = Field(default=1.0, ge=0, description="Time to wait for a new account to appear.")
    price_interval_s: float = Field(default=0.2, ge=0, description="The least time between two prices of a symbol.")
    max_price_age_s: Annotated[float, Field(gt=0)] | None = Field(
        default=60.0,
        description="Time that opening orders are checked by a last price that market no longer confirms: the feed is "
        "not heard, or the instrument is silent for longer than is usual in its session. Then only reducing orders are "
        "let through (STALE_PRICE); null: without limit.",
    )
    save_interval_s: float = Field(
        default=2.0, gt=0, description="Interval at which the day's profit and loss is saved."
    )
    event_buffer: int = Field(default=10_000, gt=0, description="Events that may wait to be written.")
    heartbeat_s: float = Field(
        default=10.0, gt=0, description="Silence after which a stream of events sends a heartbeat."
    )

    def default_limits(self) -> Limits:
        """The limits of accounts without own ones."""
        values = {name: getattr(self, name) for name in NAMES if name not in _NAMED_OTHERWISE}
        prevention = _PREVENTIONS[self.self_trade_prevention]
        return Limits(**values, duplicate_window=self.duplicate_window_s, self_trade_prevention=prevention)


_NAMED_OTHERWISE = ("duplicate_window", "self_trade_prevention")
_PREVENTIONS = {
    "off": None,
    "resting": SelfTradePrevention.CANCEL_RESTING,
    "new": SelfTradePrevention.CANCEL_NEW,
}
