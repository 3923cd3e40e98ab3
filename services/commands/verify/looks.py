"""Comparison of two places that both move on: repeated until they agree, or what differs stays so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple

from services.kernel.errors import DeadlineExceeded, StartError, Unavailable
from services.trading.verify.finding import Finding

Look = Callable[[], Awaitable[list[Finding]]]
PAUSE_S = 0.5
# A platform that restarts is waited for.
PATIENCE_S = 15.0


async def settled(looks: Sequence[Look], grace_s: float) -> list[Finding]:
    """Findings of the looks that are there at first and stay as they are for the grace.

    What begins to differ later is traffic: what is wrong was so at the first look. Raises: StartError where a place
    does not answer for so long.
    """
    stayed: set[Finding] | None = None
    begun = answered = time.monotonic()
    while True:
        try:
            found = {finding for look in looks for finding in await look()}
        except (Unavailable, DeadlineExceeded) as error:
            if time.monotonic() - answered >= max(grace_s, PATIENCE_S):
                raise StartError(f"what runs cannot be asked: {error.message}") from None
        else:
            answered = time.monotonic()
            if stayed is None:
                stayed, begun = found, answered
            stayed &= found
            if not stayed or answered - begun >= grace_s:
                return sorted(stayed, key=astuple)
        await asyncio.sleep(PAUSE_S)
