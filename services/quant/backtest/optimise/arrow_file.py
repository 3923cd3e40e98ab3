"""A dataset as one Arrow IPC file that every worker maps into its memory, or as the same bytes sent over a network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.quant.backtest.data.dataset import BAR_VALUES, Bars, Dataset, Ticks, Times

_META = b"redfire"


def write_arrow(data: Dataset, path: Path) -> None:
    """Write the columns, uncompressed and in one batch, so that reading copies nothing. Findings stay behind."""
    columns: dict[str, Any] = {"time_ns": data.time_ns}
    if isinstance(data, Bars):
        columns |= {name: getattr(data, name) for name in BAR_VALUES}
    else:
        columns |= data.columns
    interval = data.interval if isinstance(data, Bars) else ""
    meta = {_META: json.dumps({"symbol": data.symbol, "interval": interval}).encode()}
    arrays = [pa.array(np.ascontiguousarray(column)) for column in columns.values()]
    table = pa.table(arrays, names=list(columns)).replace_schema_metadata(meta)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, len(data)))


def read_arrow(source: Path | bytes) -> Dataset:
    """The dataset in a file of write_arrow, whose columns are read-only maps of it, or in its bytes."""
    buffer = pa.memory_map(str(source)) if isinstance(source, Path) else pa.py_buffer(source)
    table = pa.ipc.open_file(buffer).read_all()
    meta = json.loads(table.schema.metadata[_META])
    columns: dict[str, Any] = {name: _column(table, name) for name in table.column_names if name != "time_ns"}
    time_ns: Times = _column(table, "time_ns")
    if meta["interval"]:
        return Bars(meta["symbol"], meta["interval"], time_ns, **columns)
    return Ticks(meta["symbol"], time_ns, columns)


def _column(table: Any, name: str) -> Any:
    column = table.column(name)
    return column.chunk(0).to_numpy(zero_copy_only=True) if column.num_chunks else column.to_numpy()
