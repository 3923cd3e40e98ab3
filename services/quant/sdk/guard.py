"""The guard through which all user code is entered, so that the supervisor knows which strategy blocks its worker."""

import inspect
import types
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from services.quant.sdk.worker_heartbeat import Slot

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Guard:
    """One strategy's guard; without a slot (a worker without a supervisor) it only passes calls through."""

    def __init__(self, slot: Slot | None = None) -> None:
        self._slot = slot
        self._callback = b""

    def call(self, callback: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a synchronous callback."""
        self._enter(callback.encode())
        try:
            return function(*args, **kwargs)
        finally:
            self._leave()

    async def run(self, callback: str, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Await an asynchronous callback: only the time in its own code counts, not what it waits for.

        A callback that was written without `async` is run all the same.
        """
        result = self.call(callback, function, *args, **kwargs)
        if inspect.iscoroutine(result):
            return await self._steps(callback.encode(), result)
        return result

    @contextmanager
    def outside(self) -> Iterator[None]:
        """The platform works for the callback meanwhile, for instance loads history: that is not its time."""
        callback = self._callback
        self._leave()
        try:
            yield
        finally:
            if callback:
                self._enter(callback)

    def alive(self) -> None:
        """Show that the worker lives while the platform works for a callback and its event loop waits."""
        if self._slot is not None:
            self._slot.beat()

    def each(self, items: Sequence[T]) -> "GuardedList[T]":
        """The items as a list, each step through which counts as a callback of its own."""
        return GuardedList(self, items)

    @types.coroutine
    def _steps(self, callback: bytes, coroutine: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
        step: Callable[..., Any] = coroutine.send
        argument: Any = None
        while True:
            self._enter(callback)
            try:
                awaited = step(argument)
            except StopIteration as finished:
                return finished.value
            finally:
                self._leave()
            step, argument = coroutine.send, None
            try:
                yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                step, argument = coroutine.throw, error

    def again(self) -> None:
        """The running callback counts from now."""
        if self._callback:
            self._enter(self._callback)

    def _enter(self, callback: bytes) -> None:
        self._callback = callback
        if self._slot is not None:
            self._slot.begin(callback)

    def _leave(self) -> None:
        self._callback = b""
        if self._slot is not None:
            self._slot.end()


class GuardedList(list[T]):
    """History that a strategy replays through its own callback: 20 days of bars may take longer than one callback."""

    def __init__(self, guard: Guard, items: Sequence[T]) -> None:
        super().__init__(items)
        self._guard = guard

    def __iter__(self) -> Iterator[T]:
        for item in super().__iter__():
            self._guard.again()
            yield item
