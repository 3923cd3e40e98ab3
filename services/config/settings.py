"""Settings of the config service."""

from typing import ClassVar

from pydantic import Field

from services.kernel.runtime.sections import StoredSection


class ConfigSettings(StoredSection):
    """Bounds of values and of their streams."""

    section: ClassVar[str] = "config"

    max_value_bytes: int = Field(default=65_536, gt=0, description="The most bytes of one value, written as JSON")
    heartbeat_s: float = Field(
        default=5.0, gt=0, description="Silence of a stream of changes before a heartbeat, seconds; 5 at most"
    )
    watch_buffer: int = Field(
        default=10_000, gt=0, description="Changes kept for a subscriber before it is ended as too slow"
    )
