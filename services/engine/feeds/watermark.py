"""The watermark of a recording: its rows' own time, never the wall clock."""

_MINUTE_NS = 60_000_000_000


class ReplayWatermark:
    """The latest time of a recording's rows, less the lateness that rows of other symbols may come with."""

    def __init__(self, lateness_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._latest_ns = 0
        self._next_minute_ns = 0
        self._is_back = False

    @property
    def value_ns(self) -> int | None:
        """The watermark; None before the first row, and behind a row that went further back than is late.

        Such a recording is not in the order of time, as one of several symbols one after the other is not.
        """
        return None if self._is_back or not self._latest_ns else self._latest_ns - self._lateness_ns

    def add(self, time_ns: int) -> bool:
        """Take the next row's time. True when the watermark has passed a full minute with it."""
        if time_ns <= self._latest_ns:
            self._is_back = time_ns < self._latest_ns - self._lateness_ns
            return False
        self._is_back = False
        self._latest_ns = time_ns
        watermark_ns = time_ns - self._lateness_ns
        if watermark_ns < self._next_minute_ns:
            return False
        self._next_minute_ns = (watermark_ns // _MINUTE_NS + 1) * _MINUTE_NS
        return True
