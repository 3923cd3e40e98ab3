"""The way of ticks and bars to InfluxDB: kept until a batch is due, encoded in a thread, sent again until taken.

Nothing waits for it. What InfluxDB does not take in time is dropped, counted, and said once.
"""

import asyncio
import base64
import contextlib
import logging
import random
import time
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import aiohttp

from services.market import metrics
from services.market.convert import parse_ticks
from services.market.influx.lines import Lines
from services.market.settings import influx_write_url
from services.market.ticks.sinks import SinkFailures
from services.quant.bars import Bar
from services.quant.bars.local_clock import LocalClock
from services.quant.ticks.tick_batch import TickBatch

_log = logging.getLogger(__name__)

BATCH_POINTS = 5000
"""Points of one request, as InfluxDB recommends."""
BATCH_S = 1.0
HELD_BYTES = 32 << 20
"""Ticks and bars that wait at most."""
_BAR_BYTES = 400
"""About what a bar takes in memory."""
_PAUSE_EVERY = 64
"""Lines after which the event loop's thread gets its turn."""
_RETRY_S, _LONGEST_RETRY_S = 0.5, 30.0
_TIMEOUT_S = 10.0
_LAST_S = 3.0
"""Time for what is left when the service stops."""
_NEVER = (400, 413, 422)
"""Answers to points that will not be taken the next time either."""


class InfluxSink:
    """Takes published ticks and closed bars (event loop)."""

    def __init__(self, url: str, clock: LocalClock, token: str = "") -> None:  # nosec B107
        self._url = influx_write_url(url)
        self._headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        if token:
            is_version_1 = urlsplit(self._url).path == "/write"
            basic = f"Basic {base64.b64encode(token.encode()).decode()}"
            self._headers["Authorization"] = basic if is_version_1 else f"Token {token}"
        self._queue: deque[tuple[bytes | Bar, int, int]] = deque()
        """Bars and encoded lines that wait, with their points and bytes in memory."""
        self._held_points = self._held_bytes = 0
        self._unsent: tuple[bytes, int] | None = None
        """The lines of a batch until they are taken, with their number."""
        self._is_due = asyncio.Event()
        self._lines = Lines(clock)
        self._failures = SinkFailures()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="market-influx")
        self._ends_at = float("inf")
        self._is_dropping = self._is_failing = False

    def on_batch(self, batch: TickBatch) -> None:
        """Take ticks."""
        self._take(batch.data, len(batch), len(batch.data))

    def on_bar(self, bar: Bar) -> None:
        """Take a closed bar."""
        self._take(bar, 1, _BAR_BYTES)

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BATCH_S):
                        await self._is_due.wait()
                await self._send_next(session)

    async def close(self) -> None:
        """Send what is left, for a short time. `run` has ended."""
        self._ends_at = time.monotonic() + _LAST_S
        # A batch that was being encoded is encoded to its end.
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)
        timeout = aiohttp.ClientTimeout(total=_LAST_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while (self._queue or self._unsent) and time.monotonic() < self._ends_at:
                await self._send_next(session)
        self._drop(self._held_points + (self._unsent[1] if self._unsent else 0), "the service stops")
        self._thread.shutdown()

    def _take(self, item: bytes | Bar, points: int, size: int) -> None:
        if not points:
            return
        if self._held_bytes + size > HELD_BYTES:
            self._drop(points, "it does not keep up")
            return
        self._queue.append((item, points, size))
        self._held_points += points
        self._held_bytes += size
        if self._held_points >= BATCH_POINTS:
            self._is_due.set()

    async def _send_next(self, session: aiohttp.ClientSession) -> None:
        """Send a batch of what waits, if anything does."""
        points = 0
        try:
            if self._unsent is None:
                items, points = self._next()
                await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, items)
            if self._unsent is not None:
                body, points = self._unsent
                if await self._post(session, body, points):
                    metrics.influx_points.inc(points)
        except Exception:
            _log.exception("points cannot be sent to InfluxDB")
            self._drop(points, "of an internal error")
        self._unsent = None
        if self._held_points < BATCH_POINTS:
            self._is_due.clear()

    def _next(self) -> tuple[list[bytes | Bar], int]:
        """Take the next ticks and bars from the queue, and their number."""
        items: list[bytes | Bar] = []
        points = 0
        while self._queue and (not items or points + self._queue[0][1] <= BATCH_POINTS):
            item, of_item, size = self._queue.popleft()
            items.append(item)
            points += of_item
            self._held_points -= of_item
            self._held_bytes -= size
        return items, points

    def _encode(self, items: list[bytes | Bar]) -> None:
        """Make the lines of ticks and bars, compressed; once: the times of later ticks follow from it (thread).

        A tick or bar that cannot be encoded is left out.
        """
        lines: list[bytes] = []
        for item in items:
            for point in (item,) if isinstance(item, Bar) else parse_ticks(item):
                try:
                    lines.append(self._lines.of_bar(point) if isinstance(point, Bar) else self._lines.of_tick(point))
                except Exception:
                    self._failures.report("influx", point.symbol)
                    metrics.influx_dropped.inc()
                if len(lines) % _PAUSE_EVERY == 0:
                    time.sleep(0.0001)
        if lines:
            packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
            self._unsent = packer.compress(b"\n".join(lines)) + packer.flush(), len(lines)

    async def _post(self, session: aiohttp.ClientSession, body: bytes, points: int) -> bool:
        """Post lines until they are taken; false when they never will be."""
        pause_s = _RETRY_S
        while True:
            try:
                async with session.post(self._url, data=body) as response:
                    said = (await response.text(errors="replace"))[:300].strip()
                    if response.status < 300:
                        self._succeed()
                        return True
                    problem = f"{response.status} {said}"
                    if response.status in _NEVER:
                        self._drop(points, f"they are refused: {problem}")
                        return False
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"{type(error).__name__} {error}".strip()
            metrics.influx_failures.inc()
            if not self._is_failing:
                _log.warning("InfluxDB takes no points, which are sent again: %s", problem)
            self._is_failing = True
            if time.monotonic() + pause_s > self._ends_at:
                self._drop(points, "the service stops")
                return False
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 # nosec B311
            pause_s = min(2 * pause_s, _LONGEST_RETRY_S)

    def _succeed(self) -> None:
        if self._is_failing or self._is_dropping:
            _log.warning("InfluxDB takes points again")
        self._is_failing = self._is_dropping = False

    def _drop(self, points: int, why: str) -> None:
        if not points:
            return
        metrics.influx_dropped.inc(points)
        if not self._is_dropping:
            _log.error("points are not sent to InfluxDB: %s", why)
        self._is_dropping = True
