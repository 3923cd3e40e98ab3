"""Tables of the config service. Keys lead with the service's name, by which they would be sharded."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, String, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import JsonDocument, UtcTime
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns


class Base(DeclarativeBase):
    """The schema of the config database."""


class ConfigRow(Base):
    """The last version of each value, also when that version deleted it."""

    __tablename__ = "configs"

    service_name: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    # {"value": …}: in JSON columns not every database distinguishes a bare null from SQL's.
    content: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    deleted: Mapped[bool] = mapped_column(Boolean)
    updated_by: Mapped[str] = mapped_column(String(64))
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class VersionRow(Base):
    """All versions of all values; none is deleted, but the value of one can be erased."""

    __tablename__ = "config_versions"

    service_name: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    deleted: Mapped[bool] = mapped_column(Boolean)
    updated_by: Mapped[str] = mapped_column(String(64))
    update_time: Mapped[datetime] = mapped_column(UtcTime)
    purged: Mapped[bool] = mapped_column(Boolean, server_default=false())


class SchemaRow(Base):
    """The JSON schema of a key, which counts in every environment."""

    __tablename__ = "config_schemas"

    service_name: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    schema: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    updated_by: Mapped[str] = mapped_column(String(64))
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class OutboxRow(OutboxColumns, Base):
    """Events that are not published yet."""

    __tablename__ = "outbox"
