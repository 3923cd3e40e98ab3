"""The way of archived files to a bucket, beside everything else: what it does not take waits on disk."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from services.market import metrics
from services.market.recording.tick_store import TickStore

_log = logging.getLogger(__name__)

_INTERVAL_S = 2.0
_LONGEST_INTERVAL_S = 30.0
"""Time between attempts while the bucket takes nothing."""
_LAST_S = 5.0
"""Time for the files of the last checkpoint, when the service stops."""


class Uploads:
    """Moves archived files to the archive's bucket."""

    def __init__(self, store: TickStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="market-upload")
        self._ends_at = float("inf")
        self._is_checked = False
        self.failure = ""
        """The reason why the bucket takes nothing at present; empty when it does."""

    async def run(self) -> None:
        """Move files until cancelled."""
        pause_s = _INTERVAL_S
        while True:
            moved = await self.once()
            pause_s = min(2 * pause_s, _LONGEST_INTERVAL_S) if moved is None else _INTERVAL_S
            await asyncio.sleep(pause_s)

    async def once(self) -> int | None:
        """Move what is there; return the number of files, None when the bucket does not take any.

        At first, and behind a failure, it is looked at though there is no file: a wrong name shows at the start.
        """
        loop = asyncio.get_running_loop()
        try:
            moved = await loop.run_in_executor(self._thread, self._move)
        except OSError as error:
            self._is_checked = False
            metrics.upload_failures.inc()
            if not self.failure:
                _log.error("the bucket does not take archived files: %s; they wait on disk", error)
            self.failure = f"the bucket of the archive: {error}"
            return None
        if self.failure:
            _log.warning("the bucket takes archived files again")
        self.failure = ""
        return moved

    def _move(self) -> int:
        if not self._is_checked:
            self._store.check_bucket()
            self._is_checked = True
        return self._store.upload(lambda: time.monotonic() > self._ends_at)

    async def close(self) -> None:
        """Move what is left, for a short time: the next start moves the rest."""
        self._ends_at = time.monotonic() + _LAST_S
        await self.once()
        self._thread.shutdown()
