"""Flags of `redfire up`, as what runs a platform sees them."""

from dataclasses import dataclass
from pathlib import Path

from services.kernel.runtime.kernel_sections import LimitSettings
from services.mesh.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of `redfire up`."""

    host: str
    port: int
    data_dir: Path
    config: Path | None
    edge: EdgeSettings
    limits: LimitSettings
    demo: bool
    migrate: bool
    replicas: int
