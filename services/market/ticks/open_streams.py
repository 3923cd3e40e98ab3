"""The open streams: by id, counted for each user, the lossless ones, which hold back a paced feed; their admission."""

import random

from services.market.ticks.subscriber import LosslessSubscriber, Subscriber


class OpenStreams:
    """Streams from their admission until their reader left."""

    def __init__(self) -> None:
        self.by_id: dict[str, Subscriber] = {}
        self.lossless: dict[LosslessSubscriber, None] = {}
        self.timed: dict[LosslessSubscriber, None] = {}
        """Those of `lossless` that take watermarks."""
        self._of_user: dict[str, int] = {}

    def of_user(self, user_id: str) -> int:
        """Number of streams that a user has open."""
        return self._of_user.get(user_id, 0)

    def add(self, stream: Subscriber) -> None:
        """Open a stream."""
        self.by_id[stream.stream_id] = stream
        self._of_user[stream.user_id] = self.of_user(stream.user_id) + 1
        if isinstance(stream, LosslessSubscriber):
            self.lossless[stream] = None
            if stream.takes_watermarks:
                self.timed[stream] = None

    def remove(self, stream: Subscriber) -> bool:
        """Close a stream; False when it was not open."""
        if self.by_id.pop(stream.stream_id, None) is None:
            return False
        left = self._of_user[stream.user_id] = self._of_user[stream.user_id] - 1
        if not left:
            del self._of_user[stream.user_id]
        if isinstance(stream, LosslessSubscriber):
            del self.lossless[stream]
            self.timed.pop(stream, None)
        return True


BURST_S = 2.0
"""So many seconds' worth of streams may be opened at once."""
SOONEST_S = 0.5
LONGEST_S = 20.0
"""The times that a refused stream is told to wait, from and to, about."""


class Admission:
    """Admission of streams that are opened: so many a second.

    Each that is refused is told a time of its own, one after the other as there will be room for them: a thousand that
    came back together would be refused together. Refusing costs nearly what opening does.
    """

    def __init__(self) -> None:
        self._room: float | None = None
        self._counted_at = 0.0
        self._promised_at = 0.0

    def wait_s(self, now: float, per_s: float, *, late: bool = False) -> float:
        """0 for a stream that may be opened now, else the seconds after which to try again.

        None may be while those that run get theirs late. That is over soon when no more come: who is told to stay away
        for longer then stays away from a market that has time.
        """
        most = BURST_S * per_s
        room = most if self._room is None else min(most, self._room + (now - self._counted_at) * per_s)
        self._room, self._counted_at = room, now
        if room >= 1 and not late:
            self._room = room - 1
            return 0.0
        self._promised_at = min(max(self._promised_at, now + SOONEST_S) + 1 / per_s, now + LONGEST_S)
        return (self._promised_at - now) * random.uniform(0.9, 1.1)  # noqa: S311 # nosec B311
