"""Columns of ticks, straight from the bytes of many at a time: history writes them to Parquet.

Ticks of a symbol are mostly encoded alike: the same fields at the same places, doubles and lists of doubles, so that
frames below each other are a matrix whose slices are the columns. That takes a tenth of the time of reading each field
of each tick, and numpy leaves the event loop's thread its turns meanwhile. A tick encoded in a way of its own is
parsed and read field by field.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redfire.market.v1 import market_pb2 as pb

from services.market.convert import parse_ticks
from services.market.ticks.frames import split, varint
from services.quant.archive.layout import TICK_COLUMNS, TICK_LISTS

ALIKE = 16
"""Number of equally shaped frames from which a matrix pays."""
MOST_LAYOUTS = 8
"""Ways of encoding that are tried on frames of one symbol and length."""
ROWS = 4096
"""Rows of a matrix at most, so that no step takes long."""
PAUSE_EVERY = 512
"""Frames that are sorted before others get their turn."""

Bytes = NDArray[np.uint8]
Columns = dict[str, Any]
"""Columns by the names of TICK_COLUMNS: arrays of numbers, and Arrow arrays of lists."""
_VARINT, _DOUBLE, _LENGTH = 0, 1, 2
_TEXTS = ("symbol", "gateway")
_FIELDS = {
    field.number: (
        field.name,
        _LENGTH if field.name in (*TICK_LISTS, *_TEXTS) else _DOUBLE if field.type == field.TYPE_DOUBLE else _VARINT,
    )
    for field in pb.Tick.DESCRIPTOR.fields
}
_KINDS = dict(_FIELDS.values())
_SYMBOL_TAG = b"\x0a"


def tick_columns(batches: Iterable[bytes], pause: Callable[[], None]) -> dict[str, Columns]:
    """The batches' ticks as columns, by symbol. `pause` is called now and then to let other threads run."""
    parts: dict[str, list[Columns]] = {}
    for head, frames in _by_head(batches, pause).items():
        for first in range(0, len(frames), ROWS):
            pause()
            rest = frames[first : first + ROWS]
            if head:
                for symbol, columns in _matrices(rest):
                    parts.setdefault(symbol, []).append(columns)
            for symbol, columns in _parsed(rest):
                parts.setdefault(symbol, []).append(columns)
    return {symbol: joined(group) for symbol, group in parts.items()}


def _by_head(batches: Iterable[bytes], pause: Callable[[], None]) -> dict[bytes, list[bytes]]:
    """Frames by their length and symbol, which is the first field as a rule; the others under no head."""
    groups: dict[bytes, list[bytes]] = {}
    count = 0
    for batch in batches:
        for frame in split(batch):
            start = 2 if frame[1] < 0x80 else 3
            head = frame[: start + 2 + frame[start + 1]] if frame[start : start + 1] == _SYMBOL_TAG else b""
            group = groups.get(head)
            if group is None:
                group = groups[head] = []
            group.append(frame)
            count += 1
            if count % PAUSE_EVERY == 0:
                pause()
    return groups


def _matrices(frames: list[bytes]) -> Iterable[tuple[str, Columns]]:
    """Columns of frames of one length and symbol; leaves those in the list that are not alike enough."""
    matrix = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
    for _ in range(MOST_LAYOUTS):
        if len(matrix) < ALIKE:
            break
        layout = _Layout(matrix[0].tobytes())
        alike = layout.match(matrix)
        if not layout.usual or np.count_nonzero(alike) < ALIKE:
            break
        yield layout.symbol, layout.columns(matrix[alike])
        matrix = matrix[~alike]
    frames[:] = [row.tobytes() for row in matrix]


class _Layout:
    """The places of fields in frames that are encoded like this one. `usual` is false when it could not be read."""

    def __init__(self, frame: bytes) -> None:
        self.symbol = ""
        self.usual = True
        self._places: dict[str, tuple[int, int]] = {}
        # Which bits frames that are alike have in common: tags, lengths, the symbol, and how long numbers are.
        self._mask = np.full(len(frame), 0xFF, np.uint8)
        self._model = np.frombuffer(frame, np.uint8)
        position = 2 if frame[1] < 0x80 else 3
        while position < len(frame):
            position = self._read(frame, position)

    def _read(self, frame: bytes, position: int) -> int:
        """Read a field; return the position of the next one."""
        tag, start = varint(frame, position)
        name, kind = _FIELDS.get(tag >> 3, ("", -1))
        if kind != tag & 7 or name in self._places:
            self.usual = False
            return len(frame)
        end = start + 8
        if kind == _VARINT:
            _, end = varint(frame, start)
            self._mask[start:end] = 0x80
        elif kind == _LENGTH:
            length, start = varint(frame, start)
            end = start + length
        if name == "symbol":
            self.symbol = frame[start:end].decode()
        elif kind != _VARINT:
            self._mask[start:end] = 0
        self._places[name] = start, end
        return end

    def match(self, matrix: Bytes) -> NDArray[np.bool_]:
        """A mask of the rows that are encoded like this one."""
        return np.asarray(((matrix & self._mask) == (self._model & self._mask)).all(axis=1))

    def columns(self, matrix: Bytes) -> Columns:
        """The fields of rows that match; what is absent is zero or empty."""
        columns: Columns = {}
        for name in TICK_COLUMNS:
            start, end = self._places.get(name, (0, 0))
            part = np.ascontiguousarray(matrix[:, start:end])
            if _KINDS[name] == _VARINT:
                columns[name] = _numbers(part)
            elif _KINDS[name] == _LENGTH:
                columns[name] = _lists(part.view("<f8").ravel() if end > start else np.empty(0), len(part))
            else:
                columns[name] = part.view("<f8").ravel() if end > start else np.zeros(len(part))
        return columns


def _parsed(frames: Sequence[bytes]) -> Iterable[tuple[str, Columns]]:
    """Columns of any ticks, symbol by symbol, read field by field."""
    by_symbol: dict[str, list[pb.Tick]] = {}
    if not frames:
        return
    for tick in parse_ticks(b"".join(frames)):
        by_symbol.setdefault(tick.symbol, []).append(tick)
    for symbol, ticks in by_symbol.items():
        yield symbol, {name: _values(name, ticks) for name in TICK_COLUMNS}


def _values(name: str, ticks: Sequence[pb.Tick]) -> Any:
    import pyarrow as pa

    values = [getattr(tick, name) for tick in ticks]
    return pa.array(map(list, values), pa.list_(pa.float64())) if name in TICK_LISTS else np.array(values)


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns below each other."""
    import pyarrow as pa

    if len(parts) == 1:
        return parts[0]
    columns: Columns = {}
    for name, first in parts[0].items():
        below = [part[name] for part in parts]
        columns[name] = np.concatenate(below) if isinstance(first, np.ndarray) else pa.concat_arrays(below)
    return columns


def _lists(values: Any, count: int) -> Any:
    """An Arrow array of lists of the same length."""
    import pyarrow as pa

    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(values) // count)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float64()))


def _numbers(part: Bytes) -> NDArray[np.int64]:
    """Varints of one length (protobuf's encoding guide, "Base 128 Varints")."""
    value = np.zeros(len(part), np.uint64)
    for index in range(part.shape[1]):
        value |= (part[:, index] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * index)
    return value.view(np.int64)
