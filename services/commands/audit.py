"""`redfire audit`: the record of every act, verified, listed, exported; and its heads, to be kept elsewhere."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from services import registry
from services.commands.click_command import BadInput
from services.commands.data_folder import data_dir_option
from services.commands.migrate import database_of, services_with_database
from services.commands.terminal_tables import TITLED, wide_console
from services.kernel.audit_trail.checkpoint import Heads, heads_of, heads_to_json, pin_file, present_heads, read_pin
from services.kernel.audit_trail.listing import Entry, Filter, export, list_page
from services.kernel.audit_trail.signing import FOLDER, trusted_keys
from services.kernel.audit_trail.verification import Report
from services.kernel.audit_trail.verification import verify as verify_database
from services.kernel.data.database import Database
from services.kernel.errors import StartError
from services.kernel.runtime import settings
from services.kernel.runtime.kernel_sections import AuditSettings, PlatformSettings
from services.kernel.runtime.settings import Settings

_ACTOR = ("session_id", "api_key_id", "service", "client_address")


@click.group()
def audit() -> None:
    """The record of who did what: chained by hashes, so that no record can be changed or taken out unseen.

    It is read in the services' databases, whether the platform runs or not.
    """


def _options(function: Any) -> Any:
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
    function = click.option("--service", help="Only the records in the database of this service.")(function)
    function = click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")(function)
    return data_dir_option(function)


def _filters(function: Any) -> Any:
    function = click.option("--until", metavar="TIME", help="Only before this time.")(function)
    function = click.option("--since", metavar="TIME", help="Only from this time on: 2026-11-30T17:00:00Z.")(function)
    function = click.option("--outcome", help="Only with this gRPC code: OK, PERMISSION_DENIED, …")(function)
    function = click.option("--method", help="Only this RPC or command: CreateOrder, or 'redfire admin set-role'.")(
        function
    )
    return click.option("--user", metavar="USER_ID", help="Only by this user.")(function)


@audit.command()
@click.option(
    "--pin", "pins", type=click.Path(path_type=Path), multiple=True,
    help="A file with heads that `redfire audit head --json` printed: the records must still hold them.",
)  # fmt: skip
@click.option(
    "--keys", type=click.Path(path_type=Path), multiple=True,
    help="A folder of public keys that sign checkpoints, besides the data folder's.",
)  # fmt: skip
@_options
def verify(
    pins: tuple[Path, ...],
    keys: tuple[Path, ...],
    data_dir: Path,
    config: Path | None,
    service: str | None,
    as_json: bool,
) -> None:
    """Verify all records. Exit code 1 and the first broken one of each chain where something was changed."""
    loaded = _loaded(data_dir, config)
    reports = asyncio.run(_verify(loaded, service, [_read_pins(file) for file in pins], keys))
    is_well = not any(report.broken for report in reports.values())
    if as_json:
        click.echo(json.dumps({"verified": is_well, "services": {n: _report(r) for n, r in reports.items()}}, indent=2))
    else:
        for name, report in reports.items():
            _print_report(name, report)
    if not is_well:
        sys.exit(1)


@audit.command("list")
@_filters
@click.option("--page-size", type=click.IntRange(1, 1000), default=50, show_default=True, help="Records of a page.")
@click.option("--page-token", default="", help="The token that the page before ended with.")
@_options
def list_(
    page_size: int,
    page_token: str,
    data_dir: Path,
    config: Path | None,
    service: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """List records, newest first."""
    loaded, wanted = _loaded(data_dir, config), _wanted(**filters)

    async def read() -> tuple[list[Entry], str]:
        async with _databases(loaded, service) as databases:
            return await list_page(list(databases.items()), wanted, page_size, page_token)

    entries, token = asyncio.run(read())
    if as_json:
        click.echo(json.dumps({"records": [_document(e) for e in entries], "next_page_token": token}, indent=2))
        return
    _print_table(entries)
    if token:
        click.echo(f"more: --page-token {token}")


@audit.command("export")
@_filters
@_options
def export_(data_dir: Path, config: Path | None, service: str | None, as_json: bool, **filters: Any) -> None:
    """Write all records to standard output, one JSON object a line, with hashes; oldest first, by service."""
    loaded, wanted = _loaded(data_dir, config), _wanted(**filters)

    async def write() -> None:
        async with _databases(loaded, service) as databases:
            for name, database in databases.items():
                async for entry in export(name, database, wanted):
                    sys.stdout.write(json.dumps(_document(entry)) + "\n")

    asyncio.run(write())


@audit.command()
@_options
def head(data_dir: Path, config: Path | None, service: str | None, as_json: bool) -> None:
    """Print the last hash of each chain, to be kept where nobody who changes the databases can change it."""
    loaded = _loaded(data_dir, config)

    async def read() -> dict[str, Heads]:
        async with _databases(loaded, service) as databases:
            return {name: await present_heads(database) for name, database in databases.items()}

    heads = asyncio.run(read())
    if as_json:
        click.echo(json.dumps({name: heads_to_json(chains) for name, chains in heads.items()}, indent=2))
        return
    for name, chains in heads.items():
        for chain, last in chains.items():
            click.echo(f"{name:9} {chain:36} {last.sequence:>9} {last.hash.hex()}")


def _loaded(data_dir: Path, config: Path | None) -> Settings:
    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    return settings.load(registry.sections(), config, defaults={"platform": {"data_dir": data_dir}})


@asynccontextmanager
async def _databases(loaded: Settings, service: str | None) -> AsyncIterator[dict[str, Database]]:
    """The databases that are there."""
    names = services_with_database()
    if service is not None and service not in names:
        raise BadInput(f"no service with a database: {service}; there are {', '.join(names)}")
    async with AsyncExitStack() as stack:
        databases: dict[str, Database] = {}
        for name in [service] if service else names:
            database = database_of(loaded, name)
            stack.push_async_callback(database.close)
            if problems := await database.check():
                if problems != ["it does not exist"]:
                    raise StartError(f"database {database.name}: {problems[0]}; run redfire migrate")
                continue
            databases[name] = database
        yield databases


async def _verify(
    loaded: Settings, service: str | None, pinned: list[Mapping[str, Heads]], key_folders: tuple[Path, ...]
) -> dict[str, Report]:
    folder = loaded.of(PlatformSettings).data_dir / FOLDER
    keys = trusted_keys(folder)
    if (file := loaded.of(AuditSettings).signing_key_file) is not None:
        keys |= trusted_keys(file.parent)
    for more in key_folders:
        keys |= trusted_keys(more)
    async with _databases(loaded, service) as databases:
        reports = {}
        for name, database in databases.items():
            pins = [read_pin(pin_file(folder, name)), *(one[name] for one in pinned if name in one)]
            reports[name] = await verify_database(database, keys, pins)
        return reports


def _read_pins(file: Path) -> Mapping[str, Heads]:
    try:
        return {name: heads_of(chains) for name, chains in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        raise BadInput(f"{file}: not what redfire audit head --json printed") from None


def _wanted(user: str | None, method: str | None, outcome: str | None, since: str | None, until: str | None) -> Filter:
    return Filter(user or "", method or "", (outcome or "").upper(), _time_ns(since), _time_ns(until))


def _time_ns(text: str | None) -> int:
    if text is None:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text}: no time such as 2026-11-30T17:00:00Z") from None
    return int((time if time.tzinfo else time.astimezone()).timestamp() * 1_000_000) * 1000


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _document(entry: Entry) -> dict[str, Any]:
    details = dict(entry.details)
    actor = {"user_id": entry.user_id}
    actor |= {
        key: details.pop(key) for key in ("session_id", "api_key_id", "service", "client_address") if key in details
    }
    document = {
        "sequence": entry.sequence, "time": _time(entry.time_ns), "actor": actor, "method": entry.method,
        "outcome": entry.outcome, **details, "previous_hash": entry.previous_hash, "hash": entry.hash,
        "database": entry.service, "chain": entry.chain,
    }  # fmt: skip
    return document | ({"signature": entry.signature} if entry.signature else {})


def _print_table(entries: list[Entry]) -> None:
    table = Table(**TITLED)
    for column in ("time", "actor", "method", "resource", "outcome", "reason"):
        table.add_column(column)
    for entry in entries:
        details = entry.details
        actor = entry.user_id or details.get("service") or details.get("client_address") or ""
        method = entry.method.rpartition("/")[2]
        table.add_row(
            _time(entry.time_ns), actor, method, details.get("resource", ""), entry.outcome, details.get("reason", "")
        )
    wide_console().print(table)


def _report(report: Report) -> dict[str, Any]:
    return {
        "records": report.records, "chains": report.chains, "checkpoints": report.checkpoints,
        "since_checkpoint": report.since_checkpoint,
        "broken": [{"chain": one.chain, "sequence": one.sequence, "reason": one.reason} for one in report.broken],
    }  # fmt: skip


def _print_report(name: str, report: Report) -> None:
    for one in report.broken:
        click.echo(f"{name:9} broken: record {one.sequence} of chain {one.chain}: {one.reason}", err=True)
    if not report.broken:
        click.echo(
            f"{name:9} {report.records} records verified, {report.checkpoints} checkpoints, "
            f"{report.since_checkpoint} records since the last"
        )
