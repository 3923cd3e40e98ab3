"""The engine's settings."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.kernel.runtime.secret_rule import raw_secrets
from services.kernel.runtime.sections import START_ONLY, StoredSection


class GatewaySettings(BaseModel):
    """A vnpy gateway of another package: its class, and the setting for its `connect`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    module: str = Field(description="The Python module, for instance `vnpy_ctp`.")
    class_name: str = Field(alias="class", description="Its gateway class, for instance `CtpGateway`.")
    setting: dict[str, Any] = Field(
        default_factory=dict, description="Setting for the gateway's connect(); a secret as `{secret: NAME}`."
    )
    auto_connect: bool = Field(default=True, description="Connect it when the engine starts.")
    limit_only: tuple[str, ...] = Field(
        default=("SHFE", "INE", "CFFEX"),
        description="Exchanges that take no market orders by it: these go as limit orders at the day's limit price.",
    )

    @field_validator("setting")
    @classmethod
    def _no_secrets(cls, setting: dict[str, Any]) -> dict[str, Any]:
        # A file of settings is copied, mailed and committed; what is not in it cannot be lost with it.
        if where := next(raw_secrets("", setting, "setting"), ""):
            raise ValueError(f"{where} is a secret: write {{secret: NAME}}, and its value into the file NAME")
        return setting


class EngineSettings(StoredSection):
    """The feed, the instruments, the gateways, and the behaviour of the simulated exchange."""

    section: ClassVar[str] = "engine"

    feed: str = Field(
        default="sim",
        description="SIM's market: `sim`, `sim:SEED` or `replay:FILE[@SPEED|@max][?start=now|subscribe]`. A replay "
        "begins when a market records it; with `start=now` at once; with `start=subscribe` when, besides, a symbol of "
        "it is asked for.",
        json_schema_extra=START_ONLY,
    )
    instruments_file: str = Field(
        default="",
        description="A YAML file that extends or overrides the catalogue.",
        json_schema_extra=START_ONLY,
    )
    gateways: dict[str, GatewaySettings] = Field(
        default_factory=dict,
        description="Other vnpy gateways by name: `{CTP: {module, class, setting}}`.",
        json_schema_extra=START_ONLY,
    )
    primary_gateways: dict[str, str] = Field(
        default_factory=dict,
        description="The gateway of a symbol's prices and orders, where several have it: "
        "`{rb2701.SHFE: CTP, '*.DCE': CTP2}`. By default a real gateway goes before SIM, of real ones that of "
        "before, else the first by name.",
    )
    send_timeout_s: float = Field(
        default=3.0, gt=0, description="Time that a gateway may take over an order before its outcome is not known."
    )
    settle_s: float = Field(
        default=3.0,
        ge=0,
        description="Time after its connection in which a gateway sends its orders and trades of the day.",
    )
    connect_timeout_s: float = Field(
        default=30.0, gt=0, description="A gateway that sends nothing for so long after connect is in error."
    )
    sim_ticks_per_second: float = Field(
        default=10.0, gt=0, le=2000, description="Ticks per second of each simulated symbol; may change while running."
    )
    sim_latency_ms: float = Field(
        default=0.0, ge=0, le=10_000, description="Time that SIM takes to look at an order; may change while running."
    )
    sim_reject_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The part of orders that SIM refuses at random; may change while running.",
    )
    tick_ring_mb: int = Field(
        default=64,
        ge=16,
        le=16_384,
        description="Memory for the last ticks of all symbols: a reader that was away or slow for no longer loses "
        "none. Five-level ticks take 0.4 kB each.",
    )
    tick_lateness_s: float = Field(
        default=2.0,
        ge=0,
        description="Time that ticks of real gateways and of recordings may come after others of a later exchange "
        "time: the watermarks, by which bars are closed, stay so far behind.",
    )
    event_history: int = Field(
        default=20_000, ge=16, description="Order events kept in memory, to resume broken streams from."
    )
    heartbeat_s: float = Field(
        default=5.0,
        gt=0,
        le=5.0,
        description="Silence after which the engine's streams send a heartbeat, at least each second.",
    )
