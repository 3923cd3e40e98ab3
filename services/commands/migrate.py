"""`redfire migrate`: services' databases brought to this version, or only compared with it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from services import registry
from services.commands.data_folder import data_dir_option, open_private
from services.kernel.data.database import Database
from services.kernel.errors import StartError
from services.kernel.runtime import settings
from services.kernel.runtime.kernel_sections import PlatformSettings
from services.kernel.runtime.resources import open_database
from services.kernel.runtime.settings import Settings


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE...]")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 where a database is not this version's.")
@click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@data_dir_option
def migrate(services: tuple[str, ...], check: bool, config: Path | None, as_json: bool, data_dir: Path) -> None:
    """Bring the databases of all services, or of the named ones, to this version; make those that are missing.

    Each is one transaction: killed at any moment, the next run goes on. Two runs at once wait for each other.
    """
    loaded = settings.load(registry.sections(), config, defaults={"platform": {"data_dir": data_dir}})
    stored = services_with_database()
    if unknown := [name for name in services if name not in stored]:
        raise StartError(f"no service with a database: {', '.join(unknown)}; there are {', '.join(stored)}")
    if not check:
        open_private(loaded.of(PlatformSettings).data_dir)
    if not asyncio.run(_run(loaded, services or stored, check, as_json)):
        sys.exit(1)


def services_with_database() -> list[str]:
    """Names of the services that have tables."""
    return [name for name in registry.SERVICES if find_spec(f"services.{name}.models")]


def database_of(loaded: Settings, service: str) -> Database:
    """A service's database, where the settings say that it is."""
    return open_database(loaded, service, import_module(f"services.{service}.models").Base)


async def _run(loaded: Settings, services: Sequence[str], check: bool, as_json: bool) -> bool:
    """Do it for all, one after the other; whether all is well."""
    is_well = True
    for service in services:
        database = database_of(loaded, service)
        try:
            if check:
                problems = await database.check(thorough=True)
            else:
                problems, done = [], await database.migrate()
        except StartError as error:
            problems = [str(error)]
        finally:
            await database.close()
        is_well = is_well and not problems
        outcome = "; ".join(problems) or (f"at {database.schema.head}" if check or not done else done)
        if as_json:
            line = json.dumps({"service": service, "database": database.name, "ok": not problems, "outcome": outcome})
            click.echo(line)
        else:
            click.echo(f"{service:9} {outcome}", err=bool(problems))
    return is_well
