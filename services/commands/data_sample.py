"""`redfire data sample`: a recording of SIM's random market, for users who have no recorded data at hand."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.commands.click_command import BadInput, Command, progress_bar
from services.commands.recording_file import BAR_COLUMNS, LEVELS, TICK_COLUMNS, recording_file

if TYPE_CHECKING:
    from services.engine.feeds.quote import Quote
    from services.engine.feeds.simulated import SimMarket

_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
_STEPS_PER_BAR = 20


@click.command(cls=Command)
@click.argument("symbol")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice(["bars", "ticks"]), default="bars", show_default=True)
@click.option("--interval", type=click.Choice(list(_SECONDS)), default="5m", show_default=True, help="Of bars.")
@click.option("--from", "start", default="2025-01-02", show_default=True, help="The first trading day, YYYY-MM-DD.")
@click.option("--days", type=click.IntRange(1, 5000), default=20, show_default=True, help="How many trading days.")
@click.option(
    "--ticks-per-second", type=click.FloatRange(0.01, 100), default=2.0, show_default=True, help="How often ticks come."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the random market.")
def sample(
    symbol: str, file: Path, kind: str, interval: str, start: str, days: int, ticks_per_second: float, seed: int
) -> None:
    """Write FILE (CSV; gzipped when its name ends with .gz): the random market of SYMBOL, in its exchange's hours.

    Bars have the time of their start; ticks have vnpy's column names, so that `--feed replay:FILE` plays them.
    """
    from services.engine.feeds.simulated import SimMarket
    from services.quant.calendar import Calendar, SessionKind
    from services.quant.catalogue import Catalogue

    instrument = Catalogue.load().find(symbol)
    if instrument is None:
        raise BadInput(f"{symbol}: no such instrument, and no product whose rules it would follow")
    calendar = Calendar.load()
    trading_days = _trading_days(calendar, instrument.exchange, start, days)
    market = SimMarket(instrument, seed)
    columns = TICK_COLUMNS if kind == "ticks" else BAR_COLUMNS
    rows = 0
    with progress_bar(f"writing {file.name}") as bar, recording_file(file, columns, force=True) as writer:
        for place, day in enumerate(trading_days):
            sessions = [
                (s.start_ns, s.end_ns) for s in calendar.sessions_of(symbol, day) if s.kind is SessionKind.CONTINUOUS
            ]
            made = (
                _ticks(market, day, sessions, ticks_per_second, instrument.code, instrument.exchange)
                if kind == "ticks"
                else _bars(market, day, sessions, _SECONDS[interval])
            )
            rows += writer.write(made)
            if bar:
                bar((place + 1) / len(trading_days))
    what = "ticks" if kind == "ticks" else f"{interval} bars"
    click.echo(f"{file}: {rows:,} {what} of {symbol}, trading days {trading_days[0]} to {trading_days[-1]}")


def _trading_days(calendar: Any, exchange: str, start: str, days: int) -> list[int]:
    try:
        first = date.fromisoformat(start)
    except ValueError:
        raise BadInput(f"--from {start!r} is not a date like 2025-01-02") from None
    day = first.year * 10_000 + first.month * 100 + first.day
    if not calendar.is_trading_day(exchange, day):
        day = calendar.next_trading_day(exchange, day)
    trading_days = [day]
    while len(trading_days) < days:
        trading_days.append(calendar.next_trading_day(exchange, trading_days[-1]))
    return trading_days


def _bars(market: "SimMarket", day: int, sessions: list[tuple[int, int]], seconds: int) -> Iterator[tuple[Any, ...]]:
    step_ns, length_ns = seconds * 1_000_000_000 // _STEPS_PER_BAR, seconds * 1_000_000_000
    before: Quote | None = None
    for start_ns, end_ns in sessions:
        for bar_ns in range(start_ns, end_ns, length_ns):
            until_ns = min(bar_ns + length_ns, end_ns)
            quotes = [market.step(step_ns / 1e9, ns, day) for ns in range(bar_ns, until_ns, step_ns)]
            prices = [quote.last_price for quote in quotes]
            last = quotes[-1]
            volume, turnover = (before.volume, before.turnover) if before is not None else (0.0, 0.0)
            before = last
            yield (
                bar_ns, prices[0], max(prices), min(prices), prices[-1], last.volume - volume,
                round(last.turnover - turnover, 2), last.open_interest,
            )  # fmt: skip


def _ticks(
    market: "SimMarket", day: int, sessions: list[tuple[int, int]], rate: float, code: str, exchange: str
) -> Iterator[tuple[Any, ...]]:
    step_ns = int(1e9 / rate)
    for start_ns, end_ns in sessions:
        for ns in range(start_ns, end_ns, step_ns):
            quote = market.step(1 / rate, ns, day)
            levels: list[float] = []
            for n in range(LEVELS):
                for side in (quote.bids, quote.asks):
                    levels += side[n] if n < len(side) else (0.0, 0.0)
            yield (
                ns, code, exchange, quote.last_price, quote.last_quantity, quote.volume, quote.turnover,
                quote.open_interest, quote.open_price, quote.high_price, quote.low_price, quote.pre_close_price,
                quote.limit_up, quote.limit_down, day, *levels,
            )  # fmt: skip
