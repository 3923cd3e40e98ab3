"""The kernel's own sections of settings: the process, its addresses, identity, limits and the servers that it uses."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from services.kernel.runtime.connection_urls import UNREADABLE, check_database_url, split_server_url
from services.kernel.runtime.sections import START_ONLY, BaseSection, LogLevel

SECRET_BYTES = 32


def _is_numeric(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return port.isdecimal()


class PlatformSettings(BaseSection):
    """The process as a whole."""

    section = "platform"
    data_dir: Path = Field(default=Path(".redfire"), description="The folder of databases, keys and market history.")
    secrets_dir: Path | None = Field(
        default=None, description="The folder of secrets, a file each; by default `secrets` in the data folder."
    )
    environment: str = Field(default="development", description="The environment whose values of config are used.")


class ServerSettings(BaseSection):
    """Addresses at which the process listens."""

    section = "server"
    host: str = Field(default="127.0.0.1", description="The address that gRPC and operations listen on.")
    port: int = Field(default=50051, ge=0, le=65535, description="The port of gRPC; 0 takes a free one.")
    ops_port: int = Field(default=0, ge=0, le=65535, description="The port of /healthz and /metrics; 0: a free one.")
    metrics_token_file: Path | None = Field(
        default=None,
        description="A file with the token of /metrics; by default loopback wants none, and other addresses that of "
        "the file `metrics-token` in the data folder, which is made if absent.",
    )
    grace_s: float = Field(default=5.0, ge=0, le=60, description="Time for running RPCs to end, seconds.")
    tls_cert: Path | None = Field(
        default=None, description="The certificate chain by which gRPC is served with TLS, PEM; none: without."
    )
    tls_key: Path | None = Field(default=None, description="The certificate's private key, PEM.")
    reuse_port: bool = Field(
        default=False, description="Share the ports with a process that keeps them for this one, as `redfire up` does."
    )


class PeersSettings(BaseSection):
    """Addresses of services that another process serves."""

    section = "peers"
    addresses: dict[str, str] = Field(
        default_factory=dict,
        description='By service: `{"trading": "host:port"}`; of several replicas `"10.0.0.5:50051,10.0.0.6:50051"`.',
    )

    tls_ca: Path | None = Field(
        default=None, description="The CA of the peers' certificates, PEM: peers are called with TLS; none: without."
    )
    tls_name: str = Field(
        default="", description="The name that peers' certificates state; empty: the host of each address."
    )

    @field_validator("addresses")
    @classmethod
    def _replicas_by_number(cls, value: dict[str, str]) -> dict[str, str]:
        for service, addresses in value.items():
            if "," in addresses and not all(_is_numeric(address) for address in addresses.split(",")):
                raise ValueError(f"{service}: replicas are IP addresses with ports, or one name that stands for all")
        return value


class IdentitySettings(BaseSection):
    """Keys by which services know each other, the secret by which they know the edge, the age of revocations."""

    section = "identity"
    keys_dir: Path | None = Field(
        default=None,
        description="The folder of its services' private keys; by default `identity` in the data folder.",
    )
    trust_dir: Path | None = Field(
        default=None, description="The folder of the public keys of all services; by default `public` in `keys_dir`."
    )
    edge_secret: SecretStr = Field(
        default=SecretStr(""),
        description="At least 32 bytes, the same for all services and the edge, from which alone they take addresses.",
    )
    edge_secret_file: Path | None = Field(default=None, description="A file that holds it instead.")
    revocations_max_age_s: float = Field(
        default=60.0,
        ge=5,
        le=3600,
        description="Users are refused while auth has not been heard for so long: a session may have ended meanwhile.",
    )

    @field_validator("edge_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"a secret of at least {SECRET_BYTES} bytes is needed")
        return value


class LimitSettings(BaseSection):
    """Limits of what comes by the edge: each user's, by whatever sessions and keys; and of addresses at any port."""

    section = "limits"
    calls: bool = Field(
        default=True,
        description="Calls are limited; off by `redfire up --rate-limits off`.",
        json_schema_extra=START_ONLY,
    )
    calls_per_minute: int = Field(default=100, ge=1, description="A user's calls a minute, those of trading aside.")
    trading_calls_per_minute: int = Field(default=300, ge=1, description="A user's calls of trading a minute.")
    all_calls_per_minute: int = Field(default=1000, ge=1, description="A user's calls a minute in all.")
    auth_calls_per_minute: int = Field(
        default=60,
        ge=1,
        description="Logins, refreshes, registrations and password changes a minute of an address, of IPv6 a /64: "
        "at the edge, and of who calls a service at its own port.",
    )
    streams: int = Field(
        default=50,
        ge=1,
        description="Streams of a user, but for those of market: with Redis at all processes together, else at each.",
    )
    streams_by_role: dict[str, int] = Field(
        default={"guest": 10, "trader": 100, "admin": 500},
        description="The same for these roles. Each replica counts its own: N replicas let N times as many be open.",
    )
    anonymous_streams: int = Field(
        default=20, ge=1, description="Streams without a user that an address, of IPv6 a /64, may have open."
    )


class TelemetrySettings(BaseSection):
    """Logs and traces."""

    section = "telemetry"
    log_level: LogLevel = Field(default="INFO", description="The least level of log lines; may change while running.")
    otlp_endpoint: str = Field(
        default="",
        description="An OpenTelemetry collector, host:port; empty: no traces.",
        json_schema_extra=START_ONLY,
    )
    sample_ratio: float = Field(default=0.1, ge=0, le=1, description="The part of calls without a parent to trace.")


class DatabaseSettings(BaseSection):
    """Databases of services."""

    section = "database"
    url: str = Field(
        default="sqlite:///{data_dir}/{name}_db.sqlite",
        description="SQLite, or `postgresql+asyncpg://user:password@host/{name}_db`; `{name}` is the service's.",
    )
    pool_size: int = Field(default=5, ge=1, le=100, description="PostgreSQL: connections kept; as many more at times.")
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60, description="PostgreSQL: time to connect, seconds.")
    statement_timeout_s: float = Field(default=30.0, ge=1, le=3600, description="PostgreSQL: time of one statement.")

    @field_validator("url")
    @classmethod
    def _supported(cls, value: str) -> str:
        if "{name}" not in value:
            raise ValueError("{name} is missing: each service has a database of its own")
        return check_database_url(value)


class EventsSettings(BaseSection):
    """Events between services."""

    section = "events"
    url: SecretStr = Field(
        default=SecretStr(""),
        description="RabbitMQ, `amqp://user:password@host:5672/vhost`; empty: events stay within the process.",
    )

    @field_validator("url")
    @classmethod
    def _supported(cls, value: SecretStr) -> SecretStr:
        needed = "only RabbitMQ is supported: amqp://… or amqps://…"
        split_server_url(value.get_secret_value(), ("amqp://", "amqps://"), needed)
        return value


class RedisSettings(BaseSection):
    """Memory that replicas share: counts of failures and of streams, cached reads, revocations."""

    section = "redis"
    url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis, `redis://user:password@host:6379/0` or `rediss://…`; empty: each process counts alone.",
    )
    timeout_s: float = Field(
        default=0.1, gt=0, le=10, description="Longest that a call waits for Redis; then it goes on without, seconds."
    )
    pool_size: int = Field(default=16, ge=1, le=1000, description="Connections at most, besides the one that listens.")

    @field_validator("url")
    @classmethod
    def _supported(cls, value: SecretStr) -> SecretStr:
        needed = "redis://… or rediss://… is needed"
        address = split_server_url(value.get_secret_value(), ("redis://", "rediss://"), needed)
        # Options in an address would override the bounds above.
        if address.query or not (address.path.strip("/") or "0").isdecimal():
            raise ValueError(UNREADABLE)
        return value


class AuditSettings(BaseSection):
    """Checkpoints of the record of every act."""

    section = "audit"
    checkpoint_records: int = Field(
        default=1000, ge=1, le=1_000_000, description="Records of a database after which a signed checkpoint follows."
    )
    checkpoint_interval_s: float = Field(
        default=60.0, ge=1, le=86400, description="Longest time between a record and a signed checkpoint, seconds."
    )
    signing_key_file: Path | None = Field(
        default=None,
        description="The key that signs checkpoints, the same for all replicas; by default one in the data folder.",
    )


KERNEL_SECTIONS: tuple[type[BaseSection], ...] = (
    PlatformSettings,
    ServerSettings,
    PeersSettings,
    IdentitySettings,
    LimitSettings,
    TelemetrySettings,
    DatabaseSettings,
    EventsSettings,
    RedisSettings,
    AuditSettings,
)
