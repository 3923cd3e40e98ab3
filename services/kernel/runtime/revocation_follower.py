"""Revocations on their way into this process: by auth's stream, which has them all, and by Redis, which is quicker.

Auth's stream alone is enough. A replica of auth sends what others have written as well, and a new stream begins with
all that is in force. What Redis brings besides covers a replica of auth that hangs.
"""

import asyncio
import logging
from typing import Any

from redfire.auth.v1 import auth_pb2

from services.kernel.errors import RedFireError, Unavailable
from services.kernel.identity.revocations import REVOCATIONS_CHANNEL, Revocations
from services.kernel.redis.shared import Messages
from services.kernel.rpc.silence import until_silent
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
# Auth sends a heartbeat each second.
SILENCE_S = 4.0
RETRY_S = 0.25


class RevocationFollower:
    """Adds to the process's revocations what auth says."""

    def __init__(self, revocations: Revocations, auth: Any, messages: Messages) -> None:
        """`auth` is a stub of AuthService."""
        self._revocations = revocations
        self._auth = auth
        self._known = asyncio.Event()
        messages.subscribe(REVOCATIONS_CHANNEL, lambda body: self._add(auth_pb2.Revocation.FromString(body)))

    async def known(self, timeout_s: float) -> bool:
        """Wait until all that is in force is known; False when that takes longer."""
        return await wait_for_event(self._known, timeout_s)

    async def run(self) -> None:
        """Follow auth's stream, again whenever it ends, until cancelled."""
        said = ""
        while True:
            is_complete = False
            try:
                async for message in until_silent(
                    self._auth.WatchRevocations(auth_pb2.WatchRevocationsRequest()), SILENCE_S
                ):
                    said = ""
                    if message.HasField("revocation"):
                        self._add(message.revocation)
                    is_complete = is_complete or message.snapshot_complete
                    if is_complete:
                        self._revocations.hear()
                        self._known.set()
            except RedFireError as error:
                if error.message != said:
                    level = logging.DEBUG if isinstance(error, Unavailable) else logging.WARNING
                    log.log(level, "revocations cannot be followed: %s", error.message)
                said = error.message
            await asyncio.sleep(RETRY_S)

    def _add(self, revocation: auth_pb2.Revocation) -> None:
        self._revocations.add(revocation.id, revocation.expire_time.ToNanoseconds() / 1e9)
