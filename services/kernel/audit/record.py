"""Records of acts, and the hashes that chain them."""

from hashlib import sha256
from typing import NamedTuple

MAIN = "main"
"""The chain of a database's units of work, and of checkpoints."""
START = bytes(32)
"""The hash before the first record of a chain."""


class Record(NamedTuple):
    """One act and its outcome; `details` is a JSON object (ASCII) of all that lists are not filtered by."""

    time_ns: int
    user_id: str
    method: str
    outcome: str
    """Name of the gRPC code."""
    details: str


class Head(NamedTuple):
    """A chain's last record: its number, from 1 on, and its hash."""

    sequence: int = 0
    hash: bytes = START


def digest(previous: bytes, chain: str, sequence: int, record: Record) -> bytes:
    """The hash of a record behind the one whose hash is `previous`: SHA-256 over that and each of its columns."""
    time_ns, user_id, method, outcome, details = record
    text = f"{chain}\n{sequence}\n{time_ns}\n{user_id}\n{method}\n{outcome}\n{details}"
    return sha256(previous + text.encode("utf-8", "surrogatepass")).digest()
