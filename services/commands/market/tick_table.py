"""The live table of `redfire ticks`: the last tick of each symbol, its direction, rate, age and lost ticks."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redfire.market.v1 import market_pb2 as pb
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from services.commands.market.tick_stream import TickStream

RATE_WINDOW_S = 5
UP_STYLE, DOWN_STYLE = "green", "red"
_SHORT_EPOCH = 8
_UNLIMITED = 1000
# The first to go where the terminal is too narrow comes first.
_DISPENSABLE = (
    {"open interest"}, {"volume"}, {"change"}, {"×"}, {"time"}, {"bid", "ask"}, {"lost"}, {"age"}, {"ticks/s"},
)  # fmt: skip


class Rate:
    """Ticks per second in this second and the ones before it, RATE_WINDOW_S together, or since the first tick."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._first: float | None = None

    def count(self, now: float) -> None:
        """Count a tick."""
        self._first = now if self._first is None else self._first
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))
            while self._seconds[0][0] <= second - RATE_WINDOW_S:
                self._seconds.popleft()

    def per_second(self, now: float) -> float:
        """Return the rate; 0 before the first tick."""
        if self._first is None:
            return 0.0
        since = int(now) - RATE_WINDOW_S + 1
        counted = sum(count for second, count in self._seconds if second >= since)
        return counted / max(min(now - self._first, now - since), 1.0)


@dataclass(slots=True)
class SymbolState:
    """The last tick of a symbol; `direction` is that of its price's last move: 1, -1 or 0."""

    tick: pb.Tick
    received: float
    direction: int = 0
    missed: int = 0
    rate: Rate = field(default_factory=Rate)


class TickTable:
    """Takes a stream's messages, and renders what they come to; wider than the terminal it leaves columns out."""

    def __init__(
        self,
        stream: TickStream,
        *,
        red_up: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._styles: Mapping[int, str] = {1: UP_STYLE, -1: DOWN_STYLE, 0: ""}
        if red_up:
            self._styles = {1: DOWN_STYLE, -1: UP_STYLE, 0: ""}
        self._symbols: dict[str, SymbolState] = {}
        self._missed: dict[str, int] = {}

    def add(self, message: pb.StreamTicksResponse) -> None:
        """Take a message."""
        now = self._monotonic()
        for tick in message.ticks:
            state = self._symbols.get(tick.symbol)
            if state is None:
                # The last tick from before the stream began is as old as the exchange says.
                age_s = max(self._wall_ns() - tick.time_ns, 0) / 1e9
                self._symbols[tick.symbol] = state = SymbolState(tick, now - age_s)
            else:
                before = state.tick.last_price
                state.direction = (tick.last_price > before) - (tick.last_price < before) or state.direction
                state.tick, state.received = tick, now
            state.rate.count(now)
        if message.WhichOneof("event") == "gap":
            gap = message.gap
            self._missed[gap.symbol] = self._missed.get(gap.symbol, 0) + gap.last_sequence - gap.first_sequence + 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the rows that fit into the terminal's height, and the line of state."""
        names = sorted(self._stream.sequences)
        fitting = max(console.height - 5, 1) if console.is_terminal else len(names)
        left_out: set[str] = set()
        unlimited = options.update_width(_UNLIMITED)
        table = self._table(names[:fitting], left_out)
        for titles in _DISPENSABLE:
            if Measurement.get(console, unlimited, table).maximum <= options.max_width:
                break
            left_out |= titles
            table = self._table(names[:fitting], left_out)
        lines: list[Table | Text] = [table]
        if len(names) > fitting:
            lines.append(Text(f"… and {len(names) - fitting} more: the terminal is not high enough", style="dim"))
        yield Group(*lines, state_line(self._stream))

    def _table(self, names: Sequence[str], left_out: set[str]) -> Table:
        now = self._monotonic()
        rows = [self._cells(name, now) for name in names]
        titles = list(dict.fromkeys(title for row in rows for title in row))
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        shown = [title for title in titles if title.strip(" ") not in left_out]
        for title in shown:
            justify = "left" if title in ("symbol", "time") else "right"
            table.add_column(title.strip(), justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(row[title] for title in shown))
        return table

    def _cells(self, name: str, now: float) -> dict[str, Text]:
        state, missed = self._symbols.get(name), self._missed.get(name, 0)
        stale = "yellow" if name in self._stream.stale else ""
        lost = Text(f"{missed:,}" if missed else "", style="bold red")
        if state is None:
            empty = ("time", "last", "change", "bid", "×", "ask", "× ", "volume", "open interest", "ticks/s")
            return {"symbol": Text(name), **dict.fromkeys(empty, Text()), "age": Text("–"), "lost": lost}
        tick, style = state.tick, self._styles[state.direction]
        arrow = {1: "▲", -1: "▼", 0: " "}[state.direction]
        change = tick.last_price / tick.pre_close_price - 1 if tick.pre_close_price else None
        change_style = self._styles[(change > 0) - (change < 0)] if change is not None else ""
        bid, ask = best(tick.bid_prices, tick.bid_quantities), best(tick.ask_prices, tick.ask_quantities)
        return {
            "symbol": Text(name),
            "time": Text(clock_text(tick.time_ns)),
            "last": Text(f"{number(tick.last_price)} {arrow}", style=style),
            "change": Text(f"{change:+.2%}" if change is not None else "", style=change_style),
            "bid": Text(bid[0]), "×": Text(bid[1]), "ask": Text(ask[0]), "× ": Text(ask[1]),
            "volume": Text(number(tick.volume)), "open interest": Text(number(tick.open_interest)),
            "ticks/s": Text(f"{state.rate.per_second(now):.1f}"),
            "age": Text(age_text(now - state.received), style=stale), "lost": lost,
        }  # fmt: skip


def state_line(stream: TickStream) -> Text:
    """Status line of a stream: its epoch, the feed, silent symbols, gaps, resumes, and how it ended."""
    parts: list[tuple[str, str]] = []
    if stream.epoch:
        parts.append((f"epoch {stream.epoch[:_SHORT_EPOCH]}", ""))
    parts.append(("feed connected", "") if stream.connected else ("feed silent: the engine is not heard", "bold red"))
    if stream.stale:
        shown = ", ".join(stream.stale[:3]) + (", …" if len(stream.stale) > 3 else "")
        parts.append((f"{len(stream.stale)} stale: {shown}", "yellow"))
    if stream.epochs:
        parts.append((f"the feed began anew {_times(stream.epochs)}", "yellow"))
    if stream.missed:
        parts.append((f"{stream.missed:,} ticks lost in {stream.gap_count:,} gaps", "bold red"))
    if stream.resumed:
        parts.append((f"resumed {_times(stream.resumed)}", ""))
    if stream.trouble:
        parts.append((f"opening again: {stream.trouble}", "bold red"))
    elif stream.end_reason:
        parts.append((f"ended: {stream.end_reason}", "bold"))
    return Text(" · ").join(Text(text, style=style or "dim") for text, style in parts)


def best(prices: Sequence[float], quantities: Sequence[float]) -> tuple[str, str]:
    """The best level's price and quantity as texts, empty where there is none."""
    return (number(prices[0]), number(quantities[0])) if prices and quantities else ("", "")


def number(value: float) -> str:
    """A price or quantity, without digits that only binary floats have."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return text or "0"


def clock_text(time_ns: int) -> str:
    """A moment by this machine's clock: `09:30:00.500`."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]


def age_text(seconds: float) -> str:
    """An age in its unit: `0.3s`, `12s`, `3m`, `2h`, `5d`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    for limit, unit_s, unit in ((90, 1, "s"), (5400, 60, "m"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.0f}{unit}"
    return f"{seconds / 86_400:.0f}d"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
