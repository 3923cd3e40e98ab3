"""`redfire admin` for keys that sign: of services, rotated; of whatever kind, removed."""

import asyncio
import json
from pathlib import Path

import click

from services import registry
from services.commands.data_folder import data_dir_option, open_private
from services.commands.recording_acts import record_in
from services.kernel.audit.operator import commanded
from services.kernel.errors import StartError
from services.kernel.identity.service_keys import OwnKeys
from services.kernel.runtime import settings

_config = click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command("rotate-service-keys")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@_as_json
@_config
@data_dir_option
def rotate_service_keys(services: tuple[str, ...], data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Let services sign their calls with new keys: those named, or all that have keys here."""
    own, loaded = _opened(data_dir, config)
    with commanded("redfire admin rotate-service-keys", "service-keys") as draft:
        done = {name: own.of(name).rotate() for name in services or own.names()}
        own.refresh()
        draft.after = {name: one.kid for name, one in done.items()}
        asyncio.run(record_in(loaded, data_dir, "auth"))
    if as_json:
        rows = {name: {"kid": one.kid, "signs_from": one.signs_from.isoformat()} for name, one in done.items()}
        click.echo(json.dumps(rows))
        return
    for name, one in done.items():
        click.echo(f"{name}: key {one.kid} signs from {one.signs_from:%H:%M:%S} UTC on")


@click.command("remove-key")
@click.argument("kid")
@_as_json
@_config
@data_dir_option
def remove_key(kid: str, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Have nobody believe what the key KID signed, within a second: it fell into wrong hands.

    A key of access tokens, or of a service. Users whose tokens it signed log in again.
    """
    from services.auth.key_ring import KeyRing
    from services.auth.settings import AuthSettings

    own, loaded = _opened(data_dir, config)
    with commanded("redfire admin remove-key", f"keys/{kid}") as draft:
        removed = [name for name in own.names() if own.of(name).remove(kid)]
        own.refresh()
        if KeyRing(loaded.of(AuthSettings).keys_dir or data_dir / "auth" / "keys").remove(kid):
            removed.append("auth's access tokens")
        if not removed:
            raise StartError(f"key {kid}: there is none here")
        draft.before = {"of": removed}
        asyncio.run(record_in(loaded, data_dir, "auth"))
    click.echo(json.dumps({"kid": kid, "removed": removed}) if as_json else f"key {kid} of {removed[0]} removed")


def _opened(data_dir: Path, config: Path | None) -> tuple[OwnKeys, settings.Settings]:
    from services.kernel.runtime.host import service_tokens

    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    open_private(data_dir)
    loaded = settings.load(registry.sections(), config, defaults={"platform": {"data_dir": data_dir}})
    return service_tokens(loaded).own, loaded
