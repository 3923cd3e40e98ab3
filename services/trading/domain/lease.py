"""A lease: the terms under which an account's working orders end with its client's stream."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """The terms of an account. `deadline_ns` is when its orders are canceled; 0 while a stream holds it."""

    user_id: str
    account_id: str
    duration_ns: int
    cancel_protective_stops: bool
    deadline_ns: int = 0
