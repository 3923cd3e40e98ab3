"""The refusal of a stream, as far as its client has to read it: the seconds after which to try again.

A refused gRPC call ends with trailers alone, whose names and values are literals in HPACK (RFC 7541) where the client
allows no dynamic table, coded by Huffman's code where that is shorter. Of thousands that are refused each is looked at
for one name; a client that decoded all would take the time of what is measured.
"""

import base64
import re

from google.rpc import error_details_pb2, status_pb2
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman

_NAME = b"grpc-status-details-bin"
_NAMES = _NAME, HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(_NAME)


def grpc_retry_s(trailers: bytes) -> float | None:
    """The delay that the status details of a block of trailers ask for."""
    end = max(trailers.find(name) + len(name) if name in trailers else 0 for name in _NAMES)
    if not end:
        return None
    encoded = _value(trailers, end)
    status = status_pb2.Status.FromString(base64.b64decode(encoded + b"=" * (-len(encoded) % 4)))
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            return retry.retry_delay.ToNanoseconds() / 1e9
    return None


def _value(block: bytes, at: int) -> bytes:
    """The string literal that begins here (RFC 7541 §5.2)."""
    packed, size = block[at] & 128, block[at] & 127
    at += 1
    if size == 127:
        shift = 0
        while True:
            size += (block[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if block[at - 1] < 128:
                break
    data = block[at : at + size]
    return decode_huffman(data) if packed else data


def rest_retry_s(answer: str) -> float | None:
    """The same of an error's JSON."""
    found = re.search(r'"retryDelay": ?"([0-9.]+)s"', answer)
    return float(found[1]) if found else None
