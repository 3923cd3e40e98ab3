"""A job's folder: its process writes its results, and the service reads them.

The process writes to `<id>.part`, `outcome.json` last. What is complete is renamed to `<id>` at once. User code ran in
that process, so nothing in the folder is trusted to be small or well-formed.
"""

import gzip
import json
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from services.kernel.atomic_file import write_atomically
from services.quant.backtest.result import Day
from services.strategy.jobs.execution.job_result import JobResult, cleaned
from services.strategy.jobs.job import Failure

TRADES = "trades.parquet"
DAYS = "days.parquet"
POINTS = "points.parquet"
TABLES: Mapping[str, Mapping[str, str]] = {
    TRADES: {
        **dict.fromkeys(("trade_id", "order_id", "direction", "offset"), "text"),
        "time_ns": "whole",
        "trading_day": "whole",
        **dict.fromkeys(("price", "volume", "commission"), "number"),
    },
    DAYS: {
        "date": "text",
        "trade_count": "whole",
        **dict.fromkeys((name for name in Day.__dataclass_fields__ if name not in ("date", "trade_count")), "number"),
    },
    POINTS: {"parameters": "text", "target": "number", "statistics": "text", "error": "text"},
}
"""The columns of what a process writes, by table."""
_OUTCOME = "outcome.json"
LOG = "worker.log"
_ROWS_A_GROUP = 1000
_OUTCOME_BYTES = 16 << 20
_REPORT_BYTES = 15 << 20
_GROUP_BYTES = 64 << 20
LANGUAGES = ("en", "zh")
_KEPT = {*TABLES, _OUTCOME, LOG, *(f"report.{lang}.html.gz" for lang in LANGUAGES)}
_LINE = 1000
_DETAIL = 20_000


class BadResult(Exception):
    """Results of a process that are too large or cannot be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job that ended by itself. `result`: JSON that is kept in the database."""

    failure: Failure = Failure.NONE
    error: str = ""
    error_detail: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


class JobFolder:
    """One job's folder, while it is written (`part`) and when it is complete (`path`)."""

    def __init__(self, root: Path, job_id: str) -> None:
        self.path = root / job_id
        self.part = root / f"{job_id}.part"

    def begin(self) -> None:
        """An empty folder for a new try."""
        self.delete()
        self.part.mkdir(parents=True, mode=0o700)

    def publish(self) -> None:
        """Publish the folder: it is complete."""
        self.part.rename(self.path)

    def delete(self) -> None:
        """Delete all files of this job."""
        for folder in (self.part, self.path):
            if folder.is_symlink():
                folder.unlink()
            shutil.rmtree(folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes that were written."""
        return sum(file.lstat().st_size for file in self.part.rglob("*"))

    # By the job's process.

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table, in groups of rows so that a page of it is cheap to read."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({column: [row[column] for row in rows] for column in TABLES[name]})
        parquet.write_table(table, self.part / name, row_group_size=_ROWS_A_GROUP, compression="zstd")

    def write_report(self, lang: str, page: str) -> None:
        """The report in one language."""
        write_atomically(self.part / _report(lang), gzip.compress(page.encode(), compresslevel=5))

    def write_outcome(self, outcome: Outcome) -> None:
        """The end: all else is written."""
        write_atomically(self.part / _OUTCOME, json.dumps(asdict(outcome), default=str).encode())

    # By the service.

    def tidy(self) -> None:
        """Leave what a job may leave, as plain files: opening a pipe or a device in its place would not return.

        Raises BadResult, OSError.
        """
        if self.part.is_symlink():
            raise BadResult("its folder is another one")
        for entry in self.part.iterdir():
            plain = stat.S_ISREG(entry.lstat().st_mode)
            if plain and entry.name in _KEPT:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()

    def check_tables(self) -> None:
        """Check that the tables have their columns, and pages that memory can hold. Raises: BadResult."""
        import pyarrow as pa
        from pyarrow import parquet

        kinds: dict[str, Callable[[Any], bool]] = {
            "text": pa.types.is_string,
            "whole": pa.types.is_integer,
            "number": pa.types.is_floating,
        }
        for name, columns in TABLES.items():
            if not (self.part / name).exists():
                continue
            try:
                meta = parquet.read_metadata(self.part / name)
                schema = meta.schema.to_arrow_schema()
                groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
            except (OSError, ValueError, pa.ArrowException) as error:
                raise BadResult(f"{name} cannot be read") from error
            if any(group.num_rows > _ROWS_A_GROUP or group.total_byte_size > _GROUP_BYTES for group in groups):
                raise BadResult(f"{name} cannot be read page by page")
            # A table without rows has columns of no type, and so has a column without values.
            for column, kind in columns.items():
                field = schema.field(column) if column in schema.names else None
                if field is None or not (pa.types.is_null(field.type) or kinds[kind](field.type)):
                    raise BadResult(f"{name} has no column {column} of the right kind")

    def read_outcome(self) -> Outcome | None:
        """None when the process did not get so far. Raises BadResult."""
        file = self.part / _OUTCOME
        try:
            if file.stat().st_size > _OUTCOME_BYTES:
                raise BadResult("its result is too large")
            document = json.loads(file.read_bytes())
            return Outcome(
                Failure(document["failure"]),
                cleaned(str(document["error"]))[:_LINE],
                cleaned(str(document["error_detail"]))[-_DETAIL:],
                JobResult.checked(document["result"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadResult("its result cannot be read") from error

    def read_rows(self, name: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Rows of a table from `offset` on. Raises BadResult."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path / name) as file:
                rows: list[dict[str, Any]] = []
                first = 0
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    if first + count > offset and len(rows) < limit:
                        start = max(offset - first, 0)
                        rows += (
                            file.read_row_group(group, columns=list(TABLES[name]))
                            .slice(start, limit - len(rows))
                            .to_pylist()
                        )
                    first += count
                return rows
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BadResult(f"{name} cannot be read") from error

    def read_report(self, lang: str) -> bytes | None:
        """The report's page; None when there is none. Raises BadResult."""
        try:
            with gzip.open(self.path / _report(lang)) as file:
                page = file.read(_REPORT_BYTES + 1)
        except FileNotFoundError:
            return None
        except (OSError, EOFError) as error:
            raise BadResult("the report cannot be read") from error
        if len(page) > _REPORT_BYTES:
            raise BadResult("the report is too large")
        return page


def list_job_ids(root: Path) -> set[str]:
    """The ids of all jobs that have a folder, complete or not."""
    if not root.is_dir():
        return set()
    return {entry.name.removesuffix(".part") for entry in root.iterdir() if entry.is_dir()}


def _report(lang: str) -> str:
    return f"report.{lang}.html.gz"
