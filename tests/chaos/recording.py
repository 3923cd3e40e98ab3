"""The market's recording after a fault: each tick of the engine once, in the order of its numbers."""

import time
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from tests.chaos.trader import SYMBOL
from tests.running import until

BEFORE_S = 5.0
RECORDED_S = 60.0


def holes_in_recording(topology: Any, since: float) -> list[str]:
    """Numbers of ticks that are missing, or there twice, in history from a little before `since` on (UNIX seconds)."""
    healed = time.time()
    ticks: list[tuple[float, int]] = []

    def is_recorded() -> bool:
        ticks[:] = _ticks(topology, since - BEFORE_S)
        return bool(ticks) and ticks[-1][0] > healed

    try:
        until(is_recorded, RECORDED_S, 0.5)
    except AssertionError:
        return [f"nothing is recorded {RECORDED_S:g} s later"]
    return [f"tick {one[1]} is followed by {other[1]}" for one, other in pairwise(ticks) if other[1] != one[1] + 1]


def _ticks(topology: Any, since: float) -> list[tuple[float, int]]:
    """Time (UNIX seconds) and number of each tick of history since then."""
    found: list[tuple[float, int]] = []
    token, start = "", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    while True:
        query = urlencode({"startTime": start, "pageSize": 1000, "pageToken": token})
        answer = topology.owner.asked("GET", f"/api/market/ticks/{SYMBOL}/history?{query}")
        if answer is None:
            return []
        page = answer.json()
        found += [(int(tick["timeNs"]) / 1e9, int(tick["sequence"])) for tick in page["ticks"]]
        token = page.get("nextPageToken", "")
        if not token:
            return found
