"""Settings of market data."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from services.kernel.runtime.sections import START_ONLY, StoredSection
from services.quant.archive.s3 import check_url

_REPLICA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,22}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[^\s/:]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")


class MarketSettings(StoredSection):
    """Fan-out, ring and recording of ticks."""

    section: ClassVar[str] = "market"

    replica: str = Field(
        default="market",
        description="The name of this replica of market, another one for each: 1 to 24 letters, digits and dashes. Ids "
        "of its streams begin with it.",
    )
    recorder: str = Field(
        default="",
        description="The replica that makes bars and records, one of `replicas`; the others read its Parquet files in "
        "the same data folder, and ask it for what is not there yet. Empty: the one that holds the lease in the "
        "database on PostgreSQL, which another one takes over; without such a database this one.",
    )
    replicas: dict[str, str] = Field(
        default_factory=dict,
        description='The replicas of market by name: `{"m1": "host:port"}`; the same for all. Empty: there is one.',
    )
    timezone: str = Field(default="Asia/Shanghai", description="The exchanges' local time: where bars' days begin.")
    ring_mb: int = Field(
        default=256,
        ge=1,
        le=1 << 20,
        description="Memory for the recent ticks of all symbols, for streams that resume; the oldest leave first.",
    )
    upstream_silence_s: float = Field(
        default=5.0,
        ge=0.1,
        le=3600,
        description="Silence of the engine, without a heartbeat, that counts as its loss.",
    )
    record_symbols: tuple[str, ...] = Field(
        default=(),
        description="Patterns (`rb*.SHFE`) of symbols of real gateways that are recorded though nobody streams them; "
        "those of simulated gateways always are.",
    )
    unsubscribe_after_s: float = Field(
        default=600.0,
        ge=0.1,
        le=86_400,
        description="Time after which a real gateway's symbol that nobody wants any more is no longer subscribed.",
    )
    buffer_ticks: int = Field(
        default=8192, ge=16, le=1 << 20, description="Ticks that a lossless stream may be behind before it is ended."
    )
    heartbeat_s: float = Field(default=10.0, ge=0.1, le=10, description="Silence after which a heartbeat is sent.")
    stall_s: float = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="Time after which a stream that takes nothing is ended; three heartbeats at least come within it.",
    )
    max_streams: int = Field(default=20_000, ge=1, description="Streams that may be open at once.")
    max_streams_per_user: int = Field(default=20, ge=1, description="Streams that a user may have open at once.")
    max_streams_by_role: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={"admin": 1000}, description="The same for users of these roles."
    )
    opens_per_s: float = Field(
        default=1500.0,
        gt=0,
        le=100_000,
        description="Streams of users that may be opened in a second; more are told when to come again.",
    )
    stream_writer: Literal["grpc", "http2"] = Field(
        default="grpc",
        description="The writer of StreamTicks and StreamBars for the edge's clients: gRPC's server, or one of our own "
        "at a port of its own, which takes less where there are thousands; `redfire up` uses that one.",
    )
    stream_port: int = Field(
        default=0, ge=0, le=65535, description="The port of `stream_writer: http2`, at `server.host`; 0: a free one."
    )
    flush_s: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="Interval at which new ticks go to the write-ahead log: `kill -9` can lose so much.",
    )
    checkpoint_s: float = Field(
        default=60.0, gt=0, le=3600, description="Interval at which the write-ahead log goes to Parquet."
    )
    checkpoint_mb: int = Field(
        default=8, ge=1, le=1024, description="The write-ahead log's size that does not wait for it."
    )
    history_backlog_mb: int = Field(
        default=64, ge=1, description="Ticks held in memory for a disk that is too slow; more are not recorded."
    )
    archive_url: str = Field(
        default="",
        description="The bucket that archived ticks and bars move to, `s3://BUCKET/PREFIX`, with "
        "`?endpoint_override=http://HOST:PORT&region=…` for other stores than Amazon's; credentials are the "
        "environment's (`AWS_ACCESS_KEY_ID` …); empty: they stay in the data folder.",
        json_schema_extra=START_ONLY,
    )
    influx_url: str = Field(
        default="",
        description="An InfluxDB that ticks and closed bars are sent to: `http://HOST:8086/DATABASE` of version 1, or "
        "the URL of a write, `http://HOST:8086/api/v2/write?org=ORG&bucket=BUCKET`; empty: none.",
        json_schema_extra=START_ONLY,
    )
    influx_token: SecretStr = Field(default=SecretStr(""), description="The token for it; of version 1, USER:PASSWORD.")
    log_keep_mb: int = Field(
        default=32,
        ge=0,
        le=4096,
        description="The write-ahead log kept after it went to Parquet: streams resume from it after a restart.",
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Days after which recorded ticks are removed, by trading day and when they were written; 0: never.",
    )
    bar_retention_days: int = Field(
        default=0, ge=0, le=100_000, description="Days after which recorded bars are removed, likewise; 0: never."
    )
    compact_files: int = Field(default=16, ge=2, description="Files of a day that are made into one.")
    max_indicator_bars: int = Field(default=20_000, ge=1, description="Bars that one indicator request may cover.")

    @property
    def records(self) -> bool:
        """True for the replica that makes bars and records."""
        return self.recorder in ("", self.replica)

    @field_validator("replica")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not _REPLICA.fullmatch(value):
            raise ValueError(f"{value!r} is no name of 1 to 24 letters, digits and dashes")
        return value

    @field_validator("replicas")
    @classmethod
    def _have_addresses(cls, value: Mapping[str, str]) -> dict[str, str]:
        for name, address in value.items():
            cls._is_name(name)
            if not _ADDRESS.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) <= 65535:
                raise ValueError(f"the address of {name}, {address!r}, is not host:port")
        return dict(value)

    @model_validator(mode="after")
    def _know_the_recorder(self) -> "MarketSettings":
        if not self.records and self.recorder not in self.replicas:
            raise ValueError(f"recorder: {self.recorder} has no address in replicas")
        return self

    @field_validator("archive_url")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        return check_url(value) if value else value

    @field_validator("influx_url")
    @classmethod
    def _is_influx(cls, value: str) -> str:
        if value:
            influx_write_url(value)
        return value


def influx_write_url(url: str) -> str:
    """The address that lines are posted to: `http://HOST:8086/DATABASE` means version 1's. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("http://HOST:8086/DATABASE is needed, or the whole URL of a write; a token is a setting")
    path, query = parts.path.rstrip("/"), dict(parse_qsl(parts.query))
    if not query:
        if path.count("/") != 1:
            raise ValueError(f"{url} names no database: http://HOST:8086/DATABASE")
        path, query = "/write", {"db": unquote(path[1:])}
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode({**query, "precision": "ns"}), ""))
