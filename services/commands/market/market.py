"""`redfire market`: live ticks into a file, and recorded ticks and bars into a file."""

import click

from services.commands.market.export import export
from services.commands.market.record import record


@click.group()
def market() -> None:
    """Record live ticks, export recorded ticks and bars: through the edge, into files that imports and replays read."""


market.add_command(record)
market.add_command(export)
