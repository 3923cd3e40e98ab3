"""Start and stop hooks in order; readiness and draining."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)
Hook = Callable[[], Awaitable[None]]


class Lifecycle:
    """Hooks of start, drain and stop; and the conditions of being ready."""

    def __init__(self) -> None:
        self._start: list[tuple[str, Hook]] = []
        self._drain: list[tuple[str, Hook]] = []
        self._stop: list[tuple[str, Hook]] = []
        self._ready: dict[str, list[tuple[str, Callable[[], bool]]]] = {}
        self._failures: dict[str, list[Callable[[], str]]] = {}
        self._begun: set[str] = set()
        self.started = False
        self.draining = False

    def on_start(self, name: str, hook: Hook) -> None:
        """Run a hook at start, in order of registration; one that raises stops the start."""
        self._start.append((name, hook))

    def on_drain(self, name: str, hook: Hook) -> None:
        """Run a hook when the process begins to stop: take no new work, end streams properly."""
        self._drain.append((name, hook))

    def on_stop(self, name: str, hook: Hook) -> None:
        """Run a hook at the end, in reverse order."""
        self._stop.append((name, hook))

    def ready_when(self, service: str, name: str, condition: Callable[[], bool]) -> None:
        """The service is not ready while the condition is false."""
        self._ready.setdefault(service, []).append((name, condition))

    def reports_failure(self, service: str, reason: Callable[[], str]) -> None:
        """The service goes on, with something amiss while the reason is not empty."""
        self._failures.setdefault(service, []).append(reason)

    def failures(self) -> dict[str, str]:
        """Failures in words, by service; services without one are absent."""
        failures = {
            service: "; ".join(filter(None, (reason() for reason in reasons)))
            for service, reasons in self._failures.items()
        }
        return {service: text for service, text in failures.items() if text}

    def waiting_for(self, service: str) -> str:
        """Condition that a service waits for; the empty string when it is ready."""
        if self.draining:
            return "draining"
        if not self.started:
            return "starting"
        return next((name for name, condition in self._ready.get(service, ()) if not condition()), "")

    async def start(self) -> None:
        """Run the start hooks."""
        self._begun = {name for name, _ in self._stop} - {name for name, _ in self._start}
        for name, hook in self._start:
            self._begun.add(name)
            await hook()
        self.started = True

    def begin_draining(self) -> None:
        """Stop being ready: nothing new is sent here from now on."""
        self.draining = True

    async def drain(self, timeout_s: float) -> None:
        """Run the drain hooks, all at once and each for at most `timeout_s`."""
        self.draining = True
        await asyncio.gather(*(_bounded(name, hook, timeout_s) for name, hook in self._drain))

    async def stop(self, timeout_s: float) -> None:
        """Run the stop hooks, the last registered first, each for at most `timeout_s`.

        What never began to start is not stopped: it would save a state that it has not read.
        """
        for name, hook in reversed(self._stop):
            if name in self._begun:
                await _bounded(name, hook, timeout_s)


async def _bounded(name: str, hook: Hook, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await hook()
    except TimeoutError:
        log.warning("%s takes longer than %g s to stop", name, timeout_s)
    except Exception:
        log.exception("%s failed to stop", name)
