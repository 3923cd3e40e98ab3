"""`redfire admin`: what an operator does on a data folder, whether the platform runs or not."""

import asyncio
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from services import registry
from services.commands.admin_keys import remove_key, rotate_service_keys
from services.commands.data_folder import data_dir_option, open_private
from services.commands.recording_acts import record_in
from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.audit.operator import commanded
from services.kernel.errors import StartError
from services.kernel.identity.identity import ROLE_PERMISSIONS
from services.kernel.runtime import settings

ROLES = click.Choice(sorted(ROLE_PERMISSIONS))


@click.group()
def admin() -> None:
    """Make users, set roles, reset passwords, rotate keys: on the data folder itself, without a token.

    A running platform takes the change within a second.
    """


admin.add_command(rotate_service_keys)
admin.add_command(remove_key)


def _options(function: Any) -> Any:
    function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
    function = click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")(function)
    return data_dir_option(function)


@admin.command("create-user")
@click.argument("username")
@click.option("--email", required=True, help="The e-mail address.")
@click.option("--role", type=ROLES, default="trader", show_default=True, help="The role.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; by default one is made.")
@_options
def create_user(
    username: str, email: str, role: str, password_stdin: bool, data_dir: Path, config: Path | None, as_json: bool
) -> None:
    """Make the user USERNAME."""
    password = _password(password_stdin)
    with commanded("redfire admin create-user", f"users/{username}", after={"email": email, "role": role}):
        user = _act(data_dir, config, lambda users: users.create_user(username, email, password, role))
    _print_user(as_json, f"user {user.username} ({role}) made", user, None if password_stdin else password, data_dir)


@admin.command("set-role")
@click.argument("username")
@click.argument("role", type=ROLES)
@_options
def set_role(username: str, role: str, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Give USERNAME the role ROLE; the user's sessions end."""
    with commanded("redfire admin set-role", f"users/{username}", after={"role": role}):
        user = _act(data_dir, config, lambda users: users.set_role(username, role))
    _print_user(as_json, f"user {user.username} is {role}", user)


@admin.command("reset-password")
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; by default one is made.")
@_options
def reset_password(username: str, password_stdin: bool, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Give USERNAME another password; the user's sessions and API keys end."""
    password = _password(password_stdin)
    with commanded("redfire admin reset-password", f"users/{username}"):
        user = _act(data_dir, config, lambda users: users.reset_password(username, password))
    _print_user(as_json, f"password of {user.username} reset", user, None if password_stdin else password, data_dir)


@admin.command("recover-user")
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; by default one is made.")
@_options
def recover_user(username: str, password_stdin: bool, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Give USERNAME, who lost the second factor, another password and none of it; sessions and API keys end."""
    password = _password(password_stdin)
    with commanded("redfire admin recover-user", f"users/{username}"):
        user = _act(data_dir, config, lambda users: users.recover(username, password))
    sentence = f"{user.username} has another password and no second factor"
    _print_user(as_json, sentence, user, None if password_stdin else password, data_dir)


@admin.command("verify-email")
@click.argument("username")
@_options
def verify_email(username: str, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Take the e-mail address of USERNAME for verified."""
    with commanded("redfire admin verify-email", f"users/{username}"):
        user = _act(data_dir, config, lambda users: users.verify_email(username))
    _print_user(as_json, f"the address {user.email} of {user.username} is verified", user)


@admin.command("rotate-keys")
@_options
def rotate_keys(data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Sign new tokens with a new key; tokens signed before stay good until they end."""
    from services.auth.key_ring import rotate
    from services.auth.settings import AuthSettings

    loaded, folder = _opened(data_dir, config)
    with commanded("redfire admin rotate-keys", "keys") as draft:
        done = rotate(loaded.of(AuthSettings).keys_dir or folder / "auth" / "keys")
        draft.resource, draft.after = f"keys/{done.kid}", {"signs_from": done.signs_from.isoformat()}
        asyncio.run(record_in(loaded, folder, "auth"))
    if as_json:
        click.echo(json.dumps({"kid": done.kid, "signs_from": done.signs_from.isoformat()}))
    else:
        click.echo(f"key {done.kid} signs new tokens from {done.signs_from:%H:%M:%S} UTC on")


@admin.command("purge-config")
@click.argument("environment")
@click.argument("service_name")
@click.argument("key")
@click.option(
    "--version", "versions", type=click.IntRange(1), multiple=True, help="Only this version; may be repeated."
)
@_options
def purge_config(
    environment: str,
    service_name: str,
    key: str,
    versions: tuple[int, ...],
    data_dir: Path,
    config: Path | None,
    as_json: bool,
) -> None:
    """Erase the earlier values of a configuration's KEY for good, for instance a password that slipped in.

    The present value stays: set or delete it first. That the versions were there, when and by whom, stays too.
    """
    from services.config.admin import purge_config_versions
    from services.config.config import ConfigName

    loaded, folder = _opened(data_dir, config)
    name = ConfigName(environment, service_name, key)
    with commanded("redfire admin purge-config", f"config/{name}", before={"versions": versions or "all before"}):
        count = asyncio.run(purge_config_versions(folder, loaded, name, versions))
    if as_json:
        click.echo(json.dumps({"key": str(name), "purged": count}))
    else:
        click.echo(f"values of {count} version{'' if count == 1 else 's'} of {name} erased")


def _opened(data_dir: Path, config: Path | None) -> tuple[settings.Settings, Path]:
    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    open_private(data_dir)
    return settings.load(registry.sections(), config), data_dir.absolute()


def _act(data_dir: Path, config: Path | None, action: Callable[[Any], Awaitable[Any]]) -> Any:
    from services.user.admin import user_admin

    loaded, folder = _opened(data_dir, config)

    async def act() -> Any:
        async with user_admin(folder, loaded) as users:
            return await action(users)

    return asyncio.run(act())


def _password(from_stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\n") if from_stdin else secrets.token_urlsafe(12)


def _print_user(
    as_json: bool, sentence: str, user: Any, password: str | None = None, data_dir: Path | None = None
) -> None:
    """Print what was done; a password that was made only to a terminal, else it goes into a private file."""
    shown: dict[str, str] = {}
    if password is not None and data_dir is not None:
        # A pipe, a file or a journal may be read by others, and for long.
        if sys.stdout.isatty():
            shown = {"password": password}
        else:
            file = data_dir / f"password-{user.username}"
            write_atomically(file, f"{password}\n".encode(), mode=PRIVATE)
            shown = {"password_file": str(file)}
    if as_json:
        click.echo(json.dumps({"user_id": user.user_id, "username": user.username, "role": user.role, **shown}))
    else:
        click.echo("; ".join([sentence, *(f"{key.replace('_', ' ')}: {value}" for key, value in shown.items())]))
