"""The administrator that the first start makes, and the file that holds the random password."""

import logging
import os
import secrets
from pathlib import Path

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.user.repository import UsernameTaken
from services.user.service import UserService

log = logging.getLogger(__name__)
PASSWORD_FILE = "admin-password"  # noqa: S105 a file's name # nosec B105


async def ensure_admin(users: UserService, data_dir: Path) -> None:
    """Make the user `admin` where there is no administrator yet; the password goes to DATA_DIR/admin-password."""
    password = secrets.token_urlsafe(18)
    file = data_dir / PASSWORD_FILE
    staged = file.with_name(f"{PASSWORD_FILE}-{os.getpid()}.new")  # other replicas start at the same time
    write_atomically(staged, f"{password}\n".encode(), mode=PRIVATE)
    try:
        made = await users.create_first_admin(password)
    except UsernameTaken:
        log.error("there is no administrator, and the name admin is taken: redfire admin set-role makes one")
        made = None
    if made is None:
        staged.unlink()
        return
    staged.replace(file)
    log.info("made the user admin; the password is in %s", file)
