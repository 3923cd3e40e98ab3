"""All processes of a platform: started together, seen as one, stopped in order."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from services.commands.processes.layout import HOST, ProcessSpec, addresses_of, stop_order
from services.commands.processes.service_process import ServiceProcess
from services.kernel.errors import StartError
from services.registry import Service

log = logging.getLogger(__name__)
START_TIMEOUT_S = 180.0
"""Time in which one more process has to serve: of a machine that is busy with others all take their time."""
WAVE_S, STOP_S = 2.0, 13.0
"""Time for processes to stop before those that they call do, and for all together; then they are ended."""
SCRAPE_S = 2.0


class Supervisor:
    """The processes that specs describe; start them with `start`, and always `stop`."""

    def __init__(  # nosec B107
        self,
        services: Mapping[str, Service],
        specs: Sequence[ProcessSpec],
        logs: Path,
        on_replaced: Callable[[], None],
        on_crash_loop: Callable[[str], None],
        metrics_token: str = "",
    ) -> None:
        """`on_replaced` is called when a process answers, the first one of its place or another."""
        self._metrics_token = metrics_token
        self._services = services
        self._specs = specs
        self._logs = logs
        self._on_replaced = on_replaced
        self._on_crash_loop = on_crash_loop
        self._processes: list[ServiceProcess] = []
        self._draining = False

    async def start(self) -> None:
        """Start all, and return once every one serves. Raises StartError."""
        self._logs.mkdir(exist_ok=True)
        self._processes = [
            ServiceProcess(spec, self._logs, self._on_replaced, self._on_crash_loop) for spec in self._specs
        ]
        loop = asyncio.get_running_loop()
        fewest, end = len(self._processes) + 1, 0.0
        while late := sorted({name for names in self._missing().values() for name in names}):  # health has no event
            if len(late) < fewest:
                fewest, end = len(late), loop.time() + START_TIMEOUT_S
            if loop.time() > end:
                raise StartError(f"not healthy for {START_TIMEOUT_S:g} s: {', '.join(late)}; see {self._logs}")
            for process in self._processes:
                if process.refusal:
                    raise StartError(f"{process.spec.name}: {process.refusal}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop all: each after those that call it, so that what these do last is still done."""
        self._draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + STOP_S
        by_spec = {process.spec.name: process for process in self._processes}
        for wave in stop_order(self._services, [process.spec for process in self._processes]):
            processes = [by_spec[spec.name] for spec in wave]
            for process in processes:
                process.terminate()
            await asyncio.gather(*(process.wait(min(WAVE_S, max(end - loop.time(), 0.0))) for process in processes))
        stopped = await asyncio.gather(*(process.wait(max(end - loop.time(), 0.0)) for process in self._processes))
        if late := [
            process.spec.name for process, is_over in zip(self._processes, stopped, strict=True) if not is_over
        ]:
            log.error("these do not stop, and are ended: %s", ", ".join(late))
        await asyncio.gather(*(process.close() for process in self._processes))
        for spec in self._specs:
            spec.close()

    # What they are ----------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> dict[str, tuple[str, ...]]:
        """The addresses of each service's replicas."""
        return addresses_of(self._specs)

    @property
    def pids(self) -> dict[str, list[int]]:
        """The process ids of each service's replicas, as far as they run."""
        return {
            name: [p.pid for p in self._processes if name in p.spec.services and p.pid is not None]
            for name in self.addresses
        }

    def waiting_for(self, service: str) -> str:
        """Condition that a service waits for while none of its replicas serves; the empty string when one does."""
        if self._draining:
            return "draining"
        replicas = [process for process in self._processes if service in process.spec.services]
        return "" if any(process.is_serving(service) for process in replicas) else "a process that serves it"

    async def health(self) -> dict[str, str]:
        """Each service: SERVING while one of its replicas is."""
        return {name: "NOT_SERVING" if self.waiting_for(name) else "SERVING" for name in self.addresses}

    def failures(self) -> dict[str, str]:
        """Replicas that do not serve, by service."""
        return {service: f"not serving: {', '.join(names)}" for service, names in self._missing().items()}

    def _missing(self) -> dict[str, list[str]]:
        missing: dict[str, list[str]] = {}
        for process in self._processes:
            for service in process.spec.services:
                if not process.is_serving(service):
                    missing.setdefault(service, []).append(process.spec.name)
        return missing

    async def totals(self, counters: Sequence[str]) -> list[float]:
        """Counters summed over all processes; of those that count the same by themselves, market's replicas, one."""
        specs = [process.spec for process in self._processes]
        markets = [spec for spec in specs if "market" in spec.services]
        pages = await asyncio.gather(
            *(_metrics(spec, self._metrics_token) for spec in specs if spec not in markets[1:])
        )
        samples = [
            sample for page in pages for family in text_string_to_metric_families(page) for sample in family.samples
        ]
        return [sum(sample.value for sample in samples if sample.name == name) for name in counters]


async def _metrics(spec: ProcessSpec, token: str) -> str:
    url = f"http://{HOST}:{spec.operations_port.number}/metrics"
    timeout, headers = aiohttp.ClientTimeout(total=SCRAPE_S), {"authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as answer:
            return await answer.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""
