"""`redfire strategy-worker`: started by the strategy service, not by people."""

import click


@click.command(hidden=True, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def strategy_worker(arguments: tuple[str, ...]) -> None:
    """Run strategies as a client of market and trading."""
    from services.strategy.runner.main import main

    main(*arguments)
