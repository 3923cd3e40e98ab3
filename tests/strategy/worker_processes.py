"""Worker processes of strategies, and ticks until they did something."""

import asyncio

import psutil

from tests.waiting import until


async def ticks_until(world, condition, timeout_s=20.0, price=5000.0):
    """Push ticks until something happens."""

    async def step():
        world.market.push(price)
        value = condition()
        return await value if asyncio.iscoroutine(value) else value

    return await until(step, timeout_s, 0.02)


def workers(p) -> list[int]:
    """Pids of the worker processes that this process started."""
    return [child.pid for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        is_running = process.status() != psutil.STATUS_ZOMBIE
        return is_running and "services.strategy.runner.main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def own_memory(pid: int) -> int:
    """Bytes that a process has for itself: pages of libraries, which all processes share, do not count."""
    return int(psutil.Process(pid).memory_full_info().uss)
