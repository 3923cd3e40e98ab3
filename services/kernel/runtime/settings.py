"""Settings: frozen, typed, read once: defaults < YAML file < environment `REDFIRE_<SECTION>__<KEY>` < flags.

A section is a class of a service (or of the kernel). A wrong key or value stops the start with one line that names it.
"""

import ipaddress
import logging
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from services.kernel.errors import StartError
from services.kernel.runtime.secret_files import VARIABLES

log = logging.getLogger(__name__)
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
PREFIX = "REDFIRE_"
SECRET_BYTES = 32
START_ONLY_KEY = "x-start-only"
START_ONLY: dict[str, Any] = {START_ONLY_KEY: True}
"""`json_schema_extra` of a setting that is read at start alone."""
DATABASE_SCHEMES = ("sqlite:///", "postgresql+asyncpg://")
# Instead of what the parsers say: the part that they cannot read may be one of a password.
_UNREADABLE = "it is no address; special characters of a password are written as %XX"


def _is_numeric(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return port.isdecimal()


def _database_url(value: str) -> str:
    if not value.startswith(DATABASE_SCHEMES):
        raise ValueError("sqlite:///… or postgresql+asyncpg://… is needed")
    # Imported where it is needed alone: it takes longer than all else here.
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(value)
    except (ValueError, ArgumentError):
        raise ValueError(_UNREADABLE) from None
    return value


class BaseSection(BaseModel):
    """Settings of one part, frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: ClassVar[str]
    former_section: ClassVar[str] = ""
    """Name that the section had in an earlier version; it is still read, with a warning."""

    @classmethod
    def is_start_only(cls, key: str) -> bool:
        """Test for a key that is read at start alone: config, which users of the API write, never sets it.

        These are all that name files, modules or classes, by type (`Path`) or marked with `START_ONLY`, secrets, and
        databases.
        """
        field = cls.model_fields[key]
        marked = isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get(START_ONLY_KEY))
        return marked or _is_path_or_secret(field.annotation) or _nested(cls, key) is not None


class ServiceDatabase(BaseModel):
    """The database of one service."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str = Field(default="", description="The service's own database URL; empty: that of `database.url`.")

    @field_validator("url")
    @classmethod
    def _supported(cls, value: str) -> str:
        return _database_url(value) if value else value


class Section(BaseSection):
    """Settings of a service; subclasses live in `services/<service>/settings.py`."""

    log_level: LogLevel = Field(default="INFO", description="The least level of the service's own log lines.")


class StoredSection(Section):
    """Settings of a service that has a database."""

    database: ServiceDatabase = Field(default=ServiceDatabase(), description="The service's database.")


S = TypeVar("S", bound=BaseSection)


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
    calls: bool = Field(default=True, description="Calls are limited; off by `redfire up --rate-limits off`.")
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
    otlp_endpoint: str = Field(default="", description="An OpenTelemetry collector, host:port; empty: no traces.")
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
        return _database_url(value)


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
        url = value.get_secret_value()
        if url and not url.startswith(("amqp://", "amqps://")):
            raise ValueError("only RabbitMQ is supported: amqp://… or amqps://…")
        try:
            address = urlsplit(url)
            _ = address.port  # raises where there is no number
        except ValueError:
            raise ValueError(_UNREADABLE) from None
        if address.fragment:
            raise ValueError(_UNREADABLE)
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
        url = value.get_secret_value()
        if url and not url.startswith(("redis://", "rediss://")):
            raise ValueError("redis://… or rediss://… is needed")
        try:
            address = urlsplit(url)
            _ = address.port  # raises where there is no number
        except ValueError:
            raise ValueError(_UNREADABLE) from None
        # Options in an address would override the bounds above.
        if address.fragment or address.query or not (address.path.strip("/") or "0").isdecimal():
            raise ValueError(_UNREADABLE)
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


class Settings:
    """All sections, as read."""

    def __init__(self, sections: Mapping[str, BaseSection]) -> None:
        self._sections = dict(sections)

    def of(self, section: type[S]) -> S:
        """One section."""
        return cast(S, self._sections[section.section])

    def sections(self) -> Mapping[str, BaseSection]:
        """All of them by name."""
        return dict(self._sections)

    def replaced(self, **sections: BaseSection) -> "Settings":
        """The same with other sections."""
        return Settings({**self._sections, **sections})


def load(
    section_classes: tuple[type[BaseSection], ...],
    config_file: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read the settings. Raises StartError, whose one line names what is wrong.

    `defaults` are a command's own, below the file, the environment and the flags.
    """
    environ = dict(os.environ if environ is None else environ)
    classes = {cls.section: cls for cls in (*KERNEL_SECTIONS, *section_classes)}
    former = {cls.former_section: cls.section for cls in classes.values() if cls.former_section}
    environ = _rename_variables(environ, former)
    written = _read_yaml(config_file, classes, former) if config_file else {}
    problems = _unknown_variables(environ, classes)
    fields: dict[str, Any] = {name: (cls, Field(default_factory=cls)) for name, cls in classes.items()}

    class Root(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=PREFIX,
            env_nested_delimiter="__",
            frozen=True,
            extra="forbid",
            nested_model_default_partial_update=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            below = InitSettingsSource(settings_cls, {name: dict(values) for name, values in (defaults or {}).items()})
            return init_settings, env_settings, InitSettingsSource(settings_cls, written), below

    root = create_model("RedFireSettings", __base__=Root, **fields)
    try:
        with _environment(environ):
            loaded = root(**{name: dict(values) for name, values in (flags or {}).items() if values})
    except ValidationError as error:
        problems += [f"{'.'.join(str(part) for part in e['loc'])}: {_plain(e['msg'])}" for e in error.errors()]
    except Exception as error:  # pydantic-settings reports unreadable JSON of a variable by its own class
        problems.append(str(error).split("\n")[0])
    if problems:
        raise StartError("wrong settings: " + "; ".join(problems))
    return Settings({name: getattr(loaded, name) for name in classes})


def json_schemas(section: type[BaseSection]) -> dict[str, dict[str, Any]]:
    """The JSON schema of each key of a section, for the config service; of those read at start alone that alone."""
    document = section.model_json_schema()
    definitions = document.get("$defs", {})
    schemas = {}
    for key, schema in document.get("properties", {}).items():
        if section.is_start_only(key):
            schemas[key] = {**START_ONLY}
            continue
        schemas[key] = {**schema, "$defs": definitions} if definitions else schema
    return schemas


def describe(section: type[BaseSection]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: variable, type, default, description."""
    rows = []
    for key, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        name = f"{PREFIX}{section.section.upper()}__{key.upper()}"
        if nested := _nested(section, key):
            for below, inner in nested.model_fields.items():
                kind = _type_name(inner.annotation)
                rows.append((f"{name}__{below.upper()}", kind, str(inner.default), inner.description or ""))
            continue
        rows.append((name, _type_name(field.annotation), str(default), field.description or ""))
    return rows


def _nested(section: type[BaseSection], key: str) -> type[BaseModel] | None:
    """The class of a key that has keys of its own."""
    kind = section.model_fields[key].annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_path_or_secret(annotation: Any) -> bool:
    return annotation in (Path, SecretStr) or any(_is_path_or_secret(part) for part in get_args(annotation))


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_type_name(a) for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Annotated:
        return _type_name(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return ", ".join(str(a) for a in get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "there is no such key")


def _read_yaml(file: Path, classes: Mapping[str, type[BaseSection]], former: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise StartError(f"config file {file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise StartError(f"config file {file}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise StartError(f"config file {file}: sections with keys are expected")
    for old, new in former.items():
        if isinstance(document.get(old), dict) and isinstance(document.get(new, {}), dict):
            log.warning("config file %s: section %s is now called %s", file, old, new)
            document[new] = {**document.pop(old), **document.get(new, {})}
    for name, values in document.items():
        if name not in classes:
            raise StartError(f"config file {file}: there is no section {name}")
        if values is not None and not isinstance(values, dict):
            raise StartError(f"config file {file}: section {name}: keys with values are expected")
    return {name: values for name, values in document.items() if values}


def _rename_variables(environ: Mapping[str, str], former: Mapping[str, str]) -> dict[str, str]:
    """Give variables of sections that were renamed their present name; where both are set, the present one counts."""
    renamed = dict(environ)
    for variable in environ:
        section, delimiter, key = variable.upper().removeprefix(PREFIX).partition("__")
        if variable.upper().startswith(PREFIX) and delimiter and (new := former.get(section.lower())):
            name = f"{PREFIX}{new.upper()}__{key}"
            log.warning("%s is now called %s", variable, name)
            renamed.setdefault(name, renamed.pop(variable))
    return renamed


def _unknown_variables(environ: Mapping[str, str], classes: Mapping[str, type[BaseSection]]) -> list[str]:
    problems = []
    for variable in environ:
        name = variable.upper()
        if not name.startswith(PREFIX) or name.startswith(VARIABLES):
            continue
        section, delimiter, key = name.removeprefix(PREFIX).lower().partition("__")
        if not delimiter or section not in classes:
            problems.append(f"{variable}: there is no such section")
        elif key.partition("__")[0] not in classes[section].model_fields:
            problems.append(f"{variable}: there is no such key")
    return problems


class _environment:  # noqa: N801 a context manager, named as it is read
    """Makes pydantic-settings, which reads os.environ, see the environment that was given."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __enter__(self) -> None:
        self._saved = {k: v for k, v in os.environ.items() if k.upper().startswith(PREFIX)}
        for key in self._saved:
            del os.environ[key]
        os.environ.update({k: v for k, v in self._environ.items() if k.upper().startswith(PREFIX)})

    def __exit__(self, *_: object) -> None:
        for key in [k for k in os.environ if k.upper().startswith(PREFIX)]:
            del os.environ[key]
        os.environ.update(self._saved)
