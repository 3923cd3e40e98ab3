"""The line between trading and its engine: it delays, loses, repeats and reorders, hangs, and breaks."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redfire.engine.v1 import engine_pb2

from services.kernel.errors import Unavailable


@dataclass
class Faults:
    """Rates of the line's faults: parts of 1."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    hang: float = 0.0
    refuse: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    incomplete: float = 0.0
    slow_s: float = 0.01


GOOD = Faults()
BAD = Faults(0.06, 0.08, 0.03, 0.03, 0.15, 0.2, 0.1, 0.5)


class Line:
    """The line to one engine process after the other, with the reports of the present one."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.faults = GOOD
        self.up = True
        self.in_flight = 0
        self.run = 0
        self.epoch = "run-0"
        self.sequence = 0
        self.log: list[engine_pb2.StreamEventsResponse] = []
        self.listeners: list[asyncio.Queue[engine_pb2.StreamEventsResponse | None]] = []
        self.counts: dict[str, int] = {}

    def chance(self, part: float) -> bool:
        return self.rng.random() < part

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    async def request(self, effect: Callable[[], Any]) -> Any:
        """Carry a request to the engine and its answer back.

        What arrives has its effect, whether the caller still waits or not.
        """
        loop, run = asyncio.get_running_loop(), self.run
        answer: asyncio.Future[Any] = loop.create_future()
        faults = self.faults
        lost_before, lost_after = self.chance(faults.lost_before), self.chance(faults.lost_after)
        hangs = self.chance(faults.hang)
        there_s, back_s = (self.rng.random() * faults.slow_s for _ in range(2))

        def fail() -> None:
            if not answer.done() and not hangs:
                answer.set_exception(Unavailable("the line is cut"))

        self.in_flight += 1

        def arrive() -> None:
            self.in_flight -= 1
            if lost_before or not self.up or run != self.run:
                self.count("lost before")
                loop.call_later(back_s, fail)
                return
            try:
                result, error = effect(), None
            except Exception as raised:
                result, error = None, raised
            loop.call_later(back_s, come_back, result, error)

        def come_back(result: Any, error: Exception | None) -> None:
            if lost_after or hangs or run != self.run or not self.up:
                self.count("lost after")
                fail()
            elif not answer.done():
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(result)

        loop.call_later(there_s, arrive)
        return await answer

    def report(self, **event: Any) -> None:
        """Report something: now or late, once or again."""
        message = engine_pb2.StreamEventsResponse(**event)
        times = [self.rng.random() * 3 if self.chance(self.faults.late) else 0.0]
        if self.chance(self.faults.repeat):
            self.count("repeated")
            times.append(self.rng.random() * 5)
        loop = asyncio.get_running_loop()
        for delay_s in times:
            if delay_s:
                loop.call_later(delay_s, self.publish, message, self.run)
            else:
                self.publish(message, self.run)

    def publish(self, message: engine_pb2.StreamEventsResponse, run: int) -> None:
        if run != self.run or not self.up:
            self.count("reports lost")
            return
        self.sequence += 1
        sent = engine_pb2.StreamEventsResponse()
        sent.CopyFrom(message)
        sent.sequence = self.sequence
        self.log.append(sent)
        for queue in self.listeners:
            queue.put_nowait(sent)

    def drop_streams(self) -> None:
        for queue in self.listeners:
            queue.put_nowait(None)
        self.listeners.clear()

    def stop(self) -> None:
        """The engine dies; the exchange does not."""
        self.up = False
        self.drop_streams()

    def start(self) -> None:
        """Another engine process: another epoch, and nothing of what the last one was about to report."""
        self.run += 1
        self.epoch, self.sequence, self.up = f"run-{self.run}", 0, True
        self.log.clear()
