"""List responses put together of items that are encoded already: their bytes may be kept, and are not copied twice."""

from collections.abc import Sequence

from google.protobuf.message import Message


class ListEncoder:
    """Encodes one type of List response."""

    def __init__(self, response: type[Message], items: str) -> None:
        """`items`: the field that repeats."""
        fields = response.DESCRIPTOR.fields_by_name
        self._item = _tag(fields[items].number)
        self._token = _tag(fields["next_page_token"].number)

    def item(self, message: Message) -> bytes:
        """An item as a part of the response."""
        return _part(self._item, message.SerializeToString())

    def response(self, items: Sequence[bytes], next_page_token: str) -> bytes:
        """The whole response."""
        token = _part(self._token, next_page_token.encode()) if next_page_token else b""
        return b"".join((*items, token))


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int) -> bytes:
    return varint(number << 3 | 2)


def _part(tag: bytes, payload: bytes) -> bytes:
    return b"".join((tag, varint(len(payload)), payload))
