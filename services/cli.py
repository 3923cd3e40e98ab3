"""The command `redfire`: each subcommand is a file in `services/commands`, imported only when it is called."""

import os
import sys
from importlib import import_module
from keyword import iskeyword

import click

from services.kernel.errors import RedFireError, StartError
from services.kernel.runtime.importing import importing
from services.kernel.version import VERSION

# Read by gRPC when it is imported. We start programs, never fork ourselves; its chatter is not for the terminal.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

COMMANDS = {
    "up": "Start everything on this machine: all services, Envoy, strategy workers.",
    "serve": "Run the named services only.",
    "migrate": "Bring the databases to this version, or check them.",
    "backtest": "Run a strategy on recorded data, here and now.",
    "compare": "Show kept backtests side by side.",
    "optimize": "Look for good parameters of a strategy.",
    "data": "Import recorded market data, list what there is.",
    "import": "Bring a vnpy user's settings, gateways, strategies and data over.",
    "config": "Bring configuration files into the config service.",
    "admin": "Make users, set roles, reset passwords, rotate keys.",
    "audit": "Verify, list or export the record of who did what.",
    "compare-versions": "Compare the answers of two running versions.",
    "verify": "Check that the books add up, across services and the venue.",
    "events": "List, retry or drop events that services could not take.",
    "health": "Say whether the platform is well.",
    "ticks": "Show live ticks as a table.",
    "depth": "Show the best bids and asks of a symbol, live.",
    "market": "Record live ticks, export recorded ticks and bars.",
    "mesh": "Write what the mesh needs from the contract.",
    "version": "Print the version.",
}
# Commands that share files have a folder.
FOLDERS = {
    "backtest": "backtest.backtest", "compare": "backtest.compare", "optimize": "backtest.optimize",
    "ticks": "market.ticks", "depth": "market.depth", "market": "market.market",
    "events": "events.events", "import": "imports.vnpy", "config": "imports.config",
    "verify": "verify.verify", "compare-versions": "compare_versions.compare_versions",
}  # fmt: skip


class _Lazy(click.Group):
    """Imports a subcommand's file when it is needed, so that `redfire --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "version":
            return version
        if cmd_name in COMMANDS:
            with importing():
                module = import_module(f"services.commands.{FOLDERS.get(cmd_name, cmd_name)}")
            name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
            command: click.Command = getattr(module, name)
            return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="redfire")
def cli() -> None:
    """RedFire: a quantitative-trading platform as a gRPC service mesh."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"redfire {VERSION}")


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failed, 2 cannot start or wrong usage, 3 not everything."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StartError as error:
        click.echo(f"redfire: {error}", err=True)
        sys.exit(2)
    except RedFireError as error:
        named = "".join(f"{field}: " for field in error.fields if field not in error.message)
        click.echo(f"redfire: {named}{error.message} ({error.reason})", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
