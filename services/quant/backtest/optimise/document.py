"""The result of a search, as JSON's types and as a table in a file: JSON, CSV or Parquet by the file's ending."""

import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.optimisation import OptimisationResult
from services.quant.backtest.optimise.walk_forward import WalkForwardResult
from services.quant.backtest.output_file import write_output

ENDINGS = (".json", ".csv", ".parquet")


def check_file(path: Path) -> None:
    """Raises BacktestError, before hours of work, when this file cannot be written as asked."""
    if path.suffix not in ENDINGS:
        raise BacktestError(f"{path.name}: the file's ending is none of {', '.join(ENDINGS)}", "out")
    if not path.absolute().parent.is_dir():
        raise BacktestError(f"{path}: there is no folder {path.parent}", "out")


def write_result(result: OptimisationResult | WalkForwardResult, path: Path) -> None:
    """All points (or windows): in JSON with everything else, else one row each.

    Raises: BacktestError when it cannot be written.
    """
    check_file(path)
    if path.suffix == ".json":
        content = (json.dumps(document(result), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
    elif path.suffix == ".csv":
        content = _csv(rows(result))
    else:
        content = _parquet(rows(result))
    write_output(content, path)


def document(result: OptimisationResult | WalkForwardResult) -> dict[str, Any]:
    """The result in JSON's types: dates in ISO 8601, null for what is no finite number."""
    content: dict[str, Any] = {"job": _job(result.job), "target": result.target, "stopped": result.stopped}
    if isinstance(result, WalkForwardResult):
        return content | {
            "windows": [
                {
                    "train": [window.train_start.isoformat(), window.train_end.isoformat()],
                    "test": [window.test_start.isoformat(), window.test_end.isoformat()],
                    "parameters": plain(window.best.parameters) if window.best else None,
                    "train_value": plain(window.best.value) if window.best else None,
                    "train_statistics": plain(window.best.statistics) if window.best else None,
                    "test_value": plain(window.test_value),
                    "test_statistics": plain(window.test_statistics),
                    "error": window.error,
                }
                for window in result.windows
            ],
            "statistics": plain(result.statistics),
            "efficiency": plain(result.efficiency),
            "daily": [
                {"date": day.date.isoformat(), "net_pnl": plain(day.net_pnl), "balance": plain(day.balance)}
                for day in result.days
            ],
        }
    return content | {
        "method": result.method,
        "size": result.size,
        "total": result.total,
        "workers": result.workers,
        "elapsed_s": round(result.elapsed_s, 3),
        "ranges": {axis.name: list(axis.values) for axis in result.space.axes},
        "points": [
            {
                "parameters": plain(point.parameters),
                "value": plain(point.value),
                "statistics": plain(point.statistics),
            }
            for point in result.points
        ],
        "failures": [{"parameters": plain(one.parameters), "error": one.error} for one in result.failures],
    }


def rows(result: OptimisationResult | WalkForwardResult) -> list[dict[str, Any]]:
    """A point (or window) a row: parameters, statistics by their names (a test's with `test_` before), the error."""
    if isinstance(result, WalkForwardResult):
        return [
            {
                **{name: getattr(window, name) for name in ("train_start", "train_end", "test_start", "test_end")},
                **(window.best.parameters if window.best else {}),
                **{f"train_{name}": value for name, value in (window.best.statistics if window.best else {}).items()},
                **{f"test_{name}": value for name, value in (window.test_statistics or {}).items()},
                "error": window.error,
            }
            for window in result.windows
        ]
    rows = [{**point.parameters, **point.statistics, "error": ""} for point in result.points]
    return [*rows, *({**one.parameters, "error": one.error} for one in result.failures)]


def plain(value: Any) -> Any:
    """A value in JSON's types."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case date():
            return value.isoformat()
        case None | bool() | int() | str():
            return value
    return str(value)


def _job(job: BacktestJob) -> dict[str, Any]:
    return {name: plain(getattr(job, name)) for name in BacktestJob.__dataclass_fields__}


def _names(table: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in table for name in row))


def _csv(table: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, _names(table), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def _parquet(table: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _of_one_type([row.get(name) for row in table]) for name in _names(table)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _of_one_type(column: list[Any]) -> list[Any]:
    """A Parquet column has one type: whole numbers become floats among floats, anything else becomes text."""
    types = {type(value) for value in column if value is not None}
    if len(types) < 2:
        return column
    to: type = float if types == {int, float} else str
    return [None if value is None else to(value) for value in column]
