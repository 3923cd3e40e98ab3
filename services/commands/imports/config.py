"""`redfire config import`: a tree of configuration files into an environment of the config service."""

import asyncio
import json
import sys
from pathlib import Path

import click

from services.commands.click_command import Command
from services.commands.data_folder import open_private
from services.commands.imports.config_tree import Tree, read_tree
from services.commands.imports.platform import import_settings
from services.commands.imports.secrets import FoundSecrets
from services.commands.market.edge_client import EdgeClient
from services.commands.market.options import edge_options

INCOMPLETE = 3
_SHOWN = 20


@click.group()
def config() -> None:
    """Configuration of the platform's services."""


@config.command("import", cls=Command)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--apply", is_flag=True, help="Do it; without it only what would be done is shown.")
@click.option("--environment", default="development", show_default=True, help="The environment to import into.")
@click.option("--service", help="The service of all values; by default folders and names of files say it.")
@edge_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def import_(
    path: Path,
    apply: bool,
    environment: str,
    service: str | None,
    data_dir: Path,
    edge: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Bring YAML, JSON, .env and INI files of PATH, a file or a folder, into the running platform's config.

    The first folder, or the file's name, is the service; the names inside are the key, with dots between them
    (risk/limits.yaml with `orders: {max: 5}` is risk's `limits.orders.max`). Passwords and keys go into the folder
    `secrets` of the data folder, and a reference to them into config. All or nothing; it may be repeated. What is in
    config and not in the files stays. Exit code 3 where config has something else afterwards.
    """
    tree, secrets = read_tree(path, service), FoundSecrets()
    document = {
        name: {key: secrets.take(value, key, f"{name}.{key}") for key, value in sorted(values.items())}
        for name, values in sorted(tree.document.items())
    }
    client = EdgeClient(data_dir, edge, token)
    if apply:
        open_private(data_dir)
        secrets.write(data_dir)

    async def run() -> list[str]:
        async with client:
            return await import_settings(client, environment, document, apply=apply)

    keys = asyncio.run(run())
    if as_json:
        report = {
            "applied": apply,
            "environment": environment,
            "files": tree.files,
            "values": sum(map(len, document.values())),
            "differing" if apply else "would_change": keys,
            "secrets": secrets.names,
            "not_read": tree.not_read,
        }
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _print(tree, document, secrets.names, keys, environment, data_dir, apply=apply)
    if apply and keys:
        sys.exit(INCOMPLETE)


def _print(
    tree: Tree,
    document: dict[str, dict[str, object]],
    secrets: list[str],
    keys: list[str],
    environment: str,
    data_dir: Path,
    *,
    apply: bool,
) -> None:
    values = sum(map(len, document.values()))
    click.echo(f"{tree.files} files, {values} values of {', '.join(document)}, environment {environment}")
    if secrets:
        click.echo(f"{len(secrets)} secrets in {data_dir / 'secrets'}: {', '.join(secrets)}")
    what = "not as in the files" if apply else "would be set or changed"
    click.echo(f"{len(keys)} {what}" + ("" if apply else "; --apply does it"))
    for key in keys[:_SHOWN]:
        name, _, inner = key.partition(".")
        click.echo(f"  {key}  ({tree.sources[name, inner]})")
    if len(keys) > _SHOWN:
        click.echo(f"  and {len(keys) - _SHOWN} more")
    for sentence in tree.not_read:
        click.echo(f"not read: {sentence}")
