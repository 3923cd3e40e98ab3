"""Sessions of a trading day, and the state that they give a market."""

from dataclasses import dataclass
from enum import Enum


class SessionKind(Enum):
    """The kind of trading in a session."""

    AUCTION = "auction"
    CONTINUOUS = "continuous"


class SessionState(Enum):
    """The state of a market at a moment (FIX 340 TradSesStatus is coarser)."""

    AUCTION = "auction"
    OPEN = "open"
    BREAK = "break"
    CLOSED = "closed"

    @property
    def takes_orders(self) -> bool:
        """True if orders may be placed."""
        return self in (SessionState.AUCTION, SessionState.OPEN)


@dataclass(frozen=True, slots=True)
class Session:
    """A half-open span of trading, in nanoseconds since the epoch.

    `matching_ns` is when an auction ends to take orders and matches them, at most `end_ns`; 0 for continuous trading.
    """

    start_ns: int
    end_ns: int
    kind: SessionKind
    matching_ns: int = 0


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A market at a moment. The next state begins at `next_change_ns`; 0 where the state never changes."""

    state: SessionState
    trading_day: int
    next_state: SessionState
    next_change_ns: int
