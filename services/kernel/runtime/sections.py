"""Sections of settings: their base classes, and what is said of their keys as JSON schemas and as a table."""

import types
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from services.kernel.runtime.connection_urls import check_database_url

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
PREFIX = "REDFIRE_"
START_ONLY_KEY = "x-start-only"
START_ONLY: dict[str, Any] = {START_ONLY_KEY: True}
"""`json_schema_extra` of a setting that is read at start alone."""


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
        return check_database_url(value) if value else value


class Section(BaseSection):
    """Settings of a service; subclasses live in `services/<service>/settings.py`."""

    log_level: LogLevel = Field(default="INFO", description="The least level of the service's own log lines.")


class StoredSection(Section):
    """Settings of a service that has a database."""

    database: ServiceDatabase = Field(default=ServiceDatabase(), description="The service's database.")


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
