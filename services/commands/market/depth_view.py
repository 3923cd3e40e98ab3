"""The view of `redfire depth`: a ladder of asks and bids with their quantities as bars, and the last trade."""

from collections.abc import Sequence

from redfire.market.v1 import market_pb2 as pb
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from services.commands.market.tick_stream import TickStream
from services.commands.market.tick_table import DOWN_STYLE, UP_STYLE, clock_text, number, state_line

LEVELS = 5
_SHORTEST_BAR, _LONGEST_BAR = 4, 40
_EIGHTHS = " ▏▎▍▌▋▊▉"
Level = tuple[float, float]


class DepthView:
    """Takes a symbol's ticks and renders the last one. Narrower terminals get no bars, then no names of levels."""

    def __init__(self, symbol: str, stream: TickStream | None = None, *, red_up: bool = False) -> None:
        """With a stream the last line is its state."""
        self._symbol = symbol
        self._stream = stream
        self._styles = {1: UP_STYLE, -1: DOWN_STYLE, 0: ""}
        if red_up:
            self._styles = {1: DOWN_STYLE, -1: UP_STYLE, 0: ""}
        self._tick: pb.Tick | None = None
        self._direction = 0

    def add(self, tick: pb.Tick) -> None:
        """Take a tick of the symbol."""
        if self._tick is not None:
            before = self._tick.last_price
            self._direction = (tick.last_price > before) - (tick.last_price < before) or self._direction
        self._tick = tick

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render asks from the fifth to the best, the last trade, then bids."""
        if self._tick is None:
            yield Text(f"{self._symbol}: no tick yet", style="dim")
        else:
            yield from self._ladder(self._tick, options)
        if self._stream is not None:
            yield state_line(self._stream)

    def _ladder(self, tick: pb.Tick, options: ConsoleOptions) -> RenderResult:
        asks = _levels(tick.ask_prices, tick.ask_quantities)
        bids = _levels(tick.bid_prices, tick.bid_quantities)
        texts = [(number(price), number(quantity)) for price, quantity in (*asks, *bids)]
        last = number(tick.last_price)
        price_width = max((len(price) for price, _ in texts), default=0)
        price_width = max(price_width, len(last))
        quantity_width = max((len(quantity) for _, quantity in texts), default=0)
        most = max((quantity for _, quantity in (*asks, *bids)), default=0.0)
        narrow = price_width + quantity_width + 2
        names = narrow + 7 <= options.max_width
        bar_width = min(options.max_width - narrow - 9, _LONGEST_BAR)

        def line(side: str, level: int, known: Sequence[Level], style: str) -> Text:
            text = Text(f"{side} {level + 1}  " if names else "", style="dim", no_wrap=True, overflow="crop")
            if level >= len(known):
                return text.append(f"{'–':>{price_width}}")
            price, quantity = known[level]
            text.append(f"{number(price):>{price_width}}", style="not dim bold" if level == 0 else "not dim")
            text.append(f"  {number(quantity):>{quantity_width}}", style="not dim")
            if bar_width >= _SHORTEST_BAR and most:
                text.append(f"  {_bar(quantity / most, bar_width, options.ascii_only)}", style=f"not dim {style}")
            return text

        yield self._title(tick)
        for level in reversed(range(LEVELS)):
            yield line("ask", level, asks, self._styles[-1])
        yield self._middle(tick, last, price_width, bids, asks, names)
        for level in range(LEVELS):
            yield line("bid", level, bids, self._styles[1])

    def _title(self, tick: pb.Tick) -> Text:
        title = Text(self._symbol, style="bold", no_wrap=True, overflow="ellipsis")
        title.append(f"  {clock_text(tick.time_ns)}", style="not bold")
        if tick.pre_close_price:
            change = tick.last_price / tick.pre_close_price - 1
            title.append(f"  {change:+.2%}", style=f"not bold {self._styles[(change > 0) - (change < 0)]}")
        return title.append(f"  volume {number(tick.volume)}", style="not bold")

    def _middle(
        self, tick: pb.Tick, last: str, width: int, bids: Sequence[Level], asks: Sequence[Level], names: bool
    ) -> Text:
        style = self._styles[self._direction]
        text = Text("last   " if names else "", style="dim", no_wrap=True, overflow="ellipsis")
        text.append(f"{last:>{width}}", style=f"not dim bold {style}")
        text.append({1: " ▲", -1: " ▼", 0: "  "}[self._direction], style=f"not dim {style}")
        if tick.last_quantity:
            text.append(f" × {number(tick.last_quantity)}", style="not dim")
        if bids and asks:
            spread = asks[0][0] - bids[0][0]
            middle = (asks[0][0] + bids[0][0]) / 2
            text.append(f"   spread {number(spread)}", style="not dim")
            if middle:
                text.append(f" ({spread / middle:.2%})", style="not dim")
        return text


def _levels(prices: Sequence[float], quantities: Sequence[float]) -> list[Level]:
    return list(zip(prices, quantities, strict=False))[:LEVELS]


def _bar(part: float, width: int, ascii_only: bool) -> str:
    """A bar of this part of the width; whole characters where eighths of one cannot be shown."""
    if ascii_only:
        return "#" * max(round(part * width), 1 if part else 0)
    whole, eighths = divmod(max(round(part * width * 8), 1 if part else 0), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")
