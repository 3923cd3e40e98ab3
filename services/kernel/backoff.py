"""Pauses between attempts at something that is away: longer each time, and not the same for all who wait for it."""

import random


class Backoff:
    """Pauses from `first_s` on, doubled each time up to `longest_s`; each is shortened by chance, by up to a half."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """The next pause, in seconds."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 so that those who wait do not come together # nosec B311

    def reset(self) -> None:
        """Begin anew: it answered."""
        self._next_s = self._first_s
