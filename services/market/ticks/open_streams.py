"""The open streams: by id, counted for each user, and the lossless ones, which hold back a paced feed."""

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
