"""vnpy's names of offsets and order statuses beside FIX's. By name, since vnpy translates its enums' values.

Nothing of vnpy is imported here: that takes over 100 MB.
"""

from collections.abc import Mapping

OFFSETS: Mapping[str, str] = {
    "OPEN": "OPEN",
    "CLOSE": "CLOSE",
    "CLOSE_TODAY": "CLOSETODAY",
    "CLOSE_YESTERDAY": "CLOSEYESTERDAY",
}
"""vnpy's offset of each position effect."""
STATUSES: Mapping[str, str] = {
    "PENDING_NEW": "SUBMITTING",
    "NEW": "NOTTRADED",
    "PARTIALLY_FILLED": "PARTTRADED",
    "FILLED": "ALLTRADED",
    "CANCELED": "CANCELLED",
    "REJECTED": "REJECTED",
}
"""vnpy's status of each order status, one to one; an EXPIRED order is CANCELLED in vnpy."""
