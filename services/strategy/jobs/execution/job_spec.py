"""The specification of a job as its process gets it: one line of JSON on standard input."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The job, its folders and its limits; `parent` is the process without which this one ends, `sandbox` a Profile's
    fields, None for none."""

    job_id: str
    kind: str
    setup: dict[str, object]
    root: str
    folder: str
    data_dir: str
    strategies_dir: str
    home: str
    parent: int
    memory_bytes: int
    workers: int
    point_timeout_s: float
    sandbox: dict[str, Any] | None = None
