"""Settings that change while the process runs: the section as read, overlaid with config's values."""

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from google.protobuf import json_format
from pydantic import ValidationError
from redfire.config.v1 import config_pb2

from services.kernel.errors import RedFireError
from services.kernel.rpc.silence import until_silent
from services.kernel.runtime.sections import BaseSection

log = logging.getLogger(__name__)
S = TypeVar("S", bound=BaseSection)


class LiveSettings(Generic[S]):
    """A section's present values. A value of config that the section refuses, or takes at start alone, is left out."""

    def __init__(self, base: S) -> None:
        self._base = base
        self.value: S = base
        self._overlays: dict[str, Mapping[str, Any]] = {}
        self._listeners: list[Callable[[S], None]] = []

    def on_change(self, listener: Callable[[S], None]) -> None:
        """Call `listener` with the new values whenever one has changed."""
        self._listeners.append(listener)

    @property
    def names(self) -> list[str]:
        """Names under which config has values of the section; those of a later name count more."""
        return [name for name in (self._base.former_section, self._base.section) if name]

    def overlay(self, values: Mapping[str, Any], name: str = "") -> None:
        """Overlay config's values for this section; other sections' keys are ignored."""
        merged = self._base
        self._overlays[name or self._base.section] = dict(values)
        overlaid = {key: value for name in self.names for key, value in self._overlays.get(name, {}).items()}
        for key, value in overlaid.items():
            if key not in type(self._base).model_fields:
                continue
            if self._base.is_start_only(key):
                log.warning("config %s.%s is left out: it is read at start alone", self._base.section, key)
                continue
            try:
                merged = type(self._base).model_validate({**_values(merged), key: value})
            except ValidationError as error:
                log.warning("config %s.%s is left out: %s", self._base.section, key, error.errors()[0]["msg"])
        if merged == self.value:
            return
        self.value = merged
        for listener in self._listeners:
            try:
                listener(merged)
            except Exception:
                log.exception("a listener of %s failed", self._base.section)


def _values(section: BaseSection) -> dict[str, Any]:
    return {key: getattr(section, key) for key in type(section).model_fields}


class ConfigFollower:
    """Follows config's values of one service, and overlays them on its sections."""

    def __init__(self, stub: Any, environment: str, service_name: str, lives: list[LiveSettings[Any]]) -> None:
        self._stub = stub
        self._request = config_pb2.WatchConfigsRequest(environment=environment, service_name=service_name)
        self._lives = lives
        self._values: dict[str, Any] = {}

    async def run(self) -> None:
        """One stream, to its end; the caller starts it again."""
        fresh: dict[str, Any] = {}
        snapshot = True
        try:
            async with aclosing(until_silent(self._stub.WatchConfigs(self._request))) as messages:
                async for message in messages:
                    kind = message.WhichOneof("event")
                    if kind == "config":
                        target = fresh if snapshot else self._values
                        if message.config.deleted:
                            target.pop(message.config.key, None)
                        else:
                            target[message.config.key] = json_format.MessageToDict(message.config.value)
                    elif kind == "snapshot_complete":
                        self._values, snapshot = fresh, False
                    if not snapshot and kind in ("config", "snapshot_complete"):
                        for live in self._lives:
                            live.overlay(self._values, self._request.service_name)
        except RedFireError as error:
            # Without config the last known values stay in force.
            log.debug("config of %s is unavailable: %s", self._request.service_name, error.message)
