"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
STILL = 20  # times that a value is the same before it counts as no longer changing


async def until(condition: Callable[[], T | Awaitable[T]], timeout_s: float = 5.0, step_s: float = 0.01) -> T:
    """The condition's first true value; fails when there is none within the time."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not true within {timeout_s} s")
        await asyncio.sleep(step_s)


async def until_still(read: Callable[[], T], timeout_s: float = 20.0) -> T:
    """The first value that stays the same for a while; fails when it goes on changing."""
    seen: list[T] = []

    def still() -> bool:
        seen.append(read())
        return len(seen) > STILL and seen[-STILL:] == [seen[-1]] * STILL

    await until(still, timeout_s)
    return seen[-1]
