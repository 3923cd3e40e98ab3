"""The data folder as commands see it: its lock, its secret, and the addresses of what runs on it."""

import contextlib
import json
import os
import pwd
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.data.folder_lock import FolderLock
from services.kernel.errors import StartError

DEFAULT = Path(".redfire")
ADDRESSES = "addresses.json"
ROOT = 0
EDGE_SECRET = "edge-secret"  # noqa: S105 a file's name # nosec B105


def data_dir_option(function: Any) -> Any:
    """`--data-dir`, as every command has it."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT,
        show_default=True,
        help="The folder of databases, keys and history.",
    )(function)


def open_private(folder: Path) -> None:
    """Make the folder, and whatever this process writes from here on, its owner's alone. Raises StartError.

    A folder of another user is refused: its owner could read and change all that is in it. Root's is not, who can do
    so anyway, and whose volumes are (a container's belongs to root, and is the group's to write). A folder that holds
    other things, such as a home, stays as open as it is.
    """
    os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid not in (os.geteuid(), ROOT):
            raise StartError(
                f"data folder {folder} is another user's ({_user_name(state.st_uid)}): it is not safe there"
            )
        if _is_ours(folder):
            # A volume that is root's stays as root has made it.
            with contextlib.suppress(PermissionError):
                folder.chmod(0o700)
            if folder.stat().st_mode & stat.S_IWOTH:
                raise StartError(f"data folder {folder} can be written by everybody: it is not safe there")
    except OSError as error:
        raise StartError(f"data folder {folder}: {error.strerror}") from None


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _is_ours(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    mounted = {"lost+found"}  # in a volume of its own
    return not names - mounted or "lock" in names or any(name.endswith("_db.sqlite") for name in names)


class Lock(FolderLock):
    """Holds a data folder for one process, also against `kill -9`: the kernel releases it."""

    def __init__(self, folder: Path) -> None:
        open_private(folder)
        super().__init__(folder, "data folder")


def edge_secret_file(folder: Path) -> Path:
    """The secret by which services know the edge, made at the first start (0600)."""
    file = folder / EDGE_SECRET
    if not file.exists():
        write_atomically(file, secrets.token_urlsafe(48).encode(), mode=PRIVATE)
    return file


def write_addresses(
    folder: Path,
    edge: str,
    services: Mapping[str, Sequence[str]],
    operations: str,
    pids: Mapping[str, Sequence[int]],
) -> None:
    """Publish the addresses and process ids, once everything is healthy and again whenever a process was replaced."""
    document = {
        "edge": edge,
        "services": {name: _one_or_all(addresses) for name, addresses in services.items()},
        "operations": operations,
        "pid": os.getpid(),
        "pids": {name: _one_or_all(ids) for name, ids in pids.items()},
    }
    write_atomically(folder / ADDRESSES, (json.dumps(document, indent=2) + "\n").encode())


def remove_addresses(folder: Path) -> None:
    """Nothing runs on the folder, or it is about to stop."""
    (folder / ADDRESSES).unlink(missing_ok=True)


def _one_or_all(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def read_addresses(folder: Path) -> dict[str, Any]:
    """The addresses of a running platform. Raises StartError when nothing runs on the folder."""
    try:
        document: dict[str, Any] = json.loads((folder / ADDRESSES).read_text())
    except (OSError, ValueError):
        raise StartError(
            f"nothing runs on data folder {folder}: start it with redfire up --data-dir {folder}"
        ) from None
    return document
