"""Publisher of revocations to all replicas of all services, by Redis: quicker than the streams, and no more."""

from collections.abc import Sequence

from services.auth.convert import revocation_to_pb
from services.auth.session import Revocation
from services.kernel.identity.revocations import REVOCATIONS_CHANNEL
from services.kernel.redis.shared import Messages, RedisUnavailable
from services.kernel.tasks import Tasks


class RevocationPublisher:
    """Publishes in the background: a caller that ends a session does not wait for Redis."""

    def __init__(self, messages: Messages, tasks: Tasks) -> None:
        self._messages = messages
        self._tasks = tasks

    def publish(self, revocations: Sequence[Revocation]) -> None:
        """Begin to publish revocations that are committed."""
        self._tasks.spawn("auth.revocation_publisher", self._publish(revocations))

    async def _publish(self, revocations: Sequence[Revocation]) -> None:
        for revocation in revocations:
            try:
                await self._messages.publish(REVOCATIONS_CHANNEL, revocation_to_pb(revocation).SerializeToString())
            except RedisUnavailable:
                # The streams bring it.
                return
