"""Options that the commands of market data share: where the edge is, for how long, and into which file."""

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from services.commands.data_folder import data_dir_option
from services.commands.recording_file import FORMATS

SHANGHAI = ZoneInfo("Asia/Shanghai")
_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1, "": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|m|s|)")


class Duration(click.ParamType[float]):
    """A span of time in seconds: `90`, `90s`, `15m`, `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        parts = _PART.findall(value)
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
        if "".join(number + unit for number, unit in parts) != value or not 0 < seconds < 1e8:
            self.fail(f"{value!r} is not a time like 90s, 15m or 1h30m", param, ctx)
        return seconds


class Moment(click.ParamType[datetime]):
    """A moment of the exchange's clock, or a date: then the whole day, from its first moment or to its last."""

    name = "moment"

    def __init__(self, *, is_end: bool = False) -> None:
        self._is_end = is_end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return a moment with a time zone."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date like 2026-11-20 nor a moment like '2026-11-20 09:30'", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=SHANGHAI)
        is_date = len(value.strip()) <= 10 and moment.timetz().replace(tzinfo=None) == time.min
        return moment + timedelta(days=1) if self._is_end and is_date else moment


def edge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--data-dir`, `--edge` and `--token`."""
    for option in (
        click.option("--token", envvar="TOKEN", help="An access token; by default the data folder's admin logs in."),
        click.option("--edge", help="The edge's address, host:port; by default the one of the data folder."),
        data_dir_option,
    ):
        function = option(function)
    return function


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--format` and `--force` of a command that writes a file."""
    for option in (
        click.option("--force", is_flag=True, help="Replace the file when it is there."),
        click.option(
            "--format",
            "file_format",
            type=click.Choice(FORMATS),
            help="By default what the file's name ends with: Parquet for .parquet, else CSV (gzipped for .gz).",
        ),
    ):
        function = option(function)
    return function


duration_option = click.option(
    "--duration", "duration_s", type=Duration(), help="End after this time: 90s, 15m, 1h30m; by default Ctrl-C ends it."
)
symbols_argument = click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")


def distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """The symbols in their order, each once."""
    return tuple(dict.fromkeys(symbols))
