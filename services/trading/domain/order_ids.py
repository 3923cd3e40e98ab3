"""Ids of orders, which name their user's shard: whose an order is that a venue reports, no database is asked for."""

from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import shard_of

# A UUIDv7 but for its version, 8 (RFC 9562: the maker's own), and its last byte, the shard.
_VERSION, _SHARD = 14, 34


def new_order_id(user_id: str) -> str:
    """An id for a new order of a user; it sorts by the time it was made, as all ids do."""
    name = new_id()
    return f"{name[:_VERSION]}8{name[_VERSION + 1 : _SHARD]}{shard_of(user_id):02x}"


def shard_of_order(order_id: str) -> int | None:
    """The shard of the order's user; None where the id does not name it: one of an older version, or not ours."""
    if len(order_id) != 36 or order_id[_VERSION] != "8":
        return None
    try:
        return int(order_id[_SHARD:], 16)
    except ValueError:
        return None
