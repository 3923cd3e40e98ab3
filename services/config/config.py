"""Values in their versions, and differences between environments."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.config.values.json_value import Json


class ConfigName(NamedTuple):
    """The name of a value."""

    environment: str
    service_name: str
    key: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True, slots=True)
class Config:
    """A value in one of its versions (1, 2, 3, …); `deleted` when this version deleted it, `purged` once erased."""

    name: ConfigName
    value: Json
    version: int
    updated_by: str
    update_time: datetime
    deleted: bool = False
    purged: bool = False

    @property
    def etag(self) -> str:
        """Changes with every version, and is another one for every name."""
        return hashlib.blake2s(f"{self.name}/{self.version}".encode(), digest_size=9).hexdigest()


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One difference; `old` or `new` is None where there is no value."""

    service_name: str
    key: str
    old: Config | None
    new: Config | None
