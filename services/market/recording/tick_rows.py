"""Ticks of rows of the archive: encoded many at a time as frames of protobuf, which its parser reads.

Setting the twenty fields of a tick one by one takes ten times as long, and a page has up to 1000 ticks.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redfire.market.v1 import market_pb2 as pb

from services.quant.archive.layout import TICK_COLUMNS, TICK_LISTS

Bytes = NDArray[np.uint8]
_NUMBERS = {field.name: field.number for field in pb.Tick.DESCRIPTOR.fields}
_INTEGERS = ("time_ns", "sequence", "trading_day")
_VARINT_BYTES = 10
_VARINT, _DOUBLE, _LENGTH = 0, 1, 2


def frames_of_rows(symbol: str, table: Any, first: int, last: int) -> list[bytes]:
    """The ticks of an Arrow table's rows from `first` on and before `last`, as frames of a batch."""
    table = table.slice(first, last - first)
    lists = {name: _lists(table.column(name)) for name in TICK_LISTS}
    lengths = np.stack([offsets[1:] - offsets[:-1] for _, offsets in lists.values()])
    if (lengths == lengths[:, :1]).all():
        return _encoded(symbol, table, lists, np.arange(len(table)), lengths[:, 0])
    frames = [b""] * len(table)
    # Ticks with as many levels are encoded at the same places.
    for shape in np.unique(lengths, axis=1).T:
        places = np.flatnonzero((lengths == shape[:, None]).all(axis=0))
        encoded = _encoded(symbol, table, lists, places, shape)
        for place, frame in zip(places.tolist(), encoded, strict=True):
            frames[place] = frame
    return frames


def _encoded(symbol: str, table: Any, lists: dict[str, tuple[Any, Any]], rows: Any, lengths: Any) -> list[bytes]:
    """The frames of ticks whose lists have so many members."""
    levels = dict(zip(lists, lengths.tolist(), strict=True))
    template, places = _layout(symbol, tuple(levels.items()))
    matrix = np.empty((len(rows), len(template)), np.uint8)
    matrix[:] = np.frombuffer(template, np.uint8)
    for name, start, end in places:
        if name in lists:
            values, offsets = lists[name]
            members = values[offsets[:-1][rows][:, None] + np.arange(levels[name])]
            matrix[:, start:end] = _doubles(members, levels[name])
        elif name in _INTEGERS:
            matrix[:, start:end] = _varints(table.column(name).to_numpy()[rows])
        else:
            matrix[:, start:end] = _doubles(table.column(name).to_numpy()[rows], 1)
    batch, width = matrix.tobytes(), len(template)
    return [batch[at : at + width] for at in range(0, len(batch), width)]


@lru_cache(maxsize=1024)
def _layout(symbol: str, levels: tuple[tuple[str, int], ...]) -> tuple[bytes, list[tuple[str, int, int]]]:
    """A framed tick with zeros for values, and where these are, by name."""
    name, members = symbol.encode(), dict(levels)
    message = bytearray(_tag("symbol", _LENGTH) + _varint(len(name)) + name)
    places: list[tuple[str, int, int]] = []
    for column in TICK_COLUMNS:
        if column in _INTEGERS:
            message += _tag(column, _VARINT)
            width = _VARINT_BYTES
        elif column not in members:
            message += _tag(column, _DOUBLE)
            width = 8
        elif not members[column]:
            continue
        else:
            width = 8 * members[column]
            message += _tag(column, _LENGTH) + _varint(width)
        places.append((column, len(message), len(message) + width))
        message += bytes(width)
    head = b"\x0a" + _varint(len(message))
    return head + bytes(message), [(column, start + len(head), end + len(head)) for column, start, end in places]


def _lists(column: Any) -> tuple[Any, Any]:
    """All members of a column of lists, and where each list begins."""
    lists = column.combine_chunks()
    return lists.values.to_numpy(), lists.offsets.to_numpy()


def _tag(name: str, kind: int) -> bytes:
    return _varint(_NUMBERS[name] << 3 | kind)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes((number,))


def _doubles(values: Any, members: int) -> Bytes:
    return np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8 * members)


def _varints(values: Any) -> Bytes:
    """Varints of the greatest length, which parsers take too (protobuf's encoding guide, "Base 128 Varints")."""
    rest = values.astype(np.int64).view(np.uint64)
    encoded = np.empty((len(values), _VARINT_BYTES), np.uint8)
    for index in range(_VARINT_BYTES):
        encoded[:, index] = (rest & np.uint64(0x7F)).astype(np.uint8) | (0x80 if index < _VARINT_BYTES - 1 else 0)
        rest = rest >> np.uint64(7)
    return encoded
