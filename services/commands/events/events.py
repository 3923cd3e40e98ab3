"""`redfire events dead-letters`: what services could not take, listed, tried again, or given up."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict

from services import registry
from services.commands.click_command import BadInput, Failure
from services.commands.data_folder import data_dir_option
from services.commands.migrate import database_of, services_with_database
from services.kernel.audit.operator import commanded
from services.kernel.errors import StartError
from services.kernel.events.contract import UnreadableEvent, read_event
from services.kernel.events.dead_letters import DeadLetter, DeadLetters
from services.kernel.runtime import settings

Act = Any  # DeadLetters.retry or .drop
SHOWN_ERROR = 80


@click.group()
def events() -> None:
    """Events between services."""


@events.group("dead-letters")
def dead_letters() -> None:
    """Events that a service could not apply or read: list them, try them again, give them up.

    They are kept in the services' databases, and nothing waits for them. A running platform takes a change within
    seconds.
    """


def _options(function: Any) -> Any:
    function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
    function = click.option("--routing-key", metavar="PATTERN", help="Only these: user.registered, or user.*")(function)
    function = click.option("--service", "service", help="Only those of this service.")(function)
    function = click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")(function)
    return data_dir_option(function)


@dead_letters.command("list")
@_options
def list_(data_dir: Path, config: Path | None, service: str | None, routing_key: str | None, as_json: bool) -> None:
    """List them, oldest first."""
    letters = asyncio.run(_act(data_dir, config, service, routing_key, (), None))
    if as_json:
        click.echo(json.dumps([_document(letter) for letter in letters], indent=2, ensure_ascii=False))
    elif letters:
        _print_table(letters)
    else:
        click.echo("no dead letters")


def _choice(function: Any) -> Any:
    function = click.option("--all", "take_all", is_flag=True, help="All that the other options leave.")(function)
    return click.argument("event_ids", nargs=-1, metavar="[EVENT_ID...]")(_options(function))


@dead_letters.command()
@_choice
def retry(**options: Any) -> None:
    """Have the named ones, or all, applied once more. Exit code 1 where one is not there."""
    _change(DeadLetters.retry, "retried", "to be tried again", **options)


@dead_letters.command()
@_choice
def drop(**options: Any) -> None:
    """Give up the named ones, or all. Exit code 1 where one is not there."""
    _change(DeadLetters.drop, "dropped", "dropped", **options)


def _change(
    act: Act,
    key: str,
    done: str,
    event_ids: tuple[str, ...],
    take_all: bool,
    data_dir: Path,
    config: Path | None,
    service: str | None,
    routing_key: str | None,
    as_json: bool,
) -> None:
    if bool(event_ids) == take_all:
        raise BadInput("say which: EVENT_ID…, or --all")
    letters = asyncio.run(_act(data_dir, config, service, routing_key, event_ids, act))
    click.echo(json.dumps({key: len(letters)}) if as_json else f"{len(letters)} {done}")


async def _act(
    data_dir: Path,
    config: Path | None,
    service: str | None,
    routing_key: str | None,
    event_ids: Sequence[str],
    act: Act | None,
) -> list[DeadLetter]:
    """Do it to the letters that are meant; returns them."""
    chosen: list[DeadLetter] = []
    async with AsyncExitStack() as stack:
        boxes = [await stack.enter_async_context(box) for box in _boxes(data_dir, config, service)]
        boxes = [
            (box, [one for one in await box.list_all() if _is_meant(one, routing_key, event_ids)])
            for box in boxes
            if box
        ]
        chosen = [letter for _, letters in boxes for letter in letters]
        if missing := set(event_ids) - {letter.event_id for letter in chosen}:
            raise Failure(f"no such dead letter: {', '.join(sorted(missing))}")
        if not any(boxes):
            raise StartError(f"data folder {data_dir}: no service has a database there")
        for box, letters in boxes:
            if act is not None and letters:
                ids = [letter.event_id for letter in letters]
                with commanded(f"redfire events dead-letters {act.__name__}", "dead-letters", before=ids):
                    await act(box, letters)
    return chosen


def _boxes(data_dir: Path, config: Path | None, service: str | None) -> list[Any]:
    loaded = settings.load(registry.sections(), config, defaults={"platform": {"data_dir": data_dir}})
    stored = services_with_database()
    if service is not None and service not in stored:
        raise BadInput(f"no service with a database: {service}; there are {', '.join(stored)}")
    return [_box(loaded, name) for name in ([service] if service else stored)]


@asynccontextmanager
async def _box(loaded: settings.Settings, service: str) -> AsyncIterator[DeadLetters | None]:
    """A service's dead letters; None where it has no database. Raises StartError for one of another version."""
    models = import_module(f"services.{service}.models")
    outbox, inbox = getattr(models, "OutboxRow", None), getattr(models, "InboxRow", None)
    if outbox is None and inbox is None:
        yield None
        return
    database = database_of(loaded, service)
    try:
        problems = await database.check()
        if problems and problems != ["it does not exist"]:
            raise StartError(f"database {database.name}: {'; '.join(problems)}")
        yield None if problems else DeadLetters(service, database, outbox, inbox)
    finally:
        await database.close()


def _is_meant(letter: DeadLetter, routing_key: str | None, event_ids: Sequence[str]) -> bool:
    if event_ids and letter.event_id not in event_ids:
        return False
    return routing_key is None or fnmatchcase(letter.routing_key, routing_key)


def _document(letter: DeadLetter) -> dict[str, Any]:
    document: dict[str, Any] = {
        "service": letter.service,
        "box": letter.box,
        "event_id": letter.event_id,
        "routing_key": letter.routing_key,
        "aggregate_id": letter.aggregate_id,
        "attempts": letter.attempts,
        "error": letter.error,
        "accept_time": None if letter.accept_time is None else letter.accept_time.isoformat(),
    }
    try:
        document["event"] = MessageToDict(read_event(letter.body))
    except UnreadableEvent:
        document["body_base64"] = base64.b64encode(letter.body).decode()
    return document


def _print_table(letters: Sequence[DeadLetter]) -> None:
    from rich.table import Table

    from services.commands.terminal_tables import TITLED, wide_console

    table = Table(**TITLED)
    for title in ("accepted", "service", "box", "routing key", "event", "attempts", "error"):
        table.add_column(title)
    for letter in letters:
        time = "" if letter.accept_time is None else f"{letter.accept_time:%Y-%m-%d %H:%M:%S}"
        shown = (time, letter.service, letter.box, letter.routing_key, letter.event_id, str(letter.attempts))
        table.add_row(*shown, letter.error[:SHOWN_ERROR])
    wide_console().print(table)
