"""The refusal of a stream, as far as its client has to read it: the seconds after which to try again.

A refused gRPC call ends with trailers alone, whose names and values are literals in HPACK (RFC 7541) where the client
allows no dynamic table, coded by Huffman's code where that is shorter.
"""

import base64
import re

from google.rpc import error_details_pb2, status_pb2

# Appendix B of RFC 7541 as far as names, numbers and base64 need it. The code is canonical: lengths are enough.
_BY_LENGTH = {
    5: "012aceiost",
    6: " %-./3456789=A_bdfghlmnpru",
    7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: "&*,;XZ",
    9: "",
    10: "!\"()?",
    11: "'+|",
}  # fmt: skip
STATIC_NAMES = 61


def _codes() -> dict[tuple[int, int], str]:
    codes, code = {}, 0
    for length, characters in _BY_LENGTH.items():
        code <<= 1
        for character in characters:
            codes[length, code] = character
            code += 1
    return codes


_CODES = _codes()


def _unpacked(data: bytes) -> str:
    text, code, length = [], 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            code, length = code << 1 | byte >> shift & 1, length + 1
            if (character := _CODES.get((length, code))) is not None:
                text.append(character)
                code = length = 0
    return "".join(text)


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    value, most = block[at] & (1 << bits) - 1, (1 << bits) - 1
    at += 1
    if value == most:
        shift = 0
        while True:
            byte = block[at]
            value += (byte & 127) << shift
            shift, at = shift + 7, at + 1
            if byte < 128:
                break
    return value, at


def _text(block: bytes, at: int) -> tuple[str, int]:
    packed = bool(block[at] & 128)
    size, at = _number(block, at, 7)
    data = block[at : at + size]
    return _unpacked(data) if packed else data.decode("latin-1"), at + size


def literals(block: bytes) -> dict[str, str]:
    """The headers of a block that have names of their own."""
    found, at = {}, 0
    while at < len(block):
        first = block[at]
        if first & 128:
            _, at = _number(block, at, 7)
            continue
        if first & 0xE0 == 0x20:  # the size of the dynamic table
            _, at = _number(block, at, 5)
            continue
        index, at = _number(block, at, 6 if first & 64 else 4)
        name = ""
        if not index:
            name, at = _text(block, at)
        value, at = _text(block, at)
        if name:
            found[name] = value
    return found


def grpc_retry_s(trailers: bytes) -> float | None:
    """The delay that the status details of a block of trailers ask for."""
    encoded = literals(trailers).get("grpc-status-details-bin", "")
    status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            return retry.retry_delay.ToNanoseconds() / 1e9
    return None


def rest_retry_s(answer: str) -> float | None:
    """The same of an error's JSON."""
    found = re.search(r'"retryDelay": ?"([0-9.]+)s"', answer)
    return float(found[1]) if found else None
