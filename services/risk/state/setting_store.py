"""Settings that guard accounts: tighter values count at once, looser ones when they are written."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.kernel.errors import Unavailable
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
# Shorter than the deadline of the RPCs, so that a caller gets an answer instead of a timeout.
WAIT_S = 3.0
MOST_PENDING = 100


class NotDurable(Unavailable):
    """The change could not be written."""


@dataclass(eq=False, slots=True)
class _Change(Generic[T]):
    apply: Callable[[T], T]
    loosens: bool
    written: "asyncio.Future[bool]"


@dataclass(slots=True)
class _Chain(Generic[T]):
    durable: T
    pending: list[_Change[T]] = field(default_factory=list)

    def values(self) -> tuple[T, ...]:
        """The written value, and after each change that is not written yet the value it makes."""
        values = [self.durable]
        for change in self.pending:
            values.append(change.apply(values[-1]))
        return tuple(values)


class SettingStore(Generic[K, T]):
    """Settings by key, each written as a whole. `on_change(key, values)` gets all values that may be in force.

    The strictest of them counts: so a change that tightens holds before it is written, and still holds when it cannot
    be written, which is tried again until it is; one that loosens is given up when it cannot be written.
    """

    def __init__(
        self,
        default: T,
        write: Callable[[K, T], Awaitable[None]],
        on_change: Callable[[K, tuple[T, ...]], None],
    ) -> None:
        self._default = default
        self._write = write
        self._on_change = on_change
        self._chains: dict[K, _Chain[T]] = {}
        self._unwritten: dict[K, None] = {}
        # The number of writes that were begun and that have ended.
        self._begun = self._ended = 0
        self._wake = asyncio.Event()

    def load(self, values: Mapping[K, T]) -> None:
        """Load the stored values."""
        for key, value in values.items():
            self._chains[key] = _Chain(value)
            self._on_change(key, (value,))

    @property
    def moment(self) -> int:
        """The number of writes so far; -1 while one runs: what is read of the database then may be older than it."""
        return self._ended if self._begun == self._ended else -1

    def refresh(self, values: Mapping[K, T]) -> None:
        """Take what the database has, where other replicas write too."""
        for key in values.keys() | self._chains.keys():
            value, chain = values.get(key, self._default), self._chains.setdefault(key, _Chain(self._default))
            if chain.durable != value:
                chain.durable = value
                self._on_change(key, chain.values())

    def latest(self, key: K) -> T:
        """The value as it is when all changes are written."""
        chain = self._chains.get(key)
        return self._default if chain is None else chain.values()[-1]

    async def change(self, key: K, apply: Callable[[T], T], *, loosens: bool) -> None:
        """Change a value and wait until it is written; `loosens`: nothing of it is stricter than before.

        Raises NotDurable; its `in_force` gives whether the change is in force all the same.
        """
        chain = self._chains.setdefault(key, _Chain(self._default))
        if len(chain.pending) >= MOST_PENDING:
            raise NotDurable("too many changes wait to be written", in_force="false")
        written = asyncio.get_running_loop().create_future()
        chain.pending.append(_Change(apply, loosens, written))
        self._unwritten[key] = None
        self._on_change(key, chain.values())
        self._wake.set()
        await asyncio.wait({written}, timeout=WAIT_S)
        if written.done() and written.result():
            return
        if not loosens:
            raise NotDurable("the change is in force, but not written yet; it is tried again", in_force="true")
        if written.done():
            raise NotDurable("the change could not be written and is not in force", in_force="false")
        raise NotDurable("the change is not written yet; it counts when it is", in_force="false")

    def is_written(self, key: K) -> bool:
        """Return true when the latest value is in the database."""
        return key not in self._unwritten

    async def run(self) -> None:
        """Write what has changed, for as long as the process runs."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self.flush()
            if not self._unwritten:
                await self._wake.wait()
                pause_s = FIRST_PAUSE_S
            else:
                await wait_for_event(self._wake, pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            self._wake.clear()

    async def flush(self) -> None:
        """Write all that is not written, as far as it can be."""
        for key in list(self._unwritten):
            await self._write_one(key)

    async def _write_one(self, key: K) -> None:
        chain = self._chains[key]
        changes, value = list(chain.pending), chain.values()[-1]
        written = False
        self._begun += 1
        try:
            await self._write(key, value)
            written = True
        except Exception as error:
            log.warning("a change of %s could not be written yet: %s", type(value).__name__, error)
        finally:
            self._ended += 1
            # Also what was given up is written again as it is: nobody knows whether the database has it.
            if written:
                chain.durable = value
                del chain.pending[: len(changes)]
                if not chain.pending:
                    self._unwritten.pop(key, None)
            else:
                chain.pending = [change for change in chain.pending if change not in changes or not change.loosens]
            for change in changes:
                if not change.written.done():
                    change.written.set_result(written)
            self._on_change(key, chain.values())
