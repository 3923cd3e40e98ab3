"""Checks of input that no rule allows: control characters, times and durations that are none.

PostgreSQL takes no NUL in a text, and Python has no datetime for such times: they would fail deep inside a service.
Other control characters would reach terminals and logs; overrides and isolates of a text's direction, and the ends of
lines that are no control characters, make texts beside them read as others.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_EARLIEST_S, _LATEST_S = -62135596800, 253402300799  # the years 1 to 9999
_LONGEST_S = 315576000000
_SECOND_NS = 1_000_000_000
# C0 and C1 but for tab and the ends of lines, LF or CR LF; LINE and PARAGRAPH SEPARATOR, LRE to RLO, LRI to PDI.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
_REFUSED = "must not hold control characters"


def malformed_of(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a request with what is wrong with them."""
    for field, value in message.ListFields():
        where = f"{path}.{field.name}" if path else field.name
        if field.type == FieldDescriptor.TYPE_STRING:
            if has_control(value) if isinstance(value, str) else any(map(has_control, value)):
                yield where, _REFUSED
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            yield from _of_map(field, value, where)
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _of_message(item, f"{where}[{index}]")
        else:
            yield from _of_message(value, where)


def has_control(text: str) -> bool:
    """Test a text for a control character other than a tab or the end of a line."""
    # Nearly all texts are printable, which is quicker to see.
    return not text.isprintable() and _CONTROL.search(text) is not None


def _of_map(field: FieldDescriptor, entries: Any, where: str) -> Iterator[tuple[str, str]]:
    entry: Any = field.message_type
    nested = entry.fields_by_name["value"].message_type is not None
    for key, value in entries.items():
        if (isinstance(key, str) and has_control(key)) or (isinstance(value, str) and has_control(value)):
            yield where, _REFUSED
        elif nested:
            yield from _of_message(value, f"{where}.{key}")


def _of_message(message: Any, where: str) -> Iterator[tuple[str, str]]:
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        if not (_EARLIEST_S <= message.seconds <= _LATEST_S and 0 <= message.nanos < _SECOND_NS):
            yield where, "must be a time between the years 1 and 9999"
    elif name == "google.protobuf.Duration":
        signs_differ = message.seconds * message.nanos < 0
        if abs(message.seconds) > _LONGEST_S or abs(message.nanos) >= _SECOND_NS or signs_differ:
            yield where, "must be a duration"
    else:
        yield from malformed_of(message, where)
