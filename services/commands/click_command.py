"""Commands whose bad input is answered by one line and exit code 2, and that say how far they are on a terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from services.kernel.printable import printable
from services.quant.backtest.job import BacktestError

Fraction = Callable[[float], None]


class BadInput(click.ClickException):
    """Arguments that cannot be; the message is one line."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """One line, as all of the command's."""
        click.echo(f"redfire: {printable(' '.join(self.format_message().split()))}", file=file, err=file is None)


class Failure(BadInput):
    """A command that was right, and failed; the message is one line."""

    exit_code = 1


class Command(click.Command):
    """A command that says what is wrong with its arguments in one line.

    `--param a=1 b=2` means `--param a=1 --param b=2` for the options that are named in `pairs`.
    """

    def __init__(self, *args: Any, pairs: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pairs = pairs

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Raises: BadInput."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise BadInput(error.format_message()) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The same, with every pair by an option of its own."""
        spread: list[str] = []
        option = ""
        for arg in args:
            if arg in self._pairs:
                option = arg
            elif arg.startswith("-") or not _is_pair(arg):
                option = "" if not spread or spread[-1] != option else option
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(arg)
        return super().parse_args(ctx, spread)

    def invoke(self, ctx: click.Context) -> Any:
        """Raises: BadInput for what cannot be run or read as asked."""
        try:
            return super().invoke(ctx)
        except BacktestError as error:
            raise BadInput(str(error)) from None


def _is_pair(arg: str) -> bool:
    """Return whether it is `name=value`, and not `CLASS:name=value`."""
    name, sign, _ = arg.partition("=")
    return bool(sign) and ":" not in name


def named_values(pairs: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` of a repeated option. Raises: BadInput."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise BadInput(f"{option} {pair!r} is not of the form name=value")
        values[name.strip()] = value.strip()
    return values


def required_symbol(symbol: str | None) -> str:
    """The symbol. Raises: BadInput where there is none."""
    if not symbol:
        raise BadInput("--symbol is missing: say which contract the data are of, for instance --symbol rb888.SHFE")
    return symbol


def column_names(pairs: Sequence[str]) -> dict[str, str]:
    """`--columns close=c volume=v`, or in one word `--columns close=c,volume=v`. Raises: BadInput."""
    spread = (pair.split(",") if pair.count("=") > 1 else [pair] for pair in pairs)
    return named_values([part for parts in spread for part in parts], "--columns")


@contextmanager
def progress_bar(text: str) -> Iterator[Fraction | None]:
    """A bar on the error stream; its caller passes the part done, from 0 to 1. None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=1.0)
        yield lambda fraction: progress.update(task, completed=fraction)
