"""Column types that mean the same on SQLite and PostgreSQL."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Numeric, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

from services.kernel.decimals import plain


class Amount(TypeDecorator[Decimal]):
    """A Decimal of up to 18 digits before and 8 after the point: NUMERIC, on SQLite text (its numbers are floats)."""

    impl = Numeric(26, 8)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database has no exact numbers."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(26, 8))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Convert to the database's value."""
        return plain(value) if value is not None and dialect.name == "sqlite" else value

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """The same without the layers of TypeDecorator: an order has a dozen amounts."""
        return _amount_to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Convert from the database's value."""
        if value is None:
            return None
        # NUMERIC has zeros up to its scale.
        return Decimal(value) if dialect.name == "sqlite" else Decimal(plain(value))


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 so that it sorts and compares alike everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Convert to the database's value."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        delta = value - _EPOCH
        return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Convert from the database's value."""
        if value is None:
            return None
        seconds, micros = divmod(value, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


class JsonDocument(TypeDecorator[Any]):
    """Any JSON: as it was written, so JSON (not JSONB) on PostgreSQL, text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """JSON where there is such a type."""
        return dialect.type_descriptor(JSON() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Convert to the database's value."""
        if dialect.name == "postgresql":
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Convert from the database's value."""
        return value if dialect.name == "postgresql" or value is None else json.loads(value)


def _amount_to_text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
