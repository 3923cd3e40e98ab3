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
from services.commands.data_folder import data_dir_option, open_private
from services.kernel.errors import StartError
from services.kernel.identity.identity import ROLE_PERMISSIONS
from services.kernel.runtime import settings

ROLES = click.Choice(sorted(ROLE_PERMISSIONS))


@click.group()
def admin() -> None:
    """Make users, set roles, reset passwords, rotate keys: on the data folder itself, without a token.

    A running platform takes the change within a second.
    """


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
    user = _act(data_dir, config, lambda users: users.create_user(username, email, password, role))
    _print_user(as_json, f"user {user.username} ({role}) made", user, None if password_stdin else password)


@admin.command("set-role")
@click.argument("username")
@click.argument("role", type=ROLES)
@_options
def set_role(username: str, role: str, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Give USERNAME the role ROLE; the user's sessions end."""
    user = _act(data_dir, config, lambda users: users.set_role(username, role))
    _print_user(as_json, f"user {user.username} is {role}", user)


@admin.command("reset-password")
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; by default one is made.")
@_options
def reset_password(username: str, password_stdin: bool, data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Give USERNAME another password; the user's sessions end."""
    password = _password(password_stdin)
    user = _act(data_dir, config, lambda users: users.reset_password(username, password))
    _print_user(as_json, f"password of {user.username} reset", user, None if password_stdin else password)


@admin.command("rotate-keys")
@_options
def rotate_keys(data_dir: Path, config: Path | None, as_json: bool) -> None:
    """Sign new tokens with a new key; tokens signed before stay good until they end."""
    from services.auth.key_ring import rotate
    from services.auth.settings import AuthSettings

    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    open_private(data_dir)
    chosen = settings.load(registry.sections(), config).of(AuthSettings)
    done = rotate(chosen.keys_dir or data_dir / "auth" / "keys")
    if as_json:
        click.echo(json.dumps({"kid": done.kid, "signs_from": done.signs_from.isoformat()}))
    else:
        click.echo(f"key {done.kid} signs new tokens from {done.signs_from:%H:%M:%S} UTC on")


def _act(data_dir: Path, config: Path | None, action: Callable[[Any], Awaitable[Any]]) -> Any:
    from services.user.admin import user_admin

    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    open_private(data_dir)
    loaded = settings.load(registry.sections(), config)

    folder = data_dir.absolute()

    async def act() -> Any:
        async with user_admin(folder, loaded) as users:
            return await action(users)

    return asyncio.run(act())


def _password(from_stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\n") if from_stdin else secrets.token_urlsafe(12)


def _print_user(as_json: bool, sentence: str, user: Any, password: str | None = None) -> None:
    if as_json:
        body = {"user_id": user.user_id, "username": user.username, "role": user.role}
        click.echo(json.dumps(body | ({"password": password} if password else {})))
    else:
        click.echo(sentence + (f"; password: {password}" if password else ""))
