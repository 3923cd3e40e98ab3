"""Frames: the bytes of one message in a batch of `repeated … = 1`, split and joined without encoding anything again.

A batch message whose only field is `repeated Tick ticks = 1` is the concatenation of its framed ticks (protobuf's
encoding guide, "Packed and repeated fields"), so joining frames is encoding a batch, whatever the fan-out.
"""

TAG = 0x0A
"""Field 1, length-delimited: `ticks` and `bars` in all batch messages of market and engine."""


class MalformedBatchError(ValueError):
    """The bytes are not a batch message."""


def split(batch: bytes) -> list[bytes]:
    """The frames of field 1 in order; other fields (control messages) are left out.

    Raises: MalformedBatchError when the bytes end within a field.
    """
    return split_control(batch)[0]


def split_control(batch: bytes) -> tuple[list[bytes], bytes]:
    """The frames of field 1 in order, and all other fields: a message without ticks.

    Raises: MalformedBatchError when the bytes end within a field.
    """
    frames: list[bytes] = []
    control: list[bytes] = []
    position, end = 0, len(batch)
    try:
        while position < end:
            start = position
            tag = batch[position]
            if tag != TAG:
                position = _skip(batch, position)
                control.append(batch[start:position])
                continue
            length = batch[position + 1]
            position += 2
            if length > 0x7F:
                length, position = varint(batch, position - 1)
            position += length
            if position > end:
                break
            frames.append(batch[start:position])
    except IndexError as error:
        raise MalformedBatchError("the batch ends within a field") from error
    if position != end:
        raise MalformedBatchError("the batch ends within a field")
    return frames, b"".join(control)


def frame(message: bytes) -> bytes:
    """The message as a member of field 1."""
    length = len(message)
    header = bytearray((TAG,))
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + message


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at `position`, and where it ends (protobuf's encoding guide, "Base 128 Varints").

    Raises: MalformedBatchError, IndexError at the end of the data.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise MalformedBatchError("a length is too long")


def _skip(data: bytes, position: int) -> int:
    tag, position = varint(data, position)
    match tag & 7:
        case 0:
            return varint(data, position)[1]
        case 1:
            return position + 8
        case 2:
            length, position = varint(data, position)
            return position + length
        case 5:
            return position + 4
        case kind:
            raise MalformedBatchError(f"unknown wire type {kind}")
