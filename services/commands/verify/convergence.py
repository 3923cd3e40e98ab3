"""Comparison of two places that both move on: repeated until they agree, or what differs stays so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple

from services.kernel.errors import DeadlineExceeded, StartError, Unavailable
from services.trading.verify.finding import Finding

Check = Callable[[], Awaitable[list[Finding]]]
PAUSE_S = 0.5
# A platform that restarts is waited for.
PATIENCE_S = 15.0


async def lasting_findings(checks: Sequence[Check], grace_s: float) -> list[Finding]:
    """Findings of the first round of checks that stay as they are for the grace.

    What begins to differ later is traffic: what is wrong was so in the first round. Raises: StartError where a place
    does not answer for so long.
    """
    stayed: set[Finding] | None = None
    begun = answered = time.monotonic()
    while True:
        try:
            findings = {finding for check in checks for finding in await check()}
        except (Unavailable, DeadlineExceeded) as error:
            if time.monotonic() - answered >= max(grace_s, PATIENCE_S):
                raise StartError(f"what runs cannot be asked: {error.message}") from None
        else:
            answered = time.monotonic()
            if stayed is None:
                stayed, begun = findings, answered
            stayed &= findings
            if not stayed or answered - begun >= grace_s:
                return sorted(stayed, key=astuple)
        await asyncio.sleep(PAUSE_S)
