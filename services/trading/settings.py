"""Trading's settings."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from services.kernel.runtime.sections import StoredSection


class CloseFirst(StrEnum):
    """Contracts that a CLOSE at SHFE and INE closes first."""

    AUTO = "auto"
    TODAY = "today"
    YESTERDAY = "yesterday"


CurrencyPair = Annotated[str, Field(pattern=r"^[A-Z]{3,8}/[A-Z]{3,8}$")]
Rate = Annotated[Decimal, Field(gt=0, le=10**8, allow_inf_nan=False)]


class TradingSettings(StoredSection):
    """Trading."""

    section = "trading"
    paper_cash: Decimal = Field(default=Decimal(1_000_000), gt=0, description="The initial cash of a paper account.")
    paper_gateway: str = Field(default="SIM", description="The gateway that paper accounts trade by.")
    currency: str = Field(default="CNY", description="The currency of new accounts.")
    currency_rates: dict[CurrencyPair, Rate] = Field(
        default_factory=dict,
        description='The rate of a currency in another: `{"USD/CNY": "7.1"}`. Without a rate, orders of '
        "instruments in another currency than the account's are refused. A position keeps the rate it was opened at.",
    )
    market_price_buffer: Decimal = Field(
        default=Decimal("0.02"),
        ge=0,
        le=1,
        description="The part above the last price at which a market or stop order's money is reserved.",
    )
    close_first: CloseFirst = Field(
        default=CloseFirst.AUTO,
        description="Contracts that a CLOSE at SHFE and INE closes first: today's, yesterday's, or by the lower fee.",
    )
    max_quote_age_s: float = Field(
        default=300.0,
        gt=0,
        description="The age up to which the last tick's price values market orders and begins trailing stops.",
    )
    enforce_sessions: bool = Field(
        default=False,
        description="Keep the exchanges' hours: trading in sessions only, daily settlement, expiry of "
        "contracts, margin calls. Read at start.",
    )
    reconcile_interval_s: float = Field(
        default=30.0, gt=0, description="The interval at which gateways are reconciled."
    )
    unknown_grace_s: float = Field(
        default=6.0,
        ge=0,
        description="The time for which a gateway must deny an order that may have been sent before that counts.",
    )
    resume_window: int = Field(
        default=200_000,
        ge=1000,
        description="The number of updates of orders kept for streams that resume, on PostgreSQL for three days.",
    )
    stream_buffer: int = Field(
        default=10_000,
        ge=10,
        description="The number of updates that may wait for a subscriber before its stream is ended.",
    )
    kept_finished_orders: int = Field(default=5000, ge=0, description="The number of finished orders kept in memory.")
    senders: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="The number of orders, and of cancels, that may be on their way to a gateway at once.",
    )
