"""Place in the engine's feed."""

from typing import NamedTuple


class Position(NamedTuple):
    """Number of ticks of all symbols that came so far in an epoch (one run of the engine's feed).

    An empty epoch is none: nothing is known yet.
    """

    epoch: str = ""
    number: int = 0
