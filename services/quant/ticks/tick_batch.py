"""A batch of ticks in pure Python: what the compiled `_tick_batch` gives, by protobuf's own parser."""

from array import array
from collections.abc import Callable, Container
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from redfire.market.v1 import market_pb2 as pb

from services.quant.ticks.frames import MalformedBatchError, split_control

R = TypeVar("R")
LEVELS = ("bid_prices", "bid_quantities", "ask_prices", "ask_quantities")
INTEGERS = ("time_ns", "sequence", "trading_day")
NUMBERS = (
    "last_price", "last_quantity", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price",
    "pre_close_price", "limit_up", "limit_down",
)  # fmt: skip


class Run(NamedTuple):
    """Ticks of one symbol, gateway and trading day in a batch whose sequences follow each other.

    Those of other symbols may lie between them.
    """

    symbol: str
    gateway: str
    trading_day: int
    first_sequence: int
    last_sequence: int
    times_ns: "array[int]"
    frames: list[bytes]


class TickBatch:
    """The ticks of one batch message, by row: 0 to len() - 1, as they came."""

    def __init__(self, data: bytes, frames: list[bytes], control: bytes, ticks: Any) -> None:
        self.data = data
        """The whole message."""
        self.control = control
        """Fields besides ticks, encoded; empty as a rule."""
        self._frames = frames
        self._ticks = ticks
        self._runs: list[Run] | None = None
        self._rows: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def symbols(self) -> list[str]:
        """By row."""
        return [tick.symbol for tick in self._ticks]

    @property
    def gateways(self) -> list[str]:
        """By row."""
        return [tick.gateway for tick in self._ticks]

    def values(self, name: str) -> list[Any]:
        """A field's values by row: one of INTEGERS or NUMBERS."""
        _check(name)
        return [getattr(tick, name) for tick in self._ticks]

    def column(self, name: str) -> "array[Any]":
        """The same as an array of 64-bit integers or doubles."""
        return array("q" if name in INTEGERS else "d", self.values(name))

    def frames(self) -> list[bytes]:
        """The bytes of each tick with its tag and length: joined in any number they are a batch message."""
        return list(self._frames)

    def runs(self) -> list[Run]:
        """The ticks by symbol, in the order of their first rows."""
        if self._runs is None:
            self._runs = self._find_runs()
        return self._runs

    def _find_runs(self) -> list[Run]:
        runs: list[Run] = []
        latest: dict[str, int] = {}
        for row, (frame, tick) in enumerate(zip(self._frames, self._ticks, strict=True)):
            symbol, gateway, day, sequence = tick.symbol, tick.gateway, tick.trading_day, tick.sequence
            number = latest.get(symbol, -1)
            if number >= 0:
                run = runs[number]
                if run.last_sequence + 1 == sequence and run.gateway == gateway and run.trading_day == day:
                    run.frames.append(frame)
                    run.times_ns.append(tick.time_ns)
                    runs[number] = run._replace(last_sequence=sequence)
                    self._rows[number].append(row)
                    continue
            latest[symbol] = len(runs)
            self._rows.append([row])
            runs.append(Run(symbol, gateway, day, sequence, sequence, array("q", (tick.time_ns,)), [frame]))
        return runs

    def fold(self, number: int, start: int, bars: Any) -> int:
        """Apply a run's ticks from its `start`-th on to SymbolBars of `quant.bars`, while they only add to its minute.

        Returns how many it applied, in pure Python none: `on_tick`, which is to be called for the rest, does the same.
        """
        return 0

    def bar_fields(self, number: int, index: int) -> tuple[Any, ...]:
        """The arguments of SymbolBars.on_tick for a run's `index`-th tick."""
        self.runs()
        one = self._ticks[self._rows[number][index]]
        return (
            one.sequence, one.time_ns, one.last_price, one.last_quantity, one.volume, one.turnover, one.open_interest,
            one.open_price, one.high_price, one.low_price, one.trading_day,
        )  # fmt: skip

    def select(self, symbols: Container[str]) -> tuple[bytes, int]:
        """The ticks of these symbols as a batch message, and their number. Where they are all, its own bytes."""
        chosen = [frame for frame, tick in zip(self._frames, self._ticks, strict=True) if tick.symbol in symbols]
        if len(chosen) == len(self._frames) and not self.control:
            return self.data, len(chosen)
        return b"".join(chosen), len(chosen)

    def ticks(self, make: Callable[..., R], epoch: str = "") -> list[R]:
        """`make` called for each tick with the fields of `quant.sdk.events.Tick` in that order."""
        return [
            make(
                one.symbol, one.time_ns, one.last_price, one.volume, one.turnover, one.open_interest,
                one.last_quantity, one.open_price, one.high_price, one.low_price, one.pre_close_price, one.limit_up,
                one.limit_down, tuple(one.bid_prices), tuple(one.bid_quantities), tuple(one.ask_prices),
                tuple(one.ask_quantities), one.sequence, one.trading_day, one.gateway, epoch,
            )
            for one in self._ticks
        ]  # fmt: skip


class TickScanner:
    """Reads batches."""

    def scan(self, data: bytes) -> TickBatch:
        """The ticks of a batch message of engine or market. Raises: MalformedBatchError."""
        frames, control = split_control(data)
        try:
            ticks = pb.StreamTicksResponse.FromString(b"".join(frames) if control else data).ticks
        except DecodeError as error:
            raise MalformedBatchError(str(error)) from error
        if len(ticks) != len(frames):
            raise MalformedBatchError("a tick's tag is encoded in an unusual way")
        return TickBatch(data, frames, control, ticks)


def _check(name: str) -> None:
    if name not in INTEGERS and name not in NUMBERS:
        raise KeyError(name)
